//! The keeper: one small process per node that owns the node's OS-process children and outlives the node just long
//! enough to take them along.
//!
//! It is this binary executed again. Orders come on its standard input, reports go to its standard output. It is a
//! subreaper, so every orphaned descendant becomes its own child; and when its standard input ends, however the node
//! ended, it kills every group and then every descendant that is left. It is in a process group of its own and ignores
//! what a terminal sends, so Ctrl-C in the node's terminal reaches neither it nor the children.
//!
//! Threads: the main one takes orders; one reaps; one writes reports; one rotates logs and kills strays. Only `waitid`
//! that peeks is called without the table's lock: a pid is reaped under the lock, so while the table knows a pid, no other
//! process has it, and the wait inside a failing `Command::spawn` is never robbed.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, thread};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use super::protocol::{Ended, Order, Report, read_frame, write_frame};
use super::{log, processes};

/// Reports that wait to be written; a further one makes its thread wait.
const REPORTS_MAX: usize = 1024;
/// How long the end of a child is held back until the rest of its group is gone.
const GROUP_END_MAX: Duration = Duration::from_millis(200);
/// How long the keeper tries to kill what is left when the node is gone; only a process that the kernel holds in an
/// uninterruptible call takes longer.
const END_MAX: Duration = Duration::from_secs(30);
/// How often logs are measured, and how soon after a child's end its strays are looked for.
const JANITOR_INTERVAL: Duration = Duration::from_millis(500);

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
    let keeper = Arc::new(Keeper { table: Mutex::default(), spawned: Condvar::new(), reports });
    thread::spawn(move || write_reports(output, written));
    let reaper = keeper.clone();
    thread::spawn(move || reaper.reap_forever());
    let janitor = keeper.clone();
    thread::spawn(move || janitor.tidy_forever());
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
    reports: SyncSender<Report>,
}

#[derive(Default)]
struct Table {
    children: HashMap<u64, Child>,
    keys: HashMap<i32, u64>,
    /// Children spawned so far.
    spawned: u64,
    /// Marks of children that ended since strays were looked for.
    ended_marks: BTreeSet<String>,
    /// Directories to remove at the end.
    removed: Vec<PathBuf>,
}

struct Child {
    group: Pid,
    log: PathBuf,
    mark: Option<String>,
}

impl Keeper {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, report: Report) {
        // The writer goes on to take reports when nobody reads them any more, so this cannot fail or hang for ever.
        let _ = self.reports.send(report);
    }

    fn take_orders(&self, mut input: impl Read) {
        loop {
            match read_frame(&mut input) {
                Ok(Some(Order::Spawn { key, cmd, env, cwd, log, mark })) => {
                    self.spawn(key, &cmd, env, cwd.as_deref(), log, mark);
                }
                Ok(Some(Order::Signal { key, signal })) => {
                    let table = self.lock();
                    if let (Some(child), Ok(signal)) = (table.children.get(&key), Signal::try_from(signal)) {
                        let _ = killpg(child.group, signal);
                    }
                }
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

    fn spawn(
        &self,
        key: u64,
        cmd: &[String],
        env: Vec<(String, String)>,
        cwd: Option<&Path>,
        log: PathBuf,
        mark: Option<String>,
    ) {
        let command = match command(cmd, env, cwd, &log) {
            Ok(command) => command,
            Err(why) => return self.report(Report::SpawnFailed { key, why }),
        };
        // Reports are sent under the lock so that a child's start is told before its end.
        let mut table = self.lock();
        let spawned = { command }.spawn();
        match spawned.map(|child| (child.id(), i32::try_from(child.id()).unwrap_or(i32::MAX))) {
            Ok((os_pid, pid)) => {
                table.children.insert(key, Child { group: Pid::from_raw(pid), log, mark });
                table.keys.insert(pid, key);
                table.spawned += 1;
                self.spawned.notify_all();
                self.report(Report::Started { key, os_pid });
            }
            Err(error) => {
                // A start that failed leaves nothing behind; what an earlier run of the child wrote stays.
                log::discard_empty(&log);
                self.report(Report::SpawnFailed { key, why: why_not(&error, cmd, cwd) });
            }
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
        let ended = match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => Ended::Code(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => Ended::Signal(signal as i32),
            // Reaped, and ended by a real-time signal.
            Err(Errno::EINVAL) => Ended::Signal(0),
            // Reaped by a failing spawn in the meantime.
            Ok(_) | Err(_) => return,
        };
        let Some(key) = key else { return };
        table.keys.remove(&pid.as_raw());
        let child = table.children.remove(&key);
        table.ended_marks.extend(child.and_then(|child| child.mark));
        drop(table);
        reap_group(pid);
        self.report(Report::Exited { key, ended });
    }

    /// Rotates logs, and kills what left the group of a child that has ended since.
    fn tidy_forever(&self) {
        loop {
            thread::sleep(JANITOR_INTERVAL);
            let (logs, ended) = {
                let mut table = self.lock();
                let logs: Vec<_> = table.children.values().map(|child| child.log.clone()).collect();
                (logs, std::mem::take(&mut table.ended_marks))
            };
            logs.iter().for_each(|log| log::rotate_in_use(log));
            processes::kill_marked(&ended);
        }
    }

    /// The node is gone: so is everything below.
    fn end(&self) {
        for child in self.lock().children.values() {
            let _ = killpg(child.group, Signal::SIGKILL);
        }
        let own = Pid::this().as_raw();
        let begun = Instant::now();
        loop {
            let left = processes::descendants(own);
            if left.is_empty() || begun.elapsed() > END_MAX {
                return;
            }
            for pid in left {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
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

fn command(cmd: &[String], env: Vec<(String, String)>, cwd: Option<&Path>, log: &Path) -> Result<Command, String> {
    let Some((program, arguments)) = cmd.split_first() else { return Err("the command is empty".into()) };
    let log_file = log::open(log).map_err(|error| format!("cannot open the log {}: {error}", log.display()))?;
    let log_clone = log_file.try_clone().map_err(|error| format!("cannot open the log {}: {error}", log.display()))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(log_file).stderr(log_clone).process_group(0);
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"ORDU_UP_") {
            command.env_remove(name);
        }
    }
    command.envs(env);
    if let Some(cwd) = cwd {
        command.current_dir(cwd);
    }
    Ok(command)
}

fn why_not(error: &io::Error, cmd: &[String], cwd: Option<&Path>) -> String {
    let program = cmd.first().map_or("", String::as_str);
    if let Some(cwd) = cwd.filter(|cwd| !cwd.is_dir()) {
        return format!("working directory not found: {}", cwd.display());
    }
    match error.kind() {
        io::ErrorKind::NotFound if program.contains('/') && Path::new(program).exists() => {
            format!("cannot execute {program}: the interpreter or loader that it names is not found")
        }
        io::ErrorKind::NotFound => format!("command not found: {program}"),
        io::ErrorKind::PermissionDenied => format!("command not executable: {program}: permission denied"),
        _ => format!("cannot execute {program}: {error}"),
    }
}
