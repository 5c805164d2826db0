//! How soon the others notice that a node was killed, and whether they hold one for dead that merely stands still: a
//! report for docs/performance.md, which asserts nothing about times. `ORDU_ROUNDS` says how often each is done.
//!
//! `cargo test --release -p ordu-tests --test detection -- --ignored --nocapture`

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::process::{Child, Command, Stdio};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ordu_tests::{Cluster, Scenario, until};

const ROUNDS_DEFAULT: usize = 30;
/// How long everybody may take to notice.
const NOTICE_MAX: Duration = Duration::from_secs(20);
/// Between two rounds: what the last one stirred up is over.
const CALM: Duration = Duration::from_secs(2);
/// How long a node stands still.
const PAUSE: Duration = Duration::from_secs(1);
/// How many processes want each core, where the machine is loaded.
const LOAD: usize = 2;

/// Processes that want all that the machine has.
struct Load(Vec<Child>);

impl Load {
    fn start(on: bool) -> Self {
        let count = if on { LOAD * available_parallelism().map_or(1, usize::from) } else { 0 };
        let busy = || Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn();
        Self((0..count).map(|_| busy().expect("sh can be executed")).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn rounds() -> usize {
    std::env::var("ORDU_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS_DEFAULT)
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |permille: usize| times[(times.len() - 1) * permille / 1000].as_millis();
    let [p50, p90, p99, most] = [500, 900, 990, 1000].map(at);
    format!("{} verdicts, p50 {p50} ms, p90 {p90} ms, p99 {p99} ms, most {most} ms", times.len())
}

/// Kills one node after the other. Answers how long it took each other node to hold it for down.
fn kills(cluster: &mut Cluster) -> Vec<Duration> {
    let nodes = cluster.nodes.len();
    let mut times = Vec::new();
    for round in 0..rounds() {
        let victim = round % nodes;
        let name = cluster.nodes[victim].name.clone();
        sleep(CALM);
        let killed = cluster.nodes[victim].kill_9();
        let noticed = || {
            let downs = cluster.events.since(killed, "member_down");
            let mut first: Vec<_> = downs.into_iter().filter(|event| event.field("member") == name).collect();
            first.sort_by(|one, other| (&one.from, one.heard).cmp(&(&other.from, other.heard)));
            first.dedup_by(|later, earlier| later.from == earlier.from);
            first
        };
        until(NOTICE_MAX, "everybody has noticed", || noticed().len() == nodes - 1);
        times.extend(noticed().iter().map(|event| event.heard - killed));
        cluster.up(victim);
        cluster.meet(nodes);
    }
    times
}

/// Lets one node after the other stand still. Answers how many were held as down.
fn pauses(cluster: &Cluster) -> usize {
    let began = Instant::now();
    for round in 0..rounds() {
        let node = &cluster.nodes[round % cluster.nodes.len()];
        node.signal(Signal::SIGSTOP);
        sleep(PAUSE);
        node.signal(Signal::SIGCONT);
        sleep(CALM);
    }
    cluster.events.since(began, "member_down").len()
}

#[test]
#[ignore = "takes minutes; it reports and asserts nothing"]
fn report() {
    for loaded in [false, true] {
        let mut cluster = Cluster::start(Scenario::new("detection"), 3);
        let load = Load::start(loaded);
        let how = if loaded { "every core wanted twice" } else { "nothing else to do" };
        let times = kills(&mut cluster);
        cluster.scenario.say(&format!("killed, {how}: {}", percentiles(times)));
        let downs = pauses(&cluster);
        let rounds = rounds();
        cluster.scenario.say(&format!("{rounds} times standing still for {PAUSE:?}, {how}: {downs} verdicts of down"));
        drop(load);
        cluster.terminate_all();
    }
}
