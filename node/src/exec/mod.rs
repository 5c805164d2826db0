//! Children that are OS processes: the kind `exec`.
//!
//! A node never forks its children itself. It has one keeper, a small process that spawns, signals and reaps
//! them and that ends them all when the node is gone, however it went. [`Keeper`] is the node's handle to it; [`Exec::run`]
//! is one activation of one child, from its fence file to its exit.

mod args;
mod handle;
mod keeper;
mod log;
mod log_marks;
mod log_reader;
mod processes;
mod protocol;

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use ordu_supervisor::core::ChildId;

pub use args::{ExecArgs, KIND, STOP_TIMEOUT_DEFAULT};
pub use handle::{Job, Keeper, KeeperConfig, Running, SUBCOMMAND};
pub use keeper::run as run_keeper;
pub use log::LOG_BYTES_MAX;
pub use log_reader::{LogBegin, LogReader};
pub use protocol::{Ended, FRAME_BYTES_MAX, Order, Report, read_frame, write_frame};

/// What an activation of a child is told by whoever runs it, and tells them.
pub trait Host: Send {
    /// The program was executed.
    fn started(&self, os_pid: u32, log: &Path);
    /// Resolves when the child shall stop.
    fn stopping(&self) -> impl Future<Output = ()> + Send;
    /// Resolves with the present fence once that is another than `known`.
    fn fence_raised(&self, known: &str) -> impl Future<Output = String> + Send;
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
    http: String,
}

impl Exec {
    /// Logs go to `directory/logs`, fence files to `directory/fences`; `http` is where a child reaches its node. What an
    /// earlier node with the same directory left running is killed first.
    ///
    /// # Errors
    /// If the directories cannot be made.
    pub fn new(keeper: Keeper, directory: &Path, http: String) -> io::Result<Exec> {
        let directory = directory.canonicalize()?;
        fs::create_dir_all(directory.join("logs"))?;
        fs::create_dir_all(directory.join("fences"))?;
        let killed = processes::kill_leftovers(&directory.join("fences"));
        if killed > 0 {
            tracing::warn!(killed, "an earlier node and its keeper were killed at once and had left processes running");
        }
        Ok(Exec { keeper, directory, http })
    }

    /// One activation: executes the program, says so, and returns when it has ended and its group is gone. Dropping the
    /// future kills the program.
    ///
    /// # Errors
    /// The reason, for any end but exit status 0; and if it was never started, why not.
    pub async fn run(&self, activation: Activation, args: &[u8], host: impl Host) -> Result<(), String> {
        let args = ExecArgs::parse(args).map_err(|why| format!("its args are not those of kind {KIND}: {why}"))?;
        let fence_file = FenceFile::new(&self.directory, &activation)?;
        let log = self.log(&activation.id);
        let fence = activation.fence.clone();
        let job = self.job(activation, &args, &fence_file, log.clone());
        let running = self.keeper.spawn(job).await?;
        host.started(running.os_pid(), &log);
        let ended = attend(running, host, args.stop_timeout, fence, &fence_file).await;
        match ended {
            Ended::Code(0) => Ok(()),
            Ended::Code(code) => Err(format!("exit status {code}")),
            Ended::Signal(number) => Err(match Signal::try_from(number) {
                Ok(signal) => format!("killed by signal {number} ({})", signal.as_str()),
                Err(_) => "killed by a real-time signal".into(),
            }),
            Ended::Lost => Err("killed because its node's keeper died".into()),
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

    fn job(&self, activation: Activation, args: &ExecArgs, fence_file: &FenceFile, log: PathBuf) -> Job {
        let mut env: Vec<_> = args.env.clone().into_iter().collect();
        let fence_path = fence_file.path.to_string_lossy().into_owned();
        // Last, so that they win over the child's own.
        env.extend([
            ("ORDU_CHILD_ID".into(), activation.id),
            ("ORDU_NODE".into(), activation.node),
            ("ORDU_FENCE".into(), activation.fence.clone()),
            ("ORDU_FENCE_FILE".into(), fence_path),
            ("ORDU_PID".into(), activation.pid),
            ("ORDU_HTTP".into(), self.http.clone()),
        ]);
        Job { cmd: args.cmd.clone(), env, cwd: args.cwd.clone(), log, mark: Some(activation.fence) }
    }
}

/// From the start of a program to its end.
async fn attend(
    mut running: Running,
    host: impl Host,
    stop_timeout: Duration,
    mut fence: String,
    fence_file: &FenceFile,
) -> Ended {
    loop {
        fence = tokio::select! {
            ended = running.ended() => return ended,
            () = host.stopping() => break,
            raised = host.fence_raised(&fence) => raised,
        };
        if let Err(error) = fence_file.write(&fence) {
            // It would go on with a fence that others have passed: its writes would be refused for ever.
            tracing::error!(file = %fence_file.path.display(), %error, "the raised fence cannot be written");
            break;
        }
    }
    running.signal(Signal::SIGTERM);
    match tokio::time::timeout(stop_timeout, running.ended()).await {
        Ok(ended) => ended,
        Err(_) => {
            running.signal(Signal::SIGKILL);
            running.ended().await
        }
    }
}

/// The file that holds an activation's present fence; removed when the activation is over.
struct FenceFile {
    path: PathBuf,
}

impl FenceFile {
    fn new(directory: &Path, activation: &Activation) -> Result<Self, String> {
        let file = Self { path: directory.join("fences").join(format!("{}.fence", activation.id)) };
        file.write(&activation.fence)
            .map_err(|error| format!("cannot write the fence file {}: {error}", file.path.display()))?;
        Ok(file)
    }

    /// Replaces the file whole: a reader sees the old fence or the new one, never a part.
    fn write(&self, fence: &str) -> io::Result<()> {
        let next = self.path.with_extension("tmp");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        io::Write::write_all(&mut file, fence.as_bytes())?;
        fs::rename(&next, &self.path)
    }
}

impl Drop for FenceFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
