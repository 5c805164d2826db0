//! `ordu dev`: three nodes with children, one is killed and comes back, Ctrl-C leaves nothing.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ordu_tests::{Scenario, Spawned, is_alive, millis, run, spawn, until, with_variable, within};
use serde_json::Value;

const START_MAX: Duration = Duration::from_secs(30);
/// From a node's death until all children run again.
const HEAL_MAX: Duration = Duration::from_secs(3);
/// A killed node comes back after about 5 s.
const RETURN: std::ops::Range<Duration> = Duration::from_millis(4500)..Duration::from_secs(8);
const END_MAX: Duration = Duration::from_secs(10);

struct Dev {
    scenario: Scenario,
    process: Spawned,
    http: String,
}

/// The row of each node in what `dev` prints: name, os pid, address.
fn printed(text: &str) -> BTreeMap<String, (i32, String)> {
    let rows = text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, pid, address] = fields[..] else { return None };
        let is_node = name.strip_prefix('n').is_some_and(|number| number.parse::<u8>().is_ok());
        is_node.then_some((name.to_owned(), (pid.parse().ok()?, address.to_owned())))
    });
    rows.collect()
}

impl Dev {
    fn start(name: &'static str) -> Dev {
        let scenario = Scenario::new(name);
        let http = format!("127.0.0.1:{}", free_ports());
        let began = Instant::now();
        let process = spawn(&scenario, None, &["dev", "--http", &http]);
        within(START_MAX, "dev explains what to try next", || {
            let text = process.stdout();
            if text.contains("Ctrl-C") { Ok(()) } else { Err(format!("{text}{}", process.stderr())) }
        });
        scenario.say(&format!("ready after {}", millis(began.elapsed())));
        Dev { scenario, process, http }
    }

    fn rows(&self) -> Vec<Value> {
        let shown = run(&self.scenario, None, &["ps", "--json", "--http", &self.http]);
        shown.json().as_array().cloned().unwrap_or_default()
    }

    /// How many shells run each child, from the process table.
    fn copies(&self) -> BTreeMap<String, usize> {
        let mut copies = BTreeMap::new();
        let own = self.scenario.processes();
        for row in self.rows() {
            let id = row["id"].as_str().unwrap_or_default().to_owned();
            let leaders = with_variable("ORDU_CHILD_ID", |child| child == id);
            // A child's processes are one group; its leader is the copy.
            let is_leader = |pid: &i32| {
                own.contains(pid) && nix::unistd::getpgid(Some(Pid::from_raw(*pid))).is_ok_and(|g| g.as_raw() == *pid)
            };
            copies.insert(id, leaders.iter().filter(|pid| is_leader(pid)).count());
        }
        copies
    }

    fn once_each(&self) -> Result<usize, String> {
        let copies = self.copies();
        let right = !copies.is_empty() && copies.values().all(|&count| count == 1);
        if right { Ok(copies.len()) } else { Err(format!("{copies:?}")) }
    }

    /// Whether nothing of it is left, neither process nor file.
    fn left(&self) -> Result<(), String> {
        let processes = self.scenario.processes();
        let tmp = std::fs::read_dir(self.scenario.path().join("tmp")).expect("it is there");
        let files: Vec<PathBuf> = tmp.flatten().map(|entry| entry.path()).collect();
        let state = self.scenario.path().join("state").exists();
        if processes.is_empty() && files.is_empty() && !state {
            return Ok(());
        }
        Err(format!("processes {processes:?}, files {files:?}, a state directory: {state}"))
    }
}

/// The first of three ports in a row that are free.
fn free_ports() -> u16 {
    let is_free = |port: u16| {
        std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok()
            && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()
    };
    (7700..12_000).step_by(3).find(|&first| (first..first + 3).all(is_free)).expect("ports are free")
}

#[test]
fn a_throw_away_cluster_heals_and_leaves_nothing() {
    let dev = Dev::start("dev");
    let nodes = printed(&dev.process.stdout());
    assert_eq!(nodes.keys().map(String::as_str).collect::<Vec<_>>(), ["n1", "n2", "n3"], "{}", dev.process.stdout());
    assert!(nodes.values().all(|(pid, _)| is_alive(*pid)));
    assert_eq!(nodes["n1"].1, dev.http);
    let (count, _) = within(Duration::from_secs(5), "every sample child runs once", || dev.once_each());
    assert!(count >= 3, "{count} sample children");
    let running = dev.rows().iter().filter(|row| row["status"] == "running").count();
    assert_eq!(running, count);
    let page = std::process::Command::new(ordu_tests::ordu()).args(["status", "--http", &dev.http]).output().unwrap();
    assert!(page.status.success());

    // The node with most children, but not the one that is asked.
    let on = |name: &str| dev.rows().iter().filter(|row| row["node"] == name).count();
    let victim = if on("n2") >= on("n3") { "n2" } else { "n3" };
    let had = on(victim);
    let killed = Instant::now();
    kill(Pid::from_raw(nodes[victim].0), Signal::SIGKILL).unwrap();
    within(Duration::from_secs(20), "every child runs once, none on the dead node", || {
        let here = on(victim);
        if here > 0 { Err(format!("{here} on {victim}")) } else { dev.once_each() }
    });
    let healed = killed.elapsed();
    let status = || run(&dev.scenario, None, &["status", "--json", "--http", &dev.http]).json();
    until(Duration::from_secs(20), "the killed node is back", || status()["members_up"] == 3);
    let back = killed.elapsed();
    within(Duration::from_secs(20), "its children are back", || {
        let here = on(victim);
        if here == had { dev.once_each() } else { Err(format!("{here} of {had}")) }
    });
    dev.scenario.say(&format!(
        "{victim} with {had} of {count} children killed: healed after {}, back after {}, its children after {}",
        millis(healed),
        millis(back),
        millis(killed.elapsed())
    ));
    assert!(healed <= HEAL_MAX, "healed after {healed:?}");
    assert!(RETURN.contains(&back), "back after {back:?}");

    dev.process.signal(Signal::SIGINT);
    end(dev, 0);
}

#[test]
fn however_it_ends_nothing_is_left() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let dev = Dev::start("dev_end");
        dev.process.signal(signal);
        end(dev, if signal == Signal::SIGKILL { 128 + 9 } else { 0 });
    }
}

#[track_caller]
fn end(dev: Dev, code: i32) {
    let began = Instant::now();
    let Dev { scenario, process, http } = dev;
    let outcome = process.wait(END_MAX + START_MAX * 4);
    assert_eq!(outcome.code, code, "{}", outcome.stderr);
    // What waits for its end after that is only the keeper's last breath, where the process itself was killed.
    let dev = Dev { process: spawn(&scenario, None, &["--version"]), scenario, http };
    let (_, took) = within(END_MAX, "neither process nor file is left", || dev.left());
    dev.scenario.say(&format!("it ended in {}, nothing left {} later", millis(began.elapsed() - took), millis(took)));
}
