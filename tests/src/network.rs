//! A network of the test's own: a namespace for every node, and one with the bridge that joins them. Links are cut where the
//! receiver takes its packets in, so that the sender's kernel knows nothing of it, as on a real network.

use std::process::Command;

use crate::scenario::Scenario;

/// The network of a scenario. Its namespaces go with the scenario.
pub struct Network {
    prefix: String,
    nodes: usize,
}

impl Network {
    /// Makes namespaces for `nodes` nodes.
    ///
    /// # Errors
    /// Why such a network cannot be made here. What was made of it goes with the scenario.
    pub fn new(scenario: &Scenario, nodes: usize) -> Result<Network, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("network namespaces need root".into());
        }
        let network = Network { prefix: scenario.network_prefix(), nodes };
        let bridge = format!("{}bridge", network.prefix);
        ip(&["netns", "add", &bridge])?;
        ip(&["-n", &bridge, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &bridge, "link", "set", "bridge", "up"])?;
        for number in 1..=nodes {
            let (name, port) = (network.namespace(number), format!("port{number}"));
            ip(&["netns", "add", &name])?;
            ip(&["link", "add", &port, "netns", &bridge, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
            ip(&["-n", &bridge, "link", "set", &port, "master", "bridge", "up"])?;
            ip(&["-n", &name, "address", "add", &format!("{}/24", address(number)), "dev", "eth0"])?;
            ip(&["-n", &name, "link", "set", "eth0", "up"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            // A rule for an address that nobody has: whether the kernel can filter is known now, not in the middle.
            network.filter(number, "-A", "10.99.0.250")?;
        }
        Ok(network)
    }

    /// The namespace of node `number`, counted from 1.
    pub fn namespace(&self, number: usize) -> String {
        format!("{}{number}", self.prefix)
    }

    /// The address of node `number`.
    pub fn address(&self, number: usize) -> String {
        address(number)
    }

    /// From now on every packet from node `from` to node `to` is lost.
    pub fn cut(&self, from: usize, to: usize) {
        self.filter(to, "-A", &address(from)).expect("the kernel could filter before");
    }

    /// Cuts node `number` off from all others, both ways.
    pub fn isolate(&self, number: usize) {
        for other in (1..=self.nodes).filter(|&other| other != number) {
            self.cut(other, number);
            self.cut(number, other);
        }
    }

    /// Nothing is lost from now on.
    pub fn heal(&self) {
        for number in 1..=self.nodes {
            let name = self.namespace(number);
            execute("ip", &["netns", "exec", &name, "iptables", "-F", "INPUT"])
                .expect("the kernel could filter before");
        }
    }

    fn filter(&self, at: usize, action: &str, from: &str) -> Result<(), String> {
        let name = self.namespace(at);
        execute("ip", &["netns", "exec", &name, "iptables", "-w", action, "INPUT", "-s", from, "-j", "DROP"])
    }
}

fn address(number: usize) -> String {
    format!("10.99.0.{number}")
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    execute("ip", arguments)
}

fn execute(program: &str, arguments: &[&str]) -> Result<(), String> {
    let line = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{line}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
