//! A cluster of real node processes, each with a certificate of one private CA and a data directory of its own.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::command::{Outcome, prepare, run};
use crate::events::EventLog;
use crate::http::Door;
use crate::network::Network;
use crate::sampler::Sampler;
use crate::scenario::{Scenario, say};
use crate::wait::within;

/// How long a node may take to be ready: it waits for nobody.
const READY_MAX: Duration = Duration::from_secs(10);
/// How long nodes may take to find one another.
const MEET_MAX: Duration = Duration::from_secs(15);
/// Ports are taken from below those that the kernel gives to outgoing connections, so that a node gets its own again.
const PORTS: std::ops::Range<u16> = 12_000..30_000;
/// Lines of a node's log that are shown when a test fails.
const LOG_TAIL_LINES: usize = 60;
/// How many commands are run at once to start many children.
const STARTERS: usize = 4;

/// How a cluster is made.
pub struct Plan<'a> {
    /// How many nodes, named `n1`, `n2`, …
    pub nodes: usize,
    /// Arguments for every `ordu up` on top of the usual ones.
    pub arguments: &'a [&'a str],
    /// Where they live, if not on the loopback.
    pub network: Option<&'a Network>,
}

/// A running cluster.
pub struct Cluster {
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// What all of them told.
    pub events: EventLog,
    /// What the operating system's process table showed.
    pub sampler: Sampler,
    /// Its frame. Last, for it ends everything.
    pub scenario: Scenario,
}

/// One node: what it is started with, and its process while it has one.
pub struct Node {
    /// Its name.
    pub name: String,
    /// Where its HTTP interface is.
    pub door: Door,
    /// Where others dial it.
    pub quic: SocketAddr,
    /// Its certificates.
    pub tls_dir: PathBuf,
    /// Its data.
    pub data_dir: PathBuf,
    /// Its boot number, from its last `ready` line.
    pub boot: u64,
    /// Its log.
    pub log: PathBuf,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl Cluster {
    /// Starts `nodes` nodes on the loopback and waits until each sees all.
    pub fn start(scenario: Scenario, nodes: usize) -> Cluster {
        Cluster::make(scenario, &Plan { nodes, arguments: &[], network: None })
    }

    /// Starts the nodes of a plan and waits until each sees all.
    pub fn make(scenario: Scenario, plan: &Plan) -> Cluster {
        let authority = scenario.path().join("ca");
        run(&scenario, None, &["ca", "init", &text(&authority)]).ok();
        let mut ports = BTreeSet::new();
        let mut nodes: Vec<Node> = (1..=plan.nodes).map(|number| node(&scenario, plan, number, &mut ports)).collect();
        let all: Vec<SocketAddr> = nodes.iter().map(|node| node.quic).collect();
        for node in &mut nodes {
            run(&scenario, None, &["ca", "issue", &text(&authority), &node.name]).ok();
            for other in all.iter().filter(|&&other| other != node.quic) {
                node.arguments.extend(["--join".to_owned(), other.to_string()]);
            }
            node.arguments.extend(plan.arguments.iter().map(|&argument| argument.to_owned()));
        }
        let sampler = Sampler::start(scenario.tag());
        let mut cluster = Cluster { nodes, events: EventLog::default(), sampler, scenario };
        for index in 0..plan.nodes {
            cluster.up(index);
        }
        cluster.meet(plan.nodes);
        cluster
    }

    /// Starts the process of a node that has none, and waits until it is ready.
    #[track_caller]
    pub fn up(&mut self, index: usize) {
        let Cluster { nodes, events, scenario, .. } = self;
        nodes[index].start(scenario, events);
    }

    /// Waits until every node that runs sees `count` members up. Answers how long it took.
    #[track_caller]
    pub fn meet(&self, count: usize) -> Duration {
        within(MEET_MAX, &format!("every node sees {count} members up"), || {
            for node in self.nodes.iter().filter(|node| node.process.is_some()) {
                let status = node.door.get("/v1/status")?;
                if status["members_up"] != count {
                    return Err(format!("{}: {status}", node.name));
                }
            }
            Ok(())
        })
        .1
    }

    /// The node of this name.
    #[track_caller]
    pub fn node(&self, name: &str) -> &Node {
        self.nodes.iter().find(|node| node.name == name).unwrap_or_else(|| panic!("no node {name}"))
    }

    /// Runs `ordu` against a node.
    pub fn ordu(&self, index: usize, arguments: &[&str]) -> Outcome {
        let node = &self.nodes[index];
        let address = node.door.address.to_string();
        let mut all = arguments.to_vec();
        let end = all.iter().position(|&argument| argument == "--").unwrap_or(all.len());
        all.splice(end..end, ["--http", address.as_str()]);
        run(&self.scenario, node.door.network.as_deref(), &all)
    }

    /// Starts a child by a node: a marked `sleep` behind a shell that forks.
    pub fn start_child(&self, index: usize, id: &str) -> Outcome {
        let script = format!("sleep {}; true", self.sampler.mark(id));
        self.ordu(index, &["start", id, "--json", "--", "sh", "-c", &script])
    }

    /// Starts many children, by these nodes in turn, and waits until the process table shows one copy of each.
    #[track_caller]
    pub fn start_children(&self, by: &[usize], ids: &[String]) {
        std::thread::scope(|scope| {
            for starter in 0..STARTERS {
                scope.spawn(move || {
                    for (number, id) in ids.iter().enumerate().filter(|(number, _)| number % STARTERS == starter) {
                        self.start_child(by[number % by.len()], id).ok();
                    }
                });
            }
        });
        within(Duration::from_secs(5), "one copy of each started child", || self.sampler.one_of_each(ids));
    }

    /// What every running node shows as its clock hash, if all show the same and say that they have converged.
    pub fn converged(&self) -> Result<String, String> {
        let mut hashes = BTreeSet::new();
        for node in self.nodes.iter().filter(|node| node.process.is_some()) {
            let status = node.door.get("/v1/status")?;
            if status["converged"] != true {
                return Err(format!("{} has not converged: {status}", node.name));
            }
            hashes.insert(status["clock_hash"].as_str().unwrap_or_default().to_owned());
        }
        match hashes.len() {
            1 => Ok(hashes.into_iter().collect()),
            _ => Err(format!("clock hashes differ: {hashes:?}")),
        }
    }

    /// Asks every running node to end and waits: for scenarios whose end is not their subject.
    pub fn terminate_all(&mut self) {
        for node in self.nodes.iter().filter(|node| node.process.is_some()) {
            node.signal(Signal::SIGTERM);
        }
        for node in self.nodes.iter_mut().filter(|node| node.process.is_some()) {
            node.wait(Duration::from_secs(60));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut process) = node.process.take() {
                let _ = process.kill();
                let _ = process.wait();
            }
            if std::thread::panicking() {
                say(&format!("---- the log of {}, its end:\n{}", node.name, node.log_tail(LOG_TAIL_LINES)));
            }
        }
    }
}

impl Node {
    /// Starts its process, which it must not have, waits until it is ready, and listens to its events.
    #[track_caller]
    pub fn start(&mut self, scenario: &Scenario, events: &EventLog) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let mut command = prepare(scenario, self.door.network.as_deref());
        command.args(&self.arguments).env("RUST_LOG", "info");
        let log = OpenOptions::new().append(true).create(true).open(&self.log).expect("the log can be opened");
        command.stdout(Stdio::piped()).stderr(log);
        let mut process = command.spawn().expect("ordu can be executed");
        let stdout = process.stdout.take().expect("it is piped");
        self.process = Some(process);
        let (sender, ready) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let line = ready.recv_timeout(READY_MAX).unwrap_or_else(|error| panic!("{} is not ready: {error}", self.name));
        let field = |name: &str| {
            let found = line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("no {name} in: {line}")).to_owned()
        };
        assert!(line.starts_with("ready "), "{line}");
        assert_eq!((field("name"), field("quic")), (self.name.clone(), self.quic.to_string()), "{line}");
        assert_eq!(field("http"), self.door.address.to_string(), "{line}");
        self.boot = field("boot").parse().unwrap_or_else(|error| panic!("{error}: {line}"));
        events.listen(&self.name, self.door.clone());
    }

    /// The os pid of its process.
    #[track_caller]
    pub fn os_pid(&self) -> i32 {
        let process = self.process.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name));
        i32::try_from(process.id()).expect("a pid")
    }

    /// Sends its process a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.os_pid()), signal).expect("it was not waited for yet");
    }

    /// Kills its process as nothing can prevent. Answers when.
    #[track_caller]
    pub fn kill_9(&mut self) -> Instant {
        let at = Instant::now();
        self.signal(Signal::SIGKILL);
        self.wait(Duration::from_secs(5));
        at
    }

    /// Waits until its process has ended.
    #[track_caller]
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let start = Instant::now();
        let process = self.process.as_mut().unwrap_or_else(|| panic!("{} does not run", self.name));
        loop {
            if let Some(status) = process.try_wait().expect("it is our child") {
                self.process = None;
                return status;
            }
            assert!(start.elapsed() < deadline, "{} runs after {deadline:?}", self.name);
            sleep(Duration::from_millis(5));
        }
    }

    /// Whether its process runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// Replaces an argument of its next start: the value after `flag`.
    #[track_caller]
    pub fn set_argument(&mut self, flag: &str, value: &str) {
        let at = self.arguments.iter().position(|argument| argument == flag).expect("it has that flag");
        self.arguments[at + 1] = value.to_owned();
    }

    /// What it shows of its members, children, status …
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.door.get(path).unwrap_or_else(|why| panic!("{}: {why}", self.name))
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

fn node(scenario: &Scenario, plan: &Plan, number: usize, ports: &mut BTreeSet<u16>) -> Node {
    let name = format!("n{number}");
    let (quic, http, network) = match plan.network {
        None => {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port(ports)));
            (address, address, None)
        }
        Some(network) => {
            let quic = format!("{}:7600", network.address(number)).parse().expect("an address");
            (quic, SocketAddr::from(([127, 0, 0, 1], 7600)), Some(network.namespace(number)))
        }
    };
    let (tls_dir, data_dir) = (scenario.path().join("ca").join(&name), scenario.path().join("data").join(&name));
    let mut arguments: Vec<String> = ["up", "--name", &name].map(str::to_owned).into();
    arguments.extend(["--cluster".into(), format!("test-{}", scenario.tag())]);
    arguments.extend(["--listen".into(), quic.to_string(), "--http".into(), http.to_string()]);
    arguments.extend(["--tls-dir".into(), text(&tls_dir), "--data-dir".into(), text(&data_dir)]);
    let (door, log) = (Door { address: http, network }, scenario.path().join(format!("{name}.log")));
    Node { name, door, quic, tls_dir, data_dir, boot: 0, log, arguments, process: None }
}

/// A port that is free for UDP and TCP and was not given out before.
fn free_port(given: &mut BTreeSet<u16>) -> u16 {
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    let span = PORTS.end - PORTS.start;
    let offset = u16::try_from(std::process::id() % 1000).unwrap_or(0) * 17;
    for _ in 0..span {
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let port = PORTS.start + offset.wrapping_add(next) % span;
        let is_free = UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free && given.insert(port) {
            return port;
        }
    }
    panic!("no port is free")
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
