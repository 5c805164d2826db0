//! Real nodes as OS processes: what they leave behind when they end, however they end.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "those are banned from the cores only")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const ORDU: &str = env!("CARGO_BIN_EXE_ordu");
/// Longer than anything here takes, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The binary, without what the caller's environment says to it.
fn ordu(temp: &Path) -> Command {
    let mut command = Command::new(ORDU);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"ORDU_") {
            command.env_remove(name);
        }
    }
    command.env("TMPDIR", temp).env("XDG_STATE_HOME", temp.join("state"));
    command
}

struct Node {
    process: Child,
    http: String,
    ready: String,
}

impl Node {
    /// Starts a node on free ports and waits for its ready line.
    fn up(temp: &Path, arguments: &[&str]) -> Node {
        let mut process = ordu(temp)
            .args(["up", "--name", "n1", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let http = ready.trim_end().rsplit_once("http=").map(|(_, http)| http.to_owned()).unwrap_or_default();
        Node { process, http, ready }
    }

    fn ask(&self, temp: &Path, line: &[&str]) -> Output {
        ordu(temp).env("ORDU_HTTP", &self.http).args(line).output().unwrap()
    }

    /// Starts a child that forks behind its shell; its processes.
    fn start_forking(&self, temp: &Path) -> Vec<Pid> {
        let output = self.ask(temp, &["start", "web", "--json", "--", "sh", "-c", "sleep 1000; true"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let shell = i32::try_from(row["os_pid"].as_i64().unwrap()).unwrap();
        let mut family = Vec::new();
        until("the shell has forked", || {
            family = family_of(shell);
            family.len() == 2
        });
        family
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.process.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Asks until it is so; how long that took.
fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "still not: {what}");
        std::thread::yield_now();
    }
    begun.elapsed()
}

/// Every process that is no zombie: its parent.
fn parents() -> BTreeMap<i32, i32> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parent = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        (state != "Z").then(|| fields.next()?.parse().ok())?
    };
    pids.filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

/// A process and its descendants.
fn family_of(root: i32) -> Vec<Pid> {
    let parents = parents();
    let is_of = |mut pid: i32| {
        while pid != root {
            match parents.get(&pid) {
                Some(&parent) => pid = parent,
                None => return false,
            }
        }
        true
    };
    parents.keys().copied().filter(|&pid| is_of(pid)).map(Pid::from_raw).collect()
}

fn any_lives(family: &[Pid]) -> bool {
    let parents = parents();
    family.iter().any(|pid| parents.contains_key(&pid.as_raw()))
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn a_flag_wins_over_a_variable_and_that_over_the_file() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("node.toml");
    let text =
        "name = \"file\"\ncluster = \"file\"\nhttp = \"127.0.0.1:0\"\nlisten = \"127.0.0.1:0\"\ndata-dir = \"data\"\n";
    fs::write(&file, text).unwrap();
    let start = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = ordu(temp.path());
        command.arg("up").arg("--config").arg(&file).args(flags).envs(variables.iter().copied());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let http = ready.trim_end().rsplit_once("http=").map(|(_, http)| http.to_owned()).unwrap_or_default();
        let node = Node { process, http, ready };
        let status = node.ask(temp.path(), &["status", "--json"]).stdout;
        let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
        [status["name"].as_str().unwrap().to_owned(), status["cluster"].as_str().unwrap().to_owned()]
    };
    assert_eq!(start(&[], &[]), ["file", "file"]);
    assert!(temp.path().join("data/boot").exists(), "a relative path begins where the file is");
    fs::remove_dir_all(temp.path().join("data")).unwrap();
    let variables = [("ORDU_UP_NAME", "variable"), ("ORDU_UP_CLUSTER", "variable")];
    assert_eq!(start(&variables, &["--cluster", "flag", "--ephemeral"]), ["variable", "flag"]);
    assert!(!temp.path().join("data").exists(), "a flag says otherwise");
}

#[test]
fn a_killed_node_leaves_no_process_and_no_ephemeral_file() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = Node::up(temp.path(), &["--ephemeral"]);
    let family = node.start_forking(temp.path());
    assert!(any_lives(&family) && !is_empty(temp.path()));
    node.signal(Signal::SIGKILL);
    let took = until("the children are gone", || !any_lives(&family));
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    node.process.wait().unwrap();
    until("its directory is gone", || is_empty(temp.path()));
}

#[test]
fn a_node_that_is_told_to_stop_stops_everything_and_exits_0() {
    let temp = tempfile::tempdir().unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut node = Node::up(temp.path(), &["--ephemeral"]);
        let family = node.start_forking(temp.path());
        node.signal(signal);
        assert_eq!(node.process.wait().unwrap().code(), Some(0));
        assert!(!any_lives(&family) && is_empty(temp.path()), "{signal}");
    }
}

#[test]
fn boots_are_counted_and_a_directory_has_one_node() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let arguments = ["--data-dir", data.to_str().unwrap()];
    for boot in 1..=2 {
        let mut node = Node::up(temp.path(), &arguments);
        assert!(node.ready.starts_with(&format!("ready name=n1 boot={boot} quic=127.0.0.1:")), "{}", node.ready);
        let second = ordu(temp.path()).args(["up", "--name", "n2"]).args(arguments).output().unwrap();
        assert_eq!(second.status.code(), Some(2));
        let error = String::from_utf8(second.stderr).unwrap();
        assert!(error.contains(data.to_str().unwrap()) && error.lines().count() == 1, "{error}");
        node.signal(Signal::SIGTERM);
        assert_eq!(node.process.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_port_in_use_is_one_line_and_exit_2() {
    let temp = tempfile::tempdir().unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let held = std::net::TcpListener::bind(tcp).unwrap();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (tcp, udp) = (held.local_addr().unwrap().to_string(), udp.local_addr().map(|addr| (udp, addr)).unwrap());
    let quic = udp.1.to_string();
    for (listen, http) in [("127.0.0.1:0", tcp.as_str()), (quic.as_str(), "127.0.0.1:0")] {
        let output = ordu(temp.path())
            .args(["up", "--name", "n1", "--ephemeral", "--listen", listen, "--http", http])
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("in use") && error.lines().count() == 1, "{error}");
        assert!(output.stdout.is_empty() && is_empty(temp.path()));
    }
}

/// Ports that were free a moment ago, one after the other.
fn free_ports(count: u16) -> u16 {
    (0..100)
        .find_map(|_| {
            let first = std::net::TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
            let is_free = |port| {
                std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()
                    && std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok()
            };
            (0..count).all(|offset| first.checked_add(offset).is_some_and(is_free)).then_some(first)
        })
        .unwrap()
}

#[test]
fn a_dev_cluster_leaves_no_process_and_no_file() {
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let temp = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_ports(2));
        let mut dev =
            ordu(temp.path()).args(["dev", "--nodes", "2", "--http", &address]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(dev.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.by_ref().any(|line| line.contains("Ctrl-C")), "it did not come up");
        let members = ordu(temp.path()).args(["ps", "--json", "--http", &address]).output().unwrap();
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&members.stdout).unwrap();
        assert!(!rows.is_empty() && rows.iter().all(|row| row["status"] == "running"), "{rows:?}");
        // dev, its keeper, two nodes, their keepers, the children behind their shells.
        let family = family_of(i32::try_from(dev.id()).unwrap());
        assert!(family.len() > 6 + rows.len(), "{}", family.len());
        kill(Pid::from_raw(i32::try_from(dev.id()).unwrap()), signal).unwrap();
        let status = dev.wait().unwrap();
        assert_eq!(status.code(), (signal == Signal::SIGINT).then_some(0));
        until("all processes are gone", || !any_lives(&family));
        until("all files are gone", || is_empty(temp.path()));
    }
}
