//! Children that are OS processes: the kind `exec`.
//!
//! A node never forks its children itself. It has one keeper, a small process that spawns, signals and reaps
//! them and that ends them all when the node is gone, however it went. [`Keeper`] is the node's handle to it; [`Exec::run`]
//! is one activation of one child, from its fence file to its exit.
//!
//! `keeper` spawns by way of `launch`, which sets `limits`, `user` and `cgroup` for itself and becomes the program; `output`
//! takes what it prints to its `log`, of which `log_reader` tells; `strays` finds what it leaves behind.

mod args;
mod cgroup;
mod fence;
mod handle;
mod keeper;
mod last_resort;
mod launch;
mod lease;
mod limits;
mod log;
mod log_files;
mod log_reader;
mod output;
mod processes;
mod protocol;
mod signals;
mod states;
mod strays;
mod user;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use nix::sys::signal::Signal;
use ordu_supervisor::core::{ChildId, Exit};

pub use args::{ExecArgs, KIND, STOP_TIMEOUT_DEFAULT};
use fence::{FenceFile, Fences};
pub use handle::{Hold, Keeper, KeeperConfig, Running, SUBCOMMAND};
pub use keeper::run as run_keeper;
pub use launch::{SUBCOMMAND as LAUNCH_SUBCOMMAND, run as run_launch};
pub use limits::Limits;
pub use log::{LOG_BYTES_MAX, OLD_LOG_BYTES_MAX, OLD_LOGS_MAX};
pub use log_reader::{LogBegin, LogReader};
pub use output::{OUTPUT_BYTES_PER_S_MAX, OUTPUT_BYTES_PER_S_MAX_ALL};
pub use protocol::{Ended, FRAME_BYTES_MAX, Job, Order, Report, read_frame, write_frame};
pub use signals::StopSignal;
use states::{Checkpoints, States};
pub use user::RunAs;

use crate::text::format_duration;

/// What an activation of a child is told by whoever runs it, and tells them.
pub trait Host: Send {
    /// What keeps the activation's end from being told while a process of it may live, though the future be dropped.
    fn hold(&self) -> Option<Hold> {
        None
    }
    /// The program was executed.
    fn started(&self, os_pid: u32, log: &Path);
    /// Resolves when the child shall stop, with how long it may take at most.
    fn stopping(&self) -> impl Future<Output = Duration> + Send;
    /// Whether it shall.
    fn is_stopping(&self) -> bool;
    /// Resolves with the present fence once that is another than `known`.
    fn fence_raised(&self, known: &str) -> impl Future<Output = String> + Send;
    /// What the activation before this one left.
    fn handed_off(&self) -> Option<Bytes>;
    /// What this one leaves: at most [`STATE_BYTES_MAX`](ordu_supervisor::core::handoff::STATE_BYTES_MAX) bytes.
    fn hand_off(&self, state: Vec<u8>);
    /// What the next one would need if this one failed: as long at most.
    fn checkpoint(&self, state: Vec<u8>);
    /// Resolves with the next state of a copy that lost to this activation.
    fn merged(&self) -> impl Future<Output = Bytes> + Send;
}

/// Who is activated.
#[derive(Debug, Clone)]
pub struct Activation {
    /// The child's id.
    pub id: String,
    /// This node's name.
    pub node: String,
    /// The process, as `NODE#BOOT.SERIAL`.
    pub pid: String,
    /// Its fence at birth.
    pub fence: String,
}

/// Runs children of kind `exec` on one node; cheap to clone.
#[derive(Clone)]
pub struct Exec {
    keeper: Keeper,
    directory: PathBuf,
    fences: Fences,
    http: String,
}

impl Exec {
    /// Logs go to `directory/logs`, fence files to `directory/fences`; `directory/cgroup` names the keeper's tree of cgroups.
    /// `http` is where a child reaches its node. What an earlier node with the same directory left running is killed first.
    ///
    /// # Errors
    /// If the directories cannot be made.
    pub fn new(keeper: Keeper, directory: &Path, http: String) -> io::Result<Exec> {
        let directory = directory.canonicalize()?;
        fs::create_dir_all(directory.join("logs"))?;
        let fences = Fences::new(&directory)?;
        let tree = directory.join("cgroup");
        if let Ok(earlier) = fs::read_to_string(&tree) {
            cgroup::kill_earlier(Path::new(&earlier));
        }
        match keeper.cgroups() {
            Ok(path) => fs::write(&tree, path.as_os_str().as_encoded_bytes())?,
            Err(_) => drop(fs::remove_file(&tree)),
        }
        let killed = processes::kill_leftovers(&fences.directories());
        if killed > 0 {
            tracing::warn!(killed, "an earlier node and its keeper were killed at once and had left processes running");
        }
        fences.clear();
        Ok(Exec { keeper, directory, fences, http })
    }

    /// The keeper of its programs.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// One activation: executes the program, says so, and returns when it has ended and its group is gone. Dropping the
    /// future kills the program. Its end is normal with exit status 0 alone; and fenced, whatever its status, if it says so.
    pub async fn run(&self, activation: Activation, args: &[u8], host: impl Host) -> Exit {
        self.try_run(activation, args, host).await.unwrap_or_else(Exit::Abnormal)
    }

    /// The error is the reason, for what was never started too.
    async fn try_run(&self, activation: Activation, args: &[u8], host: impl Host) -> Result<Exit, String> {
        let args = ExecArgs::parse(args).map_err(|why| format!("its args are not those of kind {KIND}: {why}"))?;
        let account = args.user.as_ref().map(RunAs::look_up).transpose()?;
        let fence_file = self.fences.create(&activation.id, &activation.fence, account.as_ref())?;
        let given = host.handed_off();
        let activated = format!("{}.{}", activation.id, activation.fence);
        let states = States::create(fence_file.directory(), &activated, given.as_deref(), account.as_ref());
        let states = match states {
            // Most programs leave nothing.
            Err(error) if given.is_none() => {
                tracing::warn!(child = activation.id, error, "the child cannot leave a state");
                None
            }
            states => Some(states?),
        };
        let log = self.log(&activation.id);
        let (fence, id) = (activation.fence.clone(), activation.id.clone());
        let job = self.job(activation, &args, &fence_file, states.as_ref(), log.clone());
        // It may have waited while this process stood still.
        if host.is_stopping() {
            return Err("it was stopped before it began".into());
        }
        let running = self.keeper.spawn_holding(job, host.hold()).await?;
        host.started(running.os_pid(), &log);
        let (ended, late) = attend(running, &host, &args, fence, &fence_file, states.as_ref()).await;
        // What it said in its last second.
        match states.as_ref().filter(|_| !host.is_stopping()).map_or(Ok(None), States::take_checkpoint) {
            Ok(state) => state.into_iter().for_each(|state| host.checkpoint(state)),
            Err(why) => tracing::warn!(child = id, why, "a child's checkpoint is not kept"),
        }
        let fenced = states.as_ref().map_or(Ok(None), States::fenced);
        // Who had to be killed may have been in the middle of it. Whether it was asked to stop knows who takes it.
        if let Some(states) = states.filter(|_| late.is_none()) {
            match states.left() {
                Ok(left) => left.into_iter().for_each(|state| host.hand_off(state)),
                Err(why) => tracing::warn!(child = id, why, "a child's state is not handed on"),
            }
        }
        let reason = ended.reason().map(|reason| match late.filter(|_| ended == Ended::by(Signal::SIGKILL)) {
            Some(after) => {
                format!("{reason}: it had not ended {} after SIG{}", format_duration(after), args.stop_signal)
            }
            None => reason,
        });
        match (fenced, reason) {
            (Ok(Some(seen)), _) => Ok(Exit::Fenced(seen)),
            (Ok(None), None) => Ok(Exit::Normal),
            (Ok(None), Some(reason)) => Err(reason),
            (Err(why), reason) => Err(reason.map_or_else(|| why.clone(), |reason| format!("{reason}; {why}"))),
        }
    }

    /// Begins to read what a child of this name printed on this node; `None` if it never ran here.
    ///
    /// # Errors
    /// If its log cannot be read.
    pub fn read_log(&self, id: &ChildId, begin: LogBegin) -> io::Result<Option<LogReader>> {
        LogReader::open(&self.log(id.as_str()), begin)
    }

    fn log(&self, id: &str) -> PathBuf {
        self.directory.join("logs").join(format!("{id}.log"))
    }

    fn job(
        &self,
        activation: Activation,
        args: &ExecArgs,
        fence_file: &FenceFile,
        states: Option<&States>,
        log: PathBuf,
    ) -> Job {
        let ExecArgs { cmd, env, cwd, user, limits, .. } = args.clone();
        let mut env: Vec<_> = env.into_iter().collect();
        // Last, so that they win over the child's own.
        env.extend([
            ("ORDU_CHILD_ID".into(), activation.id),
            ("ORDU_NODE".into(), activation.node),
            ("ORDU_FENCE".into(), activation.fence.clone()),
            ("ORDU_FENCE_FILE".into(), fence_file.path().to_string_lossy().into_owned()),
            ("ORDU_PID".into(), activation.pid),
            ("ORDU_HTTP".into(), self.http.clone()),
        ]);
        env.extend(states.into_iter().flat_map(States::environment));
        Job { cmd, env, cwd, user, limits, log, mark: Some(activation.fence) }
    }
}

/// The next checkpoint that a program makes.
async fn next(checkpoints: &mut Option<Checkpoints<'_>>) -> Result<Vec<u8>, String> {
    match checkpoints {
        Some(checkpoints) => checkpoints.next().await,
        None => std::future::pending().await,
    }
}

/// From the start of a program to its end; and if it had to be killed, for how long it had been asked to stop.
async fn attend(
    mut running: Running,
    host: &impl Host,
    args: &ExecArgs,
    mut fence: String,
    fence_file: &FenceFile,
    states: Option<&States>,
) -> (Ended, Option<Duration>) {
    let mut timeout = args.stop_timeout;
    let mut checkpoints = states.map(States::checkpoints);
    loop {
        fence = tokio::select! {
            ended = running.ended() => return (ended, None),
            most = host.stopping() => {
                timeout = timeout.min(most);
                break;
            }
            raised = host.fence_raised(&fence) => raised,
            checkpoint = next(&mut checkpoints) => {
                match checkpoint {
                    Ok(state) => host.checkpoint(state),
                    Err(why) => tracing::warn!(fence, why, "a child's checkpoint is not kept"),
                }
                continue;
            }
            merged = host.merged(), if states.is_some() => {
                if let Some(Err(why)) = states.map(|states| states.merge(&merged)) {
                    tracing::warn!(fence, why, "a child is not given what the loser of a conflict left");
                }
                continue;
            }
        };
        if let Err(error) = fence_file.write(&fence) {
            // It would go on with a fence that others have passed: its writes would be refused for ever.
            tracing::error!(file = %fence_file.path().display(), %error, "the raised fence cannot be written");
            break;
        }
    }
    // What it was given until now it finds before it is asked to hand off what it knows.
    while let Some(states) = states
        && let Some(merged) = host.merged().now_or_never()
    {
        if let Err(why) = states.merge(&merged) {
            tracing::warn!(fence, why, "a child is not given what the loser of a conflict left");
        }
    }
    running.signal(args.stop_signal.0);
    match tokio::time::timeout(timeout, running.ended()).await {
        Ok(ended) => (ended, None),
        Err(_) => (running.killed().await, Some(timeout)),
    }
}
