//! Nodes are killed, paused, ended and restarted at random while children are started and stopped by commands; afterwards
//! exactly what should run runs, once. A seed decides everything that the test does; it is printed, and `ORDU_CHAOS_SEED`
//! repeats it. `ORDU_CHAOS_SECONDS` makes it longer.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ordu_tests::{Cluster, Door, Sampler, Scenario, millis, run, until, within};

const NODES: usize = 4;
const SECONDS: u64 = 30;
const IDS: usize = 24;
/// From the end of the chaos until everything is as it should be.
const CALM_MAX: Duration = Duration::from_secs(15);

/// What the test knows of a child from the exit codes of its own commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It should run: `start --ensure` said so.
    Runs,
    /// It should not: `stop` said so.
    Stopped,
    /// A command's outcome is unknown: it may run or not, but not twice.
    Unknown,
}

/// What was asked about each child, and how that ended.
type Told = Mutex<BTreeMap<String, Vec<String>>>;

#[test]
fn what_should_run_runs_once_whatever_happened() {
    let number =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let mut cluster = Cluster::start(Scenario::new("chaos"), NODES);
    let seed = number("ORDU_CHAOS_SEED", cluster.scenario.tag());
    let long = Duration::from_secs(number("ORDU_CHAOS_SECONDS", SECONDS));
    cluster.scenario.say(&format!("seed {seed}, {} s", long.as_secs()));
    let began = Instant::now();
    let known: Mutex<BTreeMap<String, Known>> = Mutex::default();
    let told = Told::default();
    let is_over = AtomicBool::new(false);
    let doors: Vec<Door> = cluster.nodes.iter().map(|node| node.door.clone()).collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let commands = std::thread::scope(|scope| {
        // Each thread has children of its own, so that it knows the order of its commands.
        let Cluster { nodes, sampler, scenario, events, .. } = &mut cluster;
        let (scenario, sampler) = (&*scenario, &*sampler);
        let callers: Vec<_> = (0..2)
            .map(|caller| {
                let (known, is_over, doors) = ((&known, &told), &is_over, &doors);
                scope.spawn(move || call(caller, seed, scenario, sampler, doors, known, is_over))
            })
            .collect();
        let mut random = Random(seed | 1);
        while began.elapsed() < long {
            let index = random.below(NODES);
            let what = ["kill", "pause", "end", "calm"][random.below(4)];
            *counts.entry(what).or_default() += 1;
            match what {
                "kill" => {
                    nodes[index].kill_9();
                    sleep(Duration::from_millis(random.below(3000) as u64));
                    nodes[index].start(scenario, events);
                }
                "pause" => {
                    nodes[index].signal(Signal::SIGSTOP);
                    sleep(Duration::from_millis(random.below(3000) as u64));
                    nodes[index].signal(Signal::SIGCONT);
                }
                "end" => {
                    nodes[index].signal(Signal::SIGTERM);
                    assert!(nodes[index].wait(Duration::from_secs(35)).success());
                    nodes[index].start(scenario, events);
                }
                _ => sleep(Duration::from_millis(random.below(1000) as u64)),
            }
        }
        is_over.store(true, Ordering::Relaxed);
        callers.into_iter().map(|caller| caller.join().unwrap()).sum::<usize>()
    });
    let over = Instant::now();
    cluster.scenario.say(&format!("{counts:?}, {commands} commands; {}", cluster.sampler.quality()));
    cluster.meet(NODES);
    let known = known.into_inner().unwrap_or_else(PoisonError::into_inner);
    let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
    within(CALM_MAX * 2, "everything is as it should be", || {
        as_known(&cluster, &known).map_err(|(wrong, id)| format!("{wrong}; of the first: {:#?}", told.get(&id)))
    });
    let calm = over.elapsed();
    let (_, equal) = within(CALM_MAX * 2, "the nodes converge", || cluster.converged());
    sleep(Duration::from_secs(3));
    as_known(&cluster, &known).map_err(|(wrong, _)| wrong).unwrap();
    let count = |what: Known| known.values().filter(|&&known| known == what).count();
    cluster.scenario.say(&format!(
        "{} run, {} are stopped, {} unknown; as it should be {} after the end, equal after {}",
        count(Known::Runs),
        count(Known::Stopped),
        count(Known::Unknown),
        millis(calm),
        millis(calm + equal)
    ));
    for node in &cluster.nodes {
        let shown = node.get("/v1/children").as_array().map_or(0, Vec::len);
        let living = known.keys().filter(|id| !cluster.sampler.living(id).is_empty()).count();
        assert_eq!(shown, living, "{} shows other children than run: {}", node.name, node.get("/v1/children"));
    }
    assert!(calm <= CALM_MAX, "{calm:?}");
    cluster.terminate_all();
    until(Duration::from_secs(5), "no process is left", || cluster.scenario.processes().is_empty());
}

/// The error is what is wrong, and the first child that is.
fn as_known(cluster: &Cluster, known: &BTreeMap<String, Known>) -> Result<(), (String, String)> {
    let (mut wrong, mut first) = (Vec::new(), None);
    for (id, what) in known {
        let living = cluster.sampler.living(id);
        let is_right = match what {
            Known::Runs => living.len() == 1,
            Known::Stopped => living.is_empty(),
            Known::Unknown => living.len() <= 1,
        };
        if !is_right {
            let processes: Vec<&str> = living.iter().map(|life| life.process.as_str()).collect();
            wrong.push(format!("{id} {what:?}: {processes:?}"));
            first.get_or_insert_with(|| id.clone());
        }
    }
    first.map_or(Ok(()), |first| Err((wrong.join(", "), first)))
}

/// One caller: starts and stops its children by whichever node, and keeps what the exit codes say. Answers how many
/// commands it ran.
fn call(
    caller: usize,
    seed: u64,
    scenario: &Scenario,
    sampler: &Sampler,
    doors: &[Door],
    (known, told): (&Mutex<BTreeMap<String, Known>>, &Told),
    is_over: &AtomicBool,
) -> usize {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(caller as u64) | 1);
    let (mut commands, mut unsure) = (0, BTreeSet::new());
    while !is_over.load(Ordering::Relaxed) {
        let id = format!("k{caller}-{:02}", random.below(IDS / 2));
        let http = doors[random.below(doors.len())].address.to_string();
        let is_start = random.below(3) > 0;
        let script = format!("sleep {}; true", sampler.mark(&id));
        let asked = time_of_day();
        let outcome = if is_start {
            let line = ["start", &id, "--ensure", "--timeout", "5s", "--http", &http, "--", "sh", "-c", &script];
            run(scenario, None, &line)
        } else {
            run(scenario, None, &["stop", &id, "--timeout", "5s", "--http", &http])
        };
        commands += 1;
        let what = if is_start { "start" } else { "stop" };
        let line =
            format!("{asked} {what} at {http}: {} {}{}", outcome.code, outcome.stdout.trim(), outcome.stderr.trim());
        told.lock().unwrap_or_else(PoisonError::into_inner).entry(id.clone()).or_default().push(line);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.get(&id).copied();
        // A refusal changes nothing: also "not found", by a node that was just started and does not know yet what the others
        // do. Of a node that went away in the middle nobody knows.
        let after = match (outcome.code, is_start) {
            (0, true) => Some(Known::Runs),
            // A start of which nobody knows may be on the disk of a node that was down when this was stopped.
            (0, false) if unsure.contains(&id) => Some(Known::Unknown),
            (0, false) => Some(Known::Stopped),
            (1, _) => before,
            (3, _) if outcome.stderr.contains("connection refused") => before,
            _ => {
                if is_start {
                    unsure.insert(id.clone());
                }
                Some(Known::Unknown)
            }
        };
        match after {
            Some(after) => drop(known.insert(id, after)),
            None => drop(known.remove(&id)),
        }
    }
    commands
}

/// The time of day, as logs have it.
fn time_of_day() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let secs = now.as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}.{:03}", secs / 3_600, secs / 60 % 60, secs % 60, now.subsec_millis())
}

/// Xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % end as u64).unwrap_or(0)
    }
}
