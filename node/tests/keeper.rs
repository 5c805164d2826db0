//! The keeper with real processes: what runs, what its end is called, and that nothing outlives the node.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "those are banned from the cores only")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use ordu_node::exec::{
    Activation, Ended, Exec, Host, Job, Keeper, KeeperConfig, Order, Report, SUBCOMMAND, read_frame, write_frame,
};
use ordu_supervisor::core::Exit;
use tokio::sync::{mpsc, watch};

const ORDU: &str = env!("CARGO_BIN_EXE_ordu");
/// Longer than anything here takes, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn keeper() -> Keeper {
    Keeper::start(KeeperConfig { program: ORDU.into(), remove: None, cgroups: false }).unwrap()
}

fn job(directory: &Path, cmd: &[&str]) -> Job {
    let cmd = cmd.iter().map(|&argument| argument.to_owned()).collect();
    Job { cmd, log: directory.join("logs/job.log"), ..Job::default() }
}

fn marked(job: Job) -> Job {
    let mark = mark();
    Job { env: vec![("ORDU_FENCE".into(), mark.clone())], mark: Some(mark), ..job }
}

/// A fence that no other activation has.
fn mark() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("00{:08x}{:04x}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn pid(os_pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(os_pid).unwrap())
}

/// Whether a process is there and not a zombie.
fn lives(pid: Pid) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    stat.rsplit_once(')').is_some_and(|(_, tail)| !tail.trim_start().starts_with('Z'))
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

/// The number that a program wrote into a file as its first line.
fn pid_in(path: &Path) -> Pid {
    let mut found = None;
    until("a pid in its file", || {
        let text = fs::read_to_string(path).unwrap_or_default();
        found = text.ends_with('\n').then(|| text.trim().parse().ok()).flatten();
        found.is_some()
    });
    Pid::from_raw(found.unwrap())
}

#[tokio::test]
async fn a_program_runs_and_its_end_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = keeper();
    for (script, expected) in
        [("exit 0", Ended::Code(0)), ("exit 3", Ended::Code(3)), ("kill -9 $$", Ended::by(Signal::SIGKILL))]
    {
        let mut running = keeper.spawn(job(directory.path(), &["sh", "-c", script])).await.unwrap();
        assert_eq!(running.ended().await, expected, "{script}");
    }
    let script = "echo out; echo err >&2; read line || echo no input";
    let mut running = keeper.spawn(job(directory.path(), &["sh", "-c", script])).await.unwrap();
    assert_eq!(running.ended().await, Ended::Code(0));
    assert_eq!(fs::read_to_string(directory.path().join("logs/job.log")).unwrap(), "out\nerr\nno input\n");
    // A real-time signal has no name in most libraries, and is an end all the same.
    let mut running = keeper.spawn(job(directory.path(), &["sh", "-c", "kill -40 $$"])).await.unwrap();
    assert_eq!(running.ended().await, Ended::Signal { number: 40, is_dumped: false });
    let mut running = keeper.spawn(job(directory.path(), &["true"])).await.unwrap();
    assert_eq!(running.ended().await, Ended::Code(0));
}

#[tokio::test]
async fn a_program_that_cannot_be_executed_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = keeper();
    let refused = async |job: Job| keeper.spawn(job).await.err().unwrap();
    assert_eq!(refused(job(directory.path(), &["no-such-program"])).await, "command not found: no-such-program");
    assert_eq!(refused(job(directory.path(), &["/no/such"])).await, "command not found: /no/such");
    let not_executable = refused(job(directory.path(), &["/etc/passwd"])).await;
    assert_eq!(not_executable, "command not executable: /etc/passwd: permission denied");
    let nowhere = Job { cwd: Some("/no/such/directory".into()), ..job(directory.path(), &["true"]) };
    assert_eq!(refused(nowhere).await, "working directory not found: /no/such/directory");
    let unlogged = Job { log: "/dev/null/job.log".into(), ..job(directory.path(), &["true"]) };
    assert!(refused(unlogged).await.starts_with("cannot open the log /dev/null/job.log"));
    assert!(!directory.path().join("logs/job.log").exists(), "a start that failed left a log");
    // Failing spawns rob nobody of an exit status.
    let mut running = keeper.spawn(job(directory.path(), &["sh", "-c", "exit 7"])).await.unwrap();
    assert_eq!(running.ended().await, Ended::Code(7));
}

#[tokio::test]
async fn many_at_once_succeed_and_fail_each_for_itself() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = keeper();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..60 {
        let (keeper, path) = (keeper.clone(), directory.path().to_owned());
        tasks.spawn(async move {
            let script = format!("exit {number}");
            let cmd: &[&str] = if number % 3 == 0 { &["no-such-program"] } else { &["sh", "-c", &script] };
            let spawned = keeper.spawn(job(&path, cmd)).await;
            match spawned {
                Ok(mut running) => assert_eq!(running.ended().await, Ended::Code(number)),
                Err(why) => assert_eq!((number % 3, &*why), (0, "command not found: no-such-program")),
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn the_rest_of_the_group_goes_with_its_leader() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = keeper();
    let file = directory.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}", file.display());
    let mut running = keeper.spawn(job(directory.path(), &["sh", "-c", &script])).await.unwrap();
    assert_eq!(running.ended().await, Ended::Code(0));
    assert!(!lives(pid_in(&file)), "gone before its end is told");
}

#[tokio::test]
async fn what_left_the_group_goes_too_if_it_bears_the_mark() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = keeper();
    let file = directory.path().join("pid");
    let script = format!("setsid sh -c 'echo $$ > {}; exec sleep 1000' & sleep 1000", file.display());
    let marked = marked(job(directory.path(), &["sh", "-c", &script]));
    let mut running = keeper.spawn(marked).await.unwrap();
    let stray = pid_in(&file);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ended().await, Ended::by(Signal::SIGTERM));
    until("the stray is gone", || !lives(stray));
}

/// Ways to get out of a group that a mark is enough for; each writes a line.
const WAYS_OUT: [&str; 4] = [
    "setsid sh -c 'echo $$ > $FILE; exec sleep 1000' &",
    "(setsid sh -c '(sh -c \"echo \\$\\$ > $FILE; exec sleep 1000\" &)' &)",
    "nohup sh -c 'echo $$ > $FILE; exec sleep 1000' >/dev/null 2>&1 &",
    // Nothing marks it, but it descends from the program when that is asked to stop.
    "env -i FILE=$FILE setsid sh -c 'echo $$ > $FILE; exec sleep 1000' &",
];

#[tokio::test]
async fn strays_are_found_without_cgroups_and_with_them() {
    for cgroups in [false, true] {
        let keeper = Keeper::start(KeeperConfig { program: ORDU.into(), remove: None, cgroups }).unwrap();
        if cgroups && let Err(why) = keeper.cgroups() {
            eprintln!("skipped: the half with cgroups: {why}");
            continue;
        }
        for way in WAYS_OUT {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("pid");
            let script = format!("FILE={}; export FILE; {way}\nsleep 1000; true", file.display());
            let mut running = keeper.spawn(marked(job(directory.path(), &["sh", "-c", &script]))).await.unwrap();
            let stray = pid_in(&file);
            running.signal(Signal::SIGTERM);
            assert_eq!(running.ended().await, Ended::by(Signal::SIGTERM));
            let took = until("the stray is gone", || !lives(stray));
            assert!(took < Duration::from_secs(1), "{way}: {took:?}");
        }
        let tree = keeper.cgroups().map(Path::to_owned);
        keeper.close();
        assert!(tree.is_err() || !tree.unwrap().exists(), "the cgroups are removed");
    }
}

#[tokio::test]
async fn dropping_a_program_kills_it() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = keeper();
    let running = keeper.spawn(job(directory.path(), &["sleep", "1000"])).await.unwrap();
    let child = pid(running.os_pid());
    assert!(lives(child));
    drop(running);
    until("it is gone", || !lives(child));
}

#[tokio::test]
async fn children_bear_neither_blocked_nor_ignored_signals() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = keeper();
    let mut running =
        keeper.spawn(job(directory.path(), &["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"])).await.unwrap();
    assert_eq!(running.ended().await, Ended::Code(0));
    let text = fs::read_to_string(directory.path().join("logs/job.log")).unwrap();
    for line in text.lines() {
        let mask = line.split_once(":\t").map(|(_, mask)| u64::from_str_radix(mask, 16).unwrap()).unwrap();
        // 32 and 33 are the C library's own; it leaves them ignored when it spawns.
        assert_eq!(mask & !(0b11 << 31), 0, "{line}");
    }
    assert_eq!(text.lines().count(), 2);
}

#[tokio::test]
async fn a_programs_loader_variables_are_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = keeper();
    let env = vec![("LD_PRELOAD".into(), "/no/such.so".into()), ("HOME".into(), "/mine".into())];
    let echo = Job { env, ..job(directory.path(), &["sh", "-c", "echo $LD_PRELOAD $HOME"]) };
    let mut running = keeper.spawn(echo).await.unwrap();
    assert_eq!(running.ended().await, Ended::Code(0));
    let text = fs::read_to_string(directory.path().join("logs/job.log")).unwrap();
    assert!(text.ends_with("/no/such.so /mine\n"), "{text}");
    // The loader tells of it where it has to load something: for the program, and not also for what becomes the program.
    assert!(text.matches("cannot be preloaded").count() <= 1, "{text}");
}

#[tokio::test]
async fn a_terminals_signals_reach_neither_keeper_nor_child() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = keeper();
    let mut running = keeper.spawn(job(directory.path(), &["sleep", "1000"])).await.unwrap();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        killpg(pid(keeper.os_pid()), signal).unwrap();
    }
    let mut after = keeper.spawn(job(directory.path(), &["true"])).await.unwrap();
    assert_eq!(after.ended().await, Ended::Code(0));
    assert!(lives(pid(running.os_pid())));
    running.signal(Signal::SIGKILL);
    assert_eq!(running.ended().await, Ended::by(Signal::SIGKILL));
}

#[tokio::test]
async fn a_dead_keeper_takes_its_programs_along_and_another_starts() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = keeper();
    let file = directory.path().join("pid");
    let script = format!("setsid sh -c 'echo $$ > {}; exec sleep 1000' & sleep 1000; true", file.display());
    let marked = marked(job(directory.path(), &["sh", "-c", &script]));
    let mut running = keeper.spawn(marked).await.unwrap();
    let stray = pid_in(&file);
    let first = keeper.os_pid();
    kill(pid(first), Signal::SIGKILL).unwrap();
    assert_eq!(running.ended().await, Ended::Lost);
    until("leader and stray are gone", || !lives(pid(running.os_pid())) && !lives(stray));
    until("another keeper", || keeper.os_pid() != first);
    let mut running = keeper.spawn(job(directory.path(), &["sh", "-c", "exit 5"])).await.unwrap();
    assert_eq!(running.ended().await, Ended::Code(5));
}

#[tokio::test]
async fn closing_leaves_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = keeper();
    let running = keeper.spawn(job(directory.path(), &["sh", "-c", "trap '' TERM; sleep 1000; true"])).await.unwrap();
    let (own, child) = (pid(keeper.os_pid()), pid(running.os_pid()));
    keeper.close();
    assert!(!lives(own) && !lives(child));
    assert!(keeper.spawn(job(directory.path(), &["true"])).await.is_err());
}

/// The node is an OS process that is killed: here a `sleep` that alone holds the other end of the keeper's input.
#[test]
fn when_the_node_is_killed_everything_is_gone_within_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let doomed = directory.path().join("doomed");
    fs::create_dir(&doomed).unwrap();
    let session = directory.path().join("session");
    let scripts = [
        "sleep 1000; true".to_owned(),
        format!("env -i setsid sh -c 'echo $$ > {}; sleep 1000; true' & sleep 1000; true", session.display()),
        "trap '' TERM INT HUP; while true; do sleep 0.05; done".to_owned(),
    ];
    let mut orders = Vec::new();
    write_frame(&mut orders, &Order::Remove { directory: doomed.clone() }).unwrap();
    for (key, script) in (1..).zip(scripts) {
        let cmd = vec!["sh".into(), "-c".into(), script];
        let log = doomed.join(format!("{key}.log"));
        write_frame(&mut orders, &Order::Spawn { key, job: Job { cmd, log, ..Job::default() } }).unwrap();
    }
    // The shell passes the orders on and becomes the process that is killed.
    let mut node = Command::new("sh")
        .args(["-c", "head -c \"$0\"; exec sleep 1000", &orders.len().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keeper =
        Command::new(ORDU).arg(SUBCOMMAND).stdin(node.stdout.take().unwrap()).stdout(Stdio::piped()).spawn().unwrap();
    node.stdin.take().unwrap().write_all(&orders).unwrap();
    let mut reports = keeper.stdout.take().unwrap();
    let mut leaders = BTreeMap::new();
    while leaders.len() < 3 {
        match read_frame(&mut reports).unwrap().unwrap() {
            Report::Started { key, os_pid } => leaders.insert(key, pid(os_pid)),
            other => panic!("{other:?}"),
        };
    }
    let in_session = pid_in(&session);
    let everybody: Vec<Pid> = leaders.into_values().chain([in_session]).collect();
    assert!(everybody.iter().all(|&pid| lives(pid)));
    node.kill().unwrap();
    node.wait().unwrap();
    let took = until("everybody is gone", || !everybody.iter().any(|&pid| lives(pid)));
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    assert!(keeper.wait().unwrap().success());
    assert!(!doomed.exists());
}

struct TestHost {
    started: mpsc::UnboundedSender<u32>,
    stopping: watch::Receiver<bool>,
    fence: watch::Receiver<String>,
}

impl Host for TestHost {
    fn started(&self, os_pid: u32, _log: &Path) {
        self.started.send(os_pid).unwrap();
    }

    async fn stopping(&self) -> Duration {
        let _ = self.stopping.clone().wait_for(|&stopping| stopping).await;
        Duration::MAX
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    async fn fence_raised(&self, known: &str) -> String {
        self.fence.clone().wait_for(|fence| fence != known).await.unwrap().clone()
    }

    fn handed_off(&self) -> Option<bytes::Bytes> {
        None
    }

    fn hand_off(&self, _: Vec<u8>) {}

    fn checkpoint(&self, _: Vec<u8>) {}

    async fn merged(&self) -> bytes::Bytes {
        std::future::pending().await
    }
}

struct Harness {
    _directory: tempfile::TempDir,
    directory: std::path::PathBuf,
    exec: Exec,
    stop: watch::Sender<bool>,
    fence: watch::Sender<String>,
    started: mpsc::UnboundedReceiver<u32>,
    host: Option<TestHost>,
    /// The activation's own, for by it what belongs to the activation is known.
    mark: String,
}

impl Harness {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let exec = Exec::new(keeper(), directory.path(), "127.0.0.1:7600".into()).unwrap();
        let (started, is_started) = mpsc::unbounded_channel();
        let (stop, stopping) = watch::channel(false);
        let mark = mark();
        let (fence, fence_is) = watch::channel(mark.clone());
        let host = Some(TestHost { started, stopping, fence: fence_is });
        let path = directory.path().into();
        Self { directory: path, _directory: directory, exec, stop, fence, started: is_started, host, mark }
    }

    fn run(&mut self, args: &serde_json::Value) -> impl Future<Output = Exit> + use<> {
        let activation =
            Activation { id: "web".into(), node: "n1".into(), pid: "n1#1.5".into(), fence: self.mark.clone() };
        let (exec, args, host) = (self.exec.clone(), args.to_string(), self.host.take().unwrap());
        async move { exec.run(activation, args.as_bytes(), host).await }
    }
}

#[tokio::test]
async fn a_child_knows_who_it_is() {
    let mut harness = Harness::new();
    let script = "echo $ORDU_CHILD_ID $ORDU_NODE $ORDU_FENCE $(cat $ORDU_FENCE_FILE) $ORDU_PID $ORDU_HTTP $K; pwd";
    let args = serde_json::json!({"cmd": ["sh", "-c", script], "env": {"K": "v", "ORDU_NODE": "liar"}, "cwd": "/"});
    assert_eq!(harness.run(&args).await, Exit::Normal);
    let log = fs::read_to_string(harness.directory.join("logs/web.log")).unwrap();
    assert_eq!(log, format!("web n1 {0} {0} n1#1.5 127.0.0.1:7600 v\n/\n", harness.mark));
    assert_eq!(fs::read_dir(harness.directory.join("fences")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_raised_fence_is_in_the_file() {
    let mut harness = Harness::new();
    let script = "until [ $(cat $ORDU_FENCE_FILE) = 00ff ]; do sleep 0.01; done; exit 4";
    let ended = tokio::spawn(harness.run(&serde_json::json!({"cmd": ["sh", "-c", script]})));
    harness.started.recv().await.unwrap();
    harness.fence.send("00ff".into()).unwrap();
    assert_eq!(ended.await.unwrap(), Exit::Abnormal("exit status 4".into()));
}

/// How a child ends that says this of the fence under which it was refused.
async fn refused(script: &str) -> Exit {
    Harness::new().run(&serde_json::json!({"cmd": ["sh", "-c", script]})).await
}

#[tokio::test]
async fn a_child_says_under_which_fence_it_was_refused() {
    let digits = "0000018f000000000123456789abcdef";
    let fenced = Exit::Fenced(digits.parse().unwrap());
    // Whatever its status: 75 is what others would take for "try again".
    for status in ["0", "75"] {
        assert_eq!(refused(&format!("echo {digits} > $ORDU_FENCED_FILE; exit {status}")).await, fenced);
    }
    assert_eq!(refused(": > $ORDU_FENCED_FILE").await, Exit::Normal);
    assert_eq!(refused("exit 3").await, Exit::Abnormal("exit status 3".into()));
    let none = "what it wrote to the file of ORDU_FENCED_FILE is none: a fence is 32 digits of 0-9 and a-f";
    assert_eq!(refused("echo no > $ORDU_FENCED_FILE").await, Exit::Abnormal(none.into()));
    let script = "head -c 100000000 /dev/zero > $ORDU_FENCED_FILE; exit 75";
    let long = "exit status 75; what it wrote to the file of ORDU_FENCED_FILE is longer than 64 bytes";
    assert_eq!(refused(script).await, Exit::Abnormal(long.into()));
}

#[tokio::test]
async fn a_child_is_asked_to_stop_and_then_killed() {
    let mut harness = Harness::new();
    let polite = serde_json::json!({"cmd": ["sleep", "1000"]});
    let ended = tokio::spawn(harness.run(&polite));
    harness.started.recv().await.unwrap();
    harness.stop.send(true).unwrap();
    assert_eq!(ended.await.unwrap(), Exit::Abnormal("killed by SIGTERM".into()));

    let mut harness = Harness::new();
    let script = "trap '' TERM; echo deaf; while true; do sleep 0.05; done";
    let stubborn = serde_json::json!({"cmd": ["sh", "-c", script], "stop_timeout": "50ms"});
    let ended = tokio::spawn(harness.run(&stubborn));
    harness.started.recv().await.unwrap();
    let log = harness.directory.join("logs/web.log");
    until("it is deaf", || fs::read_to_string(&log).is_ok_and(|text| text == "deaf\n"));
    harness.stop.send(true).unwrap();
    assert_eq!(ended.await.unwrap(), Exit::Abnormal("killed by SIGKILL: it had not ended 50ms after SIGTERM".into()));
}

#[tokio::test]
async fn what_an_earlier_node_left_is_killed_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let fence_file = directory.path().canonicalize().unwrap().join("fences/web.fence");
    let mut left = Command::new("sleep").arg("1000").env("ORDU_FENCE_FILE", &fence_file).spawn().unwrap();
    let elsewhere = directory.path().join("elsewhere/fences/web.fence");
    let mut other = Command::new("sleep").arg("1000").env("ORDU_FENCE_FILE", &elsewhere).spawn().unwrap();
    Exec::new(keeper(), directory.path(), "127.0.0.1:7600".into()).unwrap();
    until("the leftover is gone", || !lives(pid(left.id())));
    assert!(lives(pid(other.id())));
    left.wait().unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
}

/// The node may stand still and read no reports: that is what a lease is for.
#[test]
fn a_lease_ends_though_nobody_reads_what_the_keeper_tells() {
    let directory = tempfile::tempdir().unwrap();
    let (read, write) = nix::unistd::pipe().unwrap();
    nix::fcntl::fcntl(&write, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let mut keeper =
        Command::new(ORDU).arg(SUBCOMMAND).stdin(Stdio::piped()).stdout(Stdio::from(write)).spawn().unwrap();
    let (mut orders, mut reports) = (keeper.stdin.take().unwrap(), fs::File::from(read));
    write_frame(&mut orders, &Order::Spawn { key: 1, job: job(directory.path(), &["sleep", "1000"]) }).unwrap();
    let leased = match read_frame(&mut reports).unwrap().unwrap() {
        Report::Started { os_pid, .. } => pid(os_pid),
        other => panic!("{other:?}"),
    };
    let boot = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap();
    let until_us = Some((boot + Duration::from_secs(3)).as_micros() as u64);
    write_frame(&mut orders, &Order::Lease { until_us }).unwrap();
    // About as many reports as wait at most, told by whoever takes orders; then more, by those that see how programs fare.
    let failing = (2..1_000).map(|key| Order::Spawn { key, job: job(directory.path(), &[]) });
    let running = (1_000..1_150).map(|key| Order::Spawn { key, job: job(directory.path(), &["true"]) });
    let further: Vec<Order> = failing.chain(running).collect();
    std::thread::spawn(move || further.iter().try_for_each(|order| write_frame(&mut orders, order)));
    until("it is killed", || !lives(leased));
    drop(reports);
    keeper.wait().unwrap();
}
