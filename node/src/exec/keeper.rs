//! The keeper: one small process per node that owns the node's OS-process children and outlives the node just long
//! enough to take them along.
//!
//! It is this binary executed again. Orders come on its standard input, reports go to its standard output. It is a
//! subreaper, so every orphaned descendant becomes its own child; and when its standard input ends, however the node
//! ended, it kills every group and then every descendant that is left. It is in a process group of its own and ignores
//! what a terminal sends, so Ctrl-C in the node's terminal reaches neither it nor the children.
//!
//! Threads: the main one takes orders; one sees which launches became programs; one reaps; one writes reports; one takes
//! output; one looks for strays and old logs; one
//! kills when a lease is over. Only `waitid` that peeks is called without the table's lock: a pid is reaped
//! under the lock, so while the table knows a pid, no other process has it, and the wait inside a failing `Command::spawn`
//! is never robbed.
//! Nothing is told under that lock: who tells waits while nobody reads, and the lock is what a lease that is over needs.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use rustix::process::WaitOptions;

use super::cgroup::{self, Tree};
use super::launch::{Launch, Launched, Outcome, Step, launch};
use super::lease::Lease;
use super::limits::Limits;
use super::output::Outputs;
use super::protocol::{Ended, Job, Order, Report, read_frame, write_frame};
use super::strays::{Strays, Traces};
use super::{log, processes};

/// Reports that wait to be written; a further one makes its thread wait.
const REPORTS_MAX: usize = 1024;
/// How long the end of a child is held back until the rest of its group is gone.
const GROUP_END_MAX: Duration = Duration::from_millis(200);
/// How long the keeper tries to kill what is left when the node is gone; only a process that the kernel holds in an
/// uninterruptible call takes longer.
const END_MAX: Duration = Duration::from_secs(30);
/// Between two looks for strays, while there may be any.
const STRAYS_INTERVAL: Duration = Duration::from_millis(50);
/// Between two looks whether there are too many old logs.
const LOGS_INTERVAL: Duration = Duration::from_secs(60);
/// The bit of the wait status that says that a core was dumped.
const CORE_DUMPED: i32 = 0x80;

/// Runs the keeper until its standard input ends.
pub fn run(input: impl Read, output: impl Write + Send + 'static) -> io::Result<()> {
    nix::sys::prctl::set_child_subreaper(true)?;
    // So that `pkill ordu` takes the node only: somebody must be left to end the children.
    nix::sys::prctl::set_name(c"keeper")?;
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        // A handler, because children would inherit an ignored signal but not a handled one.
        signal_hook::flag::register(signal as i32, Arc::new(AtomicBool::new(false)))?;
    }
    let (reports, written) = sync_channel(REPORTS_MAX);
    let complaints = reports.clone();
    let outputs = Outputs::new(move |what| drop(complaints.send(Report::Complaint { what })))?;
    let keeper = Arc::new(Keeper {
        table: Mutex::default(),
        spawned: Condvar::new(),
        ended: Condvar::new(),
        launches: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
        outputs,
        lease: Lease::default(),
        reports,
        telling: Mutex::default(),
        nofile: raise_nofile(),
    });
    thread::spawn(move || write_reports(output, written));
    let jobs: [fn(&Keeper); 5] = [
        Keeper::settle_forever,
        Keeper::reap_forever,
        |keeper| keeper.outputs.run(),
        Keeper::tidy_forever,
        Keeper::heed_lease_forever,
    ];
    for job in jobs {
        let keeper = keeper.clone();
        thread::spawn(move || job(&keeper));
    }
    keeper.take_orders(input);
    keeper.end();
    let removed = std::mem::take(&mut keeper.lock().removed);
    for directory in removed {
        let _ = std::fs::remove_dir_all(directory);
    }
    Ok(())
}

struct Keeper {
    table: Mutex<Table>,
    /// A child was spawned: the reaper has something to wait for.
    spawned: Condvar,
    /// A child ended: there may be strays.
    ended: Condvar,
    /// The sockets of children that were forked and are not executed yet, by key.
    launches: Epoll,
    outputs: Outputs,
    lease: Lease,
    reports: SyncSender<Report>,
    /// Held by whoever tells, so that what is said first is told first.
    telling: Mutex<()>,
    /// The bound of open files that children get, if the keeper raised its own.
    nofile: Option<(u64, u64)>,
}

struct Table {
    children: HashMap<u64, Child>,
    keys: HashMap<i32, u64>,
    /// Children spawned so far.
    spawned: u64,
    /// Children that ended since strays were looked for.
    ended: Vec<(Traces, PathBuf)>,
    cgroups: Result<Tree, String>,
    /// What is to be told, oldest first: no thread adds more than one look's worth before it tells.
    untold: VecDeque<Report>,
    /// Directories to remove at the end.
    removed: Vec<PathBuf>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            children: HashMap::new(),
            keys: HashMap::new(),
            spawned: 0,
            ended: Vec::new(),
            cgroups: Err("this node makes none".into()),
            untold: VecDeque::new(),
            removed: Vec::new(),
        }
    }
}

impl Table {
    /// A cgroup for a new child, where there can be one. That there is none is a failure only if its limits need one.
    fn cgroup(&self, key: u64, limits: &Limits) -> Result<Option<PathBuf>, String> {
        let is_needed = !limits.of_cgroup()?.is_empty();
        match &self.cgroups {
            Ok(tree) => tree.add(key, limits).map(Some).or_else(|why| if is_needed { Err(why) } else { Ok(None) }),
            Err(why) if is_needed => Err(format!("limits for a whole child are not possible here: {why}")),
            Err(_) => Ok(None),
        }
    }
}

struct Child {
    group: Pid,
    log: PathBuf,
    traces: Traces,
    /// Until it is known whether there is a program.
    launch: Option<Outcome>,
    /// Why there is none.
    failed: Option<String>,
}

impl Keeper {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, report: Report) {
        self.lock().untold.push_back(report);
        self.tell();
    }

    /// Tells what is to be told, without the table's lock. Waits while nobody reads.
    fn tell(&self) {
        let _turn = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let Some(report) = self.lock().untold.pop_front() else { return };
            // The writer goes on to take reports when nobody reads them any more, so this cannot fail or hang for ever.
            let _ = self.reports.send(report);
        }
    }

    fn take_orders(&self, mut input: impl Read) {
        loop {
            match read_frame(&mut input) {
                Ok(Some(Order::Spawn { key, job })) => {
                    if let Err(why) = self.spawn(key, job) {
                        self.report(Report::SpawnFailed { key, why });
                    }
                }
                Ok(Some(Order::Signal { key, signal })) => self.signal(key, signal),
                Ok(Some(Order::Lease { until_us })) => self.lease.set(until_us),
                Ok(Some(Order::Cgroups { tree })) => self.lock().cgroups = tree,
                Ok(Some(Order::Remove { directory })) => self.lock().removed.push(directory),
                Ok(None) => return,
                Err(error) => {
                    let _ = writeln!(
                        io::stderr(),
                        "ordu keeper: the node's orders cannot be read ({error}); ending the children"
                    );
                    return;
                }
            }
        }
    }

    fn spawn(&self, key: u64, job: Job) -> Result<(), String> {
        if job.cmd.is_empty() {
            return Err("the command is empty".into());
        }
        let log = job.log.clone();
        log::begin(&log).map_err(|error| format!("cannot open the log {}: {error}", log.display()))?;
        // Under the lock, so that the reaper knows the process once it ends.
        let mut table = self.lock();
        if self.lease.is_over() {
            remove_unused(&log);
            return Err("its node was not heard of in time".into());
        }
        let cgroup = table.cgroup(key, &job.limits).inspect_err(|_| remove_unused(&log))?;
        let traces = Traces { mark: job.mark.clone(), cgroup, seen: Vec::new() };
        let launched = self.launch(job, traces.cgroup.clone()).inspect_err(|_| {
            traces.cgroup.as_deref().map(cgroup::clear);
            remove_unused(&log);
        });
        let Launched { os_pid, outcome, output } = launched?;
        let pid = Pid::from_raw(i32::try_from(os_pid).unwrap_or(i32::MAX));
        let watched = self.launches.add(&outcome, EpollEvent::new(EpollFlags::EPOLLIN, key)).map_err(io::Error::from);
        let failed = watched.and_then(|()| self.outputs.add(key, output, log.clone())).err();
        let failed = failed.map(|error| format!("the keeper cannot watch it: {error}"));
        if failed.is_some() {
            let _ = kill(pid, Signal::SIGKILL);
        }
        table.children.insert(key, Child { group: pid, log, traces, launch: Some(outcome), failed });
        table.keys.insert(pid.as_raw(), key);
        table.spawned += 1;
        self.spawned.notify_all();
        Ok(())
    }

    fn launch(&self, job: Job, cgroup: Option<PathBuf>) -> Result<Launched, String> {
        let Job { cmd, env, cwd, user, limits, .. } = job;
        let settings = Launch { cwd, user, limits, cgroup, nofile: self.nofile, ..Launch::default() };
        launch(&cmd, env, settings)
    }

    fn signal(&self, key: u64, signal: i32) {
        let Ok(signal) = Signal::try_from(signal) else { return };
        let mut table = self.lock();
        let Some(child) = table.children.get_mut(&key) else { return };
        if child.traces.cgroup.is_none() && child.traces.mark.is_some() {
            // Once the program has ended nobody could tell whose they were.
            child.traces.seen = processes::below(child.group.as_raw());
        }
        // A program may have gone over to another group.
        let _ = killpg(child.group, signal).or_else(|_| kill(child.group, signal));
    }

    /// Sees which launches came to an end.
    fn settle_forever(&self) {
        let mut events = [EpollEvent::empty(); 64];
        loop {
            let count = self.launches.wait(&mut events, EpollTimeout::NONE).unwrap_or(0);
            {
                let mut table = self.lock();
                let Table { children, untold, .. } = &mut *table;
                for event in &events[..count] {
                    if let Some(child) = children.get_mut(&event.data()) {
                        untold.extend(settle(event.data(), child));
                    }
                }
            }
            self.tell();
        }
    }

    /// Reaps whatever ends, children and adopted orphans alike.
    fn reap_forever(&self) {
        loop {
            let spawned = self.lock().spawned;
            match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
                Ok(status) => status.pid().into_iter().for_each(|pid| self.reap(pid)),
                // Nobody descends from this process, so there can be no orphan either until the next spawn.
                Err(Errno::ECHILD) => {
                    let table = self.lock();
                    drop(self.spawned.wait_while(table, |table| table.spawned == spawned));
                }
                Err(Errno::EINTR) => {}
                // One was ended by a real-time signal, which nix has no name for, so it does not say which.
                Err(_) => self.reap_by_scan(),
            }
        }
    }

    fn reap_by_scan(&self) {
        let own = Pid::this().as_raw();
        for process in processes::all() {
            if process.parent == own && process.ended {
                self.reap(Pid::from_raw(process.pid));
            }
        }
    }

    fn reap(&self, pid: Pid) {
        let mut table = self.lock();
        let key = table.keys.get(&pid.as_raw()).copied();
        if key.is_some() {
            // The leader is not reaped yet, so the group's number cannot be another's. One call reaches them all: a
            // process that is being forked is either a member already or its fork starts again with the signal pending.
            let _ = killpg(pid, Signal::SIGKILL);
        }
        let number = rustix::process::Pid::from_raw(pid.as_raw());
        let status = match rustix::process::waitpid(number, WaitOptions::NOHANG) {
            Ok(Some((_, status))) => status,
            // Reaped by a failing spawn in the meantime.
            Ok(None) | Err(_) => return,
        };
        let ended = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ended::Code(code),
            (None, Some(number)) => Ended::Signal { number, is_dumped: status.as_raw() & CORE_DUMPED != 0 },
            (None, None) => return,
        };
        let Some((key, mut child)) = key.and_then(|key| Some((key, table.children.remove(&key)?))) else { return };
        table.keys.remove(&pid.as_raw());
        table.untold.extend(settle(key, &mut child));
        drop(table);
        self.bury(key, child, ended);
    }

    /// Ends what is left of a child whose program has ended, and tells.
    fn bury(&self, key: u64, child: Child, ended: Ended) {
        let Child { group, log, traces, failed, .. } = child;
        let is_starved =
            ended == Ended::by(Signal::SIGKILL) && traces.cgroup.as_deref().is_some_and(cgroup::out_of_memory);
        if let Some(cgroup) = &traces.cgroup {
            cgroup::kill(cgroup);
        }
        reap_group(group);
        self.outputs.finish(key);
        if failed.is_some() {
            remove_unused(&log);
        }
        self.lock().ended.push((traces, log));
        self.ended.notify_all();
        self.report(match failed {
            Some(why) => Report::SpawnFailed { key, why },
            None => Report::Exited { key, ended: if is_starved { Ended::OutOfMemory } else { ended } },
        });
    }

    /// Looks for strays after each end, and now and then for old logs.
    fn tidy_forever(&self) {
        let mut strays = Strays::default();
        let mut directories = BTreeSet::new();
        let mut looked: Option<Instant> = None;
        loop {
            let mut table = self.lock();
            if strays.is_empty() {
                let waited = self.ended.wait_while(table, |table| table.ended.is_empty());
                table = waited.unwrap_or_else(PoisonError::into_inner);
            }
            let (traces, logs): (Vec<_>, Vec<_>) = std::mem::take(&mut table.ended).into_iter().unzip();
            let in_use: HashSet<PathBuf> = table.children.values().map(|child| child.log.clone()).collect();
            drop(table);
            strays.add(traces);
            strays.look();
            directories.extend(logs.iter().filter_map(|log| log.parent()).map(ToOwned::to_owned));
            if looked.is_none_or(|at| at.elapsed() > LOGS_INTERVAL) {
                looked = Some(Instant::now());
                std::mem::take(&mut directories).iter().for_each(|directory| log::remove_old(directory, &in_use));
            }
            thread::sleep(STRAYS_INTERVAL);
        }
    }

    /// Kills the children of a node that has not said in time that they may go on.
    fn heed_lease_forever(&self) {
        loop {
            self.lease.wait();
            let table = self.lock();
            for child in table.children.values() {
                let _ = killpg(child.group, Signal::SIGKILL).or_else(|_| kill(child.group, Signal::SIGKILL));
                child.traces.cgroup.as_deref().into_iter().for_each(cgroup::kill);
            }
            let what = format!("{} children were killed: this node was not heard of in time", table.children.len());
            drop(table);
            // Whether or not it can be told now: the next lease may be over before anybody reads.
            let _ = self.reports.try_send(Report::Complaint { what });
        }
    }

    /// The node is gone: so is everything below.
    fn end(&self) {
        let cgroups = {
            let table = self.lock();
            for child in table.children.values() {
                let _ = killpg(child.group, Signal::SIGKILL);
            }
            table.cgroups.clone()
        };
        let own = Pid::this().as_raw();
        let begun = Instant::now();
        loop {
            if let Ok(tree) = &cgroups {
                tree.kill_all();
            }
            let left = processes::descendants(own);
            if left.is_empty() || begun.elapsed() > END_MAX {
                break;
            }
            for process in left {
                processes::kill_seen(process);
            }
            thread::sleep(Duration::from_millis(2));
        }
        if let Ok(tree) = cgroups {
            tree.remove();
        }
    }
}

/// What is to be told of a launch, under the lock, so that a child's start is told before its end. That there is no program is
/// told at the end of the process, when nothing of it is left.
fn settle(key: u64, child: &mut Child) -> Option<Report> {
    let mut started = None;
    match child.launch.as_mut().map(Outcome::step) {
        None | Some(Step::Pending) => return None,
        Some(Step::Executed) if child.failed.is_some() => {}
        Some(Step::Executed) => {
            let os_pid = u32::try_from(child.group.as_raw()).unwrap_or(0);
            started = Some(Report::Started { key, os_pid });
        }
        Some(Step::Failed(why)) => child.failed = Some(why),
    }
    child.launch = None;
    started
}

/// A start that failed leaves nothing behind; what an earlier run of the child wrote stays.
fn remove_unused(log: &Path) {
    if std::fs::metadata(log).is_ok_and(|log| log.len() == 0) {
        let _ = std::fs::remove_file(log);
    }
}

/// Lets the keeper have as many open files as it may: it holds a pipe for each child. What it had before, if that was less.
fn raise_nofile() -> Option<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok()?;
    (soft < hard).then_some((soft, hard))
}

/// Reaps what was left of a group that was just killed, so that it is gone before its child's end is told.
fn reap_group(group: Pid) {
    let begun = Instant::now();
    loop {
        while matches!(
            waitpid(Pid::from_raw(-group.as_raw()), Some(WaitPidFlag::WNOHANG)),
            Ok(status) if status != WaitStatus::StillAlive
        ) {}
        if killpg(group, None).is_err() || begun.elapsed() > GROUP_END_MAX {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn write_reports(mut output: impl Write, reports: Receiver<Report>) {
    let mut read = true;
    for report in reports {
        // Once the node is gone reports are only thrown away: nobody may wait for this thread.
        read = read && write_frame(&mut output, &report).is_ok();
    }
}
