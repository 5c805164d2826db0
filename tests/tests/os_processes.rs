//! Children that are OS processes: how they are run, how their ends are told, and that nothing of them is left.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use ordu_tests::{Cluster, Scenario, descriptors, is_alive, millis, resident_bytes, until, within};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);
/// From a child's end, or its node's, until nothing of it is left.
const GONE_MAX: Duration = Duration::from_secs(1);
/// Processes that each way of getting away leaves behind.
const WAYS: [(&str, usize); 5] = [
    ("setsid sh -c 'echo $$ >> $PIDS; exec sleep 1000' &", 1),
    // A double fork: its parents have ended.
    ("(setsid sh -c '(sh -c \"echo \\$\\$ >> $PIDS; exec sleep 1000\" &)' &)", 1),
    ("nohup sh -c 'echo $$ >> $PIDS; exec sleep 1000' >/dev/null 2>&1 &", 1),
    ("for i in 1 2 3 4 5 6 7 8; do (setsid sh -c 'echo $$ >> $PIDS; exec sleep 1000' &); done", 8),
    // Each forks the next one and ends: whoever looks for it finds somebody else. It comes to rest after a hundred.
    ("setsid sh $CHAIN 100 &", 1),
];
const CHAIN: &str = "[ $1 -gt 0 ] || { echo $$ >> $PIDS; exec sleep 1000; }\nsetsid sh $CHAIN $(($1 - 1)) &\n";

/// Names a number: so often each of the five starts that fail is made, for who looks for growth.
const ROUNDS: &str = "ORDU_TESTS_FAILING_STARTS";

struct Runaways {
    pids: PathBuf,
    chain: PathBuf,
}

impl Runaways {
    fn new(scenario: &Scenario) -> Self {
        let chain = scenario.path().join("chain");
        std::fs::write(&chain, CHAIN).unwrap();
        Self { pids: scenario.path().join("pids"), chain }
    }

    /// Starts a child that leaves `count` processes behind and runs on; its os pid and theirs.
    fn start(&self, cluster: &Cluster, id: &str, way: &str, count: usize) -> (i32, Vec<i32>) {
        let _ = std::fs::remove_file(&self.pids);
        let variables = [format!("PIDS={}", self.pids.display()), format!("CHAIN={}", self.chain.display())];
        let script = format!("{way}\nsleep 1000; true");
        let line =
            ["start", id, "--json", "--restart", "temporary", "--env", &variables[0], "--env", &variables[1], "--"];
        let row = cluster.ordu(0, &[&line[..], &["sh", "-c", &script]].concat()).json();
        let (pids, _) = within(SOON, "its processes are there", || {
            let text = std::fs::read_to_string(&self.pids).unwrap_or_default();
            let pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
            if pids.len() == count && text.ends_with('\n') { Ok(pids) } else { Err(text) }
        });
        // One that is just being executed shows no arguments.
        until(SOON, "they live", || pids.iter().all(|&pid| is_alive(pid)));
        (os_pid(&row), pids)
    }
}

fn os_pid(row: &Value) -> i32 {
    i32::try_from(row["os_pid"].as_i64().unwrap()).unwrap()
}

#[track_caller]
fn gone(cluster: &Cluster, what: &str, pids: &[i32], since: Instant) {
    until(SOON, what, || !pids.iter().any(|&pid| is_alive(pid)));
    let took = since.elapsed();
    cluster.scenario.say(&format!("{what}: gone after {}", millis(took)));
    assert!(took <= GONE_MAX, "{what}: {took:?}");
}

#[test]
fn nothing_outlives_a_child() {
    let mut cluster = Cluster::start(Scenario::new("runaways"), 1);
    let runaways = Runaways::new(&cluster.scenario);
    for (number, (way, count)) in WAYS.into_iter().enumerate() {
        let (_, pids) = runaways.start(&cluster, "stopped", way, count);
        cluster.ordu(0, &["stop", "stopped"]).ok();
        gone(&cluster, &format!("stopped, way {number}"), &pids, Instant::now());

        let (leader, pids) = runaways.start(&cluster, "ended", way, count);
        kill(Pid::from_raw(leader), Signal::SIGKILL).unwrap();
        gone(&cluster, &format!("its program ended, way {number}"), &pids, Instant::now());
        until(SOON, "it is done", || cluster.nodes[0].get("/v1/children/ended")["status"] == "done");
    }
    cluster.terminate_all();
}

#[test]
fn nothing_outlives_a_killed_node() {
    let mut cluster = Cluster::start(Scenario::new("runaways_killed"), 1);
    let runaways = Runaways::new(&cluster.scenario);
    let mut everybody = Vec::new();
    for (number, (way, count)) in WAYS.into_iter().enumerate() {
        let (leader, pids) = runaways.start(&cluster, &format!("way{number}"), way, count);
        everybody.extend(pids.into_iter().chain([leader]));
    }
    // Nor one that nothing marks as a child's.
    let way = "(env -i PIDS=$PIDS setsid sh -c 'echo $$ >> $PIDS; exec sleep 1000' &)";
    everybody.extend(runaways.start(&cluster, "unmarked", way, 1).1);
    let killed = cluster.nodes[0].kill_9();
    gone(&cluster, "all of a killed node", &everybody, killed);
    until(SOON, "its keeper is gone", || cluster.scenario.processes().is_empty());
}

/// Killed together with its keeper, a node leaves its children to its next start.
#[test]
fn what_node_and_keeper_left_goes_when_the_node_is_back() {
    let mut cluster = Cluster::start(Scenario::new("keeper_killed_too"), 1);
    let runaways = Runaways::new(&cluster.scenario);
    let mut everybody = Vec::new();
    for (number, (way, count)) in WAYS.into_iter().enumerate() {
        let (leader, pids) = runaways.start(&cluster, &format!("way{number}"), way, count);
        everybody.extend(pids.into_iter().chain([leader]));
    }
    let (node, keeper) = (cluster.nodes[0].os_pid(), keeper_of(cluster.nodes[0].os_pid()));
    cluster.nodes[0].signal(Signal::SIGSTOP);
    let tasks = || std::fs::read_dir(format!("/proc/{node}/task")).unwrap().flatten();
    let stats = || tasks().map(|task| std::fs::read_to_string(task.path().join("stat")).unwrap());
    until(SOON, "the node sees nothing any more", || stats().all(|stat| stat.contains(") T ")));
    kill(Pid::from_raw(keeper), Signal::SIGKILL).unwrap();
    cluster.nodes[0].kill_9();
    until(SOON, "the keeper is gone", || !is_alive(keeper));
    assert!(everybody.iter().all(|&pid| is_alive(pid)), "they were left");
    cluster.up(0);
    gone(&cluster, "what was left", &everybody, Instant::now());
    cluster.terminate_all();
}

#[test]
fn a_process_without_any_mark_goes_where_there_are_cgroups() {
    let mut cluster = Cluster::start(Scenario::new("unmarked"), 1);
    if !cluster.nodes[0].log_tail(100).contains("a cgroup of its own") {
        cluster.scenario.skip("this node may not make cgroups");
        return cluster.terminate_all();
    }
    let runaways = Runaways::new(&cluster.scenario);
    let way = "(env -i PIDS=$PIDS setsid sh -c 'echo $$ >> $PIDS; exec sleep 1000' &)";
    let (leader, pids) = runaways.start(&cluster, "unmarked", way, 1);
    let cgroup = |pid: i32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        text.lines().find_map(|line| line.strip_prefix("0::").map(str::to_owned)).unwrap()
    };
    assert_eq!(cgroup(leader), cgroup(pids[0]));
    assert_ne!(cgroup(leader), cgroup(cluster.nodes[0].os_pid()));
    kill(Pid::from_raw(leader), Signal::SIGKILL).unwrap();
    gone(&cluster, "an unmarked process", &pids, Instant::now());
    cluster.terminate_all();
}

/// The row of a child that is over.
fn done(cluster: &Cluster, id: &str) -> Value {
    let path = format!("/v1/children/{id}");
    let (row, _) = within(SOON, &format!("{id} is done"), || {
        let row = cluster.nodes[0].door.get(&path)?;
        if row["status"] == "done" { Ok(row) } else { Err(row.to_string()) }
    });
    row
}

#[test]
fn ends_are_told_by_name() {
    let mut cluster = Cluster::start(Scenario::new("ends"), 1);
    let root = cluster.scenario.path().display().to_string();
    let table = [
        ("exit 3", "exit status 3"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
        ("kill -TERM $$", "killed by SIGTERM"),
        ("kill -40 $$", "killed by SIGRTMIN+6"),
    ];
    for (number, (script, reason)) in table.into_iter().enumerate() {
        let id = format!("end{number}");
        let line = ["start", &id, "--restart", "temporary", "--cwd", &root, "--limit", "core=0", "--", "sh", "-c"];
        // So slow that the start's answer is never that it has ended already.
        let script = format!("sleep 0.2; {script}");
        cluster.ordu(0, &[&line[..], &[&script]].concat()).ok();
        assert_eq!(done(&cluster, &id)["reason"], reason, "{script}");
        told(&cluster, &id, reason);
    }
    let deaf = "trap '' TERM INT; echo deaf; while true; do sleep 0.05; done";
    let line = ["start", "deaf", "--json", "--stop-signal", "INT", "--stop-timeout", "300ms", "--", "sh", "-c", deaf];
    let row = cluster.ordu(0, &line).json();
    let log = row["log"].as_str().unwrap().to_owned();
    until(SOON, "it is deaf", || std::fs::read_to_string(&log).is_ok_and(|text| text == "deaf\n"));
    let stopped = cluster.ordu(0, &["stop", "deaf"]);
    assert!(stopped.took >= Duration::from_millis(280), "{:?}", stopped.took);
    stopped.ok();
    told(&cluster, "deaf", "killed by SIGKILL: it had not ended 300ms after SIGINT");
    cluster.terminate_all();
}

#[track_caller]
fn told(cluster: &Cluster, id: &str, reason: &str) {
    within(SOON, &format!("the event of {id}'s end"), || {
        let events = cluster.events.of("child_exited");
        let of_it: Vec<_> = events.iter().filter(|event| event.field("child") == id).collect();
        let reasons: Vec<_> = of_it.iter().map(|event| event.field("reason").to_owned()).collect();
        if reasons.contains(&reason.to_owned()) { Ok(()) } else { Err(format!("{reasons:?}")) }
    });
}

#[test]
fn a_child_stops_by_its_own_signal_and_has_its_limits() {
    let mut cluster = Cluster::start(Scenario::new("settings"), 1);
    let out = cluster.scenario.path().join("out");
    let variable = format!("OUT={}", out.display());
    let script = "trap 'echo bye >> $OUT; exit 0' USR1; ulimit -Sn >> $OUT; ulimit -Hn >> $OUT; ulimit -c >> $OUT; \
                  while true; do sleep 0.02; done";
    let line = ["start", "web", "--stop-signal", "USR1", "--limit", "nofile=70:80", "--limit", "core=0"];
    cluster.ordu(0, &[&line[..], &["--env", &variable, "--", "sh", "-c", script]].concat()).ok();
    until(SOON, "it told its limits", || std::fs::read_to_string(&out).is_ok_and(|text| text == "70\n80\n0\n"));
    cluster.ordu(0, &["stop", "web"]).ok();
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "70\n80\n0\nbye\n");
    // The keeper's own bound, which it raises, is nobody else's.
    let own = std::fs::read_to_string("/proc/self/limits").unwrap();
    let own = own.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned();
    let line = ["start", "plain", "--", "sh", "-c", "grep 'Max open files' /proc/self/limits; sleep 1000"];
    cluster.ordu(0, &line).ok();
    let log = cluster.nodes[0].data_dir.join("logs/plain.log");
    within(SOON, "its limit is that of who started the node", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        if text.trim_end() == own.trim_end() { Ok(()) } else { Err(format!("{text:?}, not {own:?}")) }
    });
    // The same by HTTP, and a process over its limit is told as that.
    let body = json!({"id": "greedy", "restart": "temporary", "args": {
        "cmd": ["sh", "-c", "sleep 0.2; while true; do :; done"], "limits": {"cpu": 1, "core": 0}, "stop_signal": "INT"}});
    let answer = cluster.nodes[0].door.ask("POST", "/v1/children", body.to_string().as_bytes()).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.body);
    let reason = done(&cluster, "greedy")["reason"].as_str().unwrap().to_owned();
    // The soft limit sends one, the hard one, which is the same here, the other.
    assert!(["killed by SIGXCPU", "killed by SIGKILL"].contains(&reason.as_str()), "{reason}");
    cluster.terminate_all();
}

#[test]
fn limits_of_a_whole_child_hold_or_are_refused() {
    let mut cluster = Cluster::start(Scenario::new("whole_limits"), 1);
    // A cgroup of one child: its own limits, and by the kernel's word that it went over them.
    let greedy = "sleep 0.2; head -c 300000000 /dev/zero | tail -c 299999999 | wc -c";
    let line = ["start", "greedy", "--json", "--restart", "temporary", "--limit", "memory.max=32M"];
    let started = cluster.ordu(0, &[&line[..], &["--limit", "pids.max=20", "--", "sh", "-c", greedy]].concat());
    if started.code == 0 {
        let reason = done(&cluster, "greedy")["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains("memory.max"), "{reason}");
    } else {
        cluster.scenario.skip(&format!("the half that needs controllers: {}", started.stderr.trim()));
        started.fails(1, "for a whole child are not possible here");
        assert_eq!(cluster.nodes[0].get("/v1/children"), json!([]), "nothing is kept");
        assert!(!cluster.nodes[0].data_dir.join("logs/greedy.log").exists());
    }
    cluster.terminate_all();
}

#[test]
fn a_child_runs_as_another_user() {
    if !geteuid().is_root() {
        return ordu_tests::say("other_user: SKIPPED: only root may run children as other users");
    }
    let mut cluster = Cluster::start(Scenario::new("other_user"), 1);
    let script = "id -u; id -g; id -G; echo $HOME; cat $ORDU_FENCE_FILE; echo; echo to err > /dev/stderr; sleep 1000";
    let line = ["start", "web", "--json", "--user", "12345:54321", "--env", "HOME=/mine", "--cwd", "/"];
    let row = cluster.ordu(0, &[&line[..], &["--", "sh", "-c", script]].concat()).json();
    let fence = row["fence"].as_str().unwrap();
    let expected = format!("12345\n54321\n54321\n/mine\n{fence}\nto err\n");
    within(SOON, "it says who it is", || {
        let text = std::fs::read_to_string(row["log"].as_str().unwrap()).unwrap_or_default();
        if text == expected { Ok(()) } else { Err(text) }
    });
    let line = ["start", "x", "--user", "12345", "--", "true"];
    cluster.ordu(0, &line).fails(1, "its group must be given");
    let closed = cluster.nodes[0].data_dir.display().to_string();
    let line = ["start", "x", "--user", "12345:54321", "--cwd", &closed, "--", "true"];
    cluster.ordu(0, &line).fails(1, "may not be entered");
    let environ = std::fs::read(format!("/proc/{}/environ", os_pid(&row))).unwrap();
    let file = environ.split(|&byte| byte == 0).find_map(|entry| entry.strip_prefix(b"ORDU_FENCE_FILE="));
    let file = PathBuf::from(String::from_utf8(file.unwrap().to_vec()).unwrap());
    assert!(file.exists());
    cluster.ordu(0, &["stop", "web"]).ok();
    assert!(!file.parent().unwrap().exists(), "its fence's directory is gone too");
    cluster.terminate_all();
}

/// Processes that have ended and that nobody reaped.
fn zombies(of: i32) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter(|stat| stat.rsplit_once(") ").is_some_and(|(_, tail)| tail.starts_with(&format!("Z {of} ")))).count()
}

/// The node's keeper.
fn keeper_of(node: i32) -> i32 {
    let children = std::fs::read_dir(format!("/proc/{node}/task")).unwrap().flatten();
    let children = children.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    children.flat_map(|pids| pids.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>()).next().unwrap()
}

#[test]
fn starts_that_fail_leave_nothing() {
    let mut cluster = Cluster::start(Scenario::new("failing_starts"), 1);
    let rounds = std::env::var(ROUNDS).map_or(60, |text| text.parse().unwrap());
    let long = "x".repeat(100_000);
    let fail = |cmd: Value, extra: Value, part: &str| {
        let mut args = json!({"cmd": cmd});
        args.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let body = json!({"id": "broken", "args": args}).to_string();
        let answer = cluster.nodes[0].door.ask("POST", "/v1/children", body.as_bytes()).unwrap();
        assert_eq!(answer.status, 422, "{part}: {}", answer.body);
        assert!(answer.body.contains(part), "{part}: {}", answer.body);
    };
    let all = || {
        fail(json!(["no-such-program"]), json!({}), "command not found: no-such-program");
        fail(json!(["/etc/passwd"]), json!({}), "permission denied");
        fail(json!(["true"]), json!({"cwd": "/no/such"}), "working directory not found: /no/such");
        fail(json!(["true"]), json!({"user": "no-such-user"}), "user not found");
        fail(json!(["true", "-".repeat(200_000)]), json!({}), "longer than this host takes");
    };
    // One argument may have 128 KiB; the name of a program is cut where it is told.
    fail(json!([long]), json!({}), "xxx");
    all();
    let node = cluster.nodes[0].os_pid();
    let keeper = keeper_of(node);
    let threads = |pid: i32| std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
    let count = || [descriptors(node), descriptors(keeper), threads(keeper), zombies(keeper), zombies(node)];
    let logs = || std::fs::read_dir(cluster.nodes[0].data_dir.join("logs")).unwrap().count();
    (0..20).for_each(|_| all());
    let (before, bytes) = (count(), [resident_bytes(node), resident_bytes(keeper)]);
    let began = Instant::now();
    (0..rounds).for_each(|_| all());
    let took = began.elapsed();
    within(SOON, "nothing more than before", || {
        let now = count();
        if now.iter().zip(before).all(|(now, before)| *now <= before) {
            Ok(())
        } else {
            Err(format!("{now:?}, {before:?}"))
        }
    });
    let grown: Vec<u64> =
        [node, keeper].iter().zip(bytes).map(|(pid, then)| resident_bytes(*pid).saturating_sub(then)).collect();
    cluster.scenario.say(&format!(
        "{} failing starts in {}: {grown:?} bytes more in node and keeper",
        rounds * 5,
        millis(took)
    ));
    assert!(grown.iter().all(|&grown| grown < 8 << 20), "{grown:?}");
    assert_eq!((logs(), cluster.nodes[0].get("/v1/children")), (0, json!([])));
    cluster.terminate_all();
}

fn bytes_below(directory: &Path) -> u64 {
    std::fs::read_dir(directory).unwrap().flatten().filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

#[test]
fn a_child_that_prints_without_end_bothers_nobody() {
    let mut cluster = Cluster::start(Scenario::new("loud"), 1);
    cluster.ordu(0, &["start", "loud", "--", "yes", "a line that is printed again and again"]).ok();
    let logs = cluster.nodes[0].data_dir.join("logs");
    let mut slowest = Duration::ZERO;
    until(Duration::from_secs(30), "its log was rotated", || {
        let asked = Instant::now();
        cluster.nodes[0].get("/v1/status");
        slowest = slowest.max(asked.elapsed());
        logs.join("loud.log.1").exists()
    });
    cluster.start_child(0, "quiet").ok();
    let kept = bytes_below(&logs);
    cluster.scenario.say(&format!("{kept} bytes kept, slowest answer {}", millis(slowest)));
    assert!(kept <= 2 * (8 << 20), "{kept}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let earlier = std::fs::read_to_string(logs.join("loud.log.1")).unwrap();
    assert!(earlier.lines().all(|line| line == "a line that is printed again and again") && earlier.ends_with('\n'));
    let stopped = cluster.ordu(0, &["stop", "loud"]);
    assert!(stopped.took < Duration::from_secs(3), "{:?}", stopped.took);
    stopped.ok();
    cluster.terminate_all();
}

/// A small file system, for as long as this lives.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, size: &str) -> Result<Small, String> {
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o"]).arg(format!("size={size}")).arg("ordu-tests").arg(at);
        let mounted = mount.output().map_err(|error| format!("mount: {error}"))?;
        match mounted.status.success() {
            true => Ok(Small(at.to_owned())),
            false => Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned()),
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_costs_output_only() {
    let mut cluster = Cluster::start(Scenario::new("full_disk"), 1);
    let logs = cluster.nodes[0].data_dir.join("logs");
    let small = match Small::mount(&logs, "1m") {
        Ok(small) => small,
        Err(why) => {
            cluster.scenario.skip(&format!("no small file system can be mounted: {why}"));
            return cluster.terminate_all();
        }
    };
    let turns = cluster.scenario.path().join("turns");
    let variable = format!("TURNS={}", turns.display());
    // Each turn prints 64 KiB; it would end if a line could not be printed.
    let script = "set -e; n=0; while true; do head -c 65536 /dev/zero | tr '\\0' x; echo; n=$((n+1)); echo $n > $TURNS; \
                  sleep 0.01; done";
    let line = ["start", "web", "--json", "--restart", "temporary", "--env", &variable, "--", "sh", "-c", script];
    let row = cluster.ordu(0, &line).json();
    let turn = || std::fs::read_to_string(&turns).unwrap_or_default().trim().parse::<u64>().unwrap_or(0);
    until(Duration::from_secs(30), "it printed four times what there is room for", || turn() > 64);
    let row_now = cluster.nodes[0].get("/v1/children/web");
    assert_eq!((&row_now["status"], &row_now["os_pid"]), (&json!("running"), &row["os_pid"]));
    assert_eq!(bytes_below(&logs) >> 16, 16, "what there is room for is kept");
    let complaints = || cluster.nodes[0].log_tail(1000).matches("is thrown away").count();
    within(SOON, "it is told", || if complaints() == 1 { Ok(()) } else { Err(cluster.nodes[0].log_tail(20)) });
    // With room again what it prints is kept again.
    std::fs::remove_file(logs.join("web.log")).unwrap();
    until(SOON, "there is a new log", || bytes_below(&logs) > 100_000);
    let then = turn();
    until(SOON, "it goes on on a full disk", || turn() > then + 40);
    assert_eq!(complaints(), 1);
    assert!(cluster.nodes[0].is_running());
    cluster.ordu(0, &["stop", "web"]).ok();
    drop(small);
    cluster.terminate_all();
}
