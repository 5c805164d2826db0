//! From a fork of the keeper to a program: this binary, executed once more, sets for itself what the program shall have
//! and then becomes it.
//!
//! It joins the child's cgroup before anything of the child runs, so that nothing of it is ever outside; then limits, groups
//! and user, in the order in which each is still allowed; then the directory, which is entered with the rights of that
//! user. Its standard input is a socket to the keeper, closed by a successful execution: whatever comes before its end is
//! why there was none.

use std::env;
use std::fs::{self, File};
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{dup2_stdin, fchown};
use serde::{Deserialize, Serialize};

use super::limits::Limits;
use super::user::{Account, LOGIN, RunAs};

/// The hidden subcommand; its arguments are a `Launch` as JSON, and the program with its own.
pub const SUBCOMMAND: &str = "__launch";
/// The longest reason: it is told in one piece.
const REASON_BYTES_MAX: usize = 4 << 10;
/// Arguments that have no room, as the kernel counts them, are told of as this.
const TOO_LONG: &str = "its arguments and environment are longer than this host takes";

/// What a process sets for itself before it becomes a program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Launch {
    /// The directory to enter.
    pub(super) cwd: Option<PathBuf>,
    /// The user to become.
    pub(super) user: Option<RunAs>,
    /// Variables of the child that are not for this process: see [`is_for_program_only`].
    pub(super) env: Vec<(String, String)>,
    /// Its limits.
    pub(super) limits: Limits,
    /// The cgroup to join.
    pub(super) cgroup: Option<PathBuf>,
    /// The soft and hard bound of open files that the node was started with: the keeper raised its own.
    pub(super) nofile: Option<(u64, u64)>,
}

/// A process on its way to a program.
pub(super) struct Launched {
    pub(super) os_pid: u32,
    pub(super) outcome: Outcome,
    pub(super) output: PipeReader,
}

/// How a launch goes on; does not block.
pub(super) struct Outcome(UnixStream);

/// What became of a launch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing yet.
    Pending,
    /// The program was executed.
    Executed,
    /// It was not, and the process is about to end.
    Failed(String),
}

/// Forks a process that becomes a program, in a process group of its own, its output going into one pipe.
///
/// # Errors
/// One sentence, if there is no such process.
pub(super) fn launch(cmd: &[String], env: Vec<(String, String)>, mut launch: Launch) -> Result<Launched, String> {
    let program = cmd.first().map_or("", String::as_str);
    let no_process = |error: io::Error| shorten(why_not(&error, program));
    let (later, env): (Vec<_>, Vec<_>) = env.into_iter().partition(|(name, _)| is_for_program_only(name));
    launch.env = later;
    let settings = serde_json::to_string(&launch).map_err(|error| error.to_string())?;
    let (ours, theirs) = UnixStream::pair().map_err(no_process)?;
    ours.set_nonblocking(true).map_err(no_process)?;
    let (output, into) = io::pipe().map_err(no_process)?;
    let into_too = into.try_clone().map_err(no_process)?;
    let mut command = Command::new("/proc/self/exe");
    // Not called ordu in any list of processes: see the keeper.
    command.arg0("keeper").arg(SUBCOMMAND).arg(settings).args(cmd).process_group(0);
    command.stdin(OwnedFd::from(theirs)).stdout(into).stderr(into_too);
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"ORDU_UP_") {
            command.env_remove(name);
        }
    }
    command.envs(env);
    let process = command.spawn().map_err(no_process)?;
    Ok(Launched { os_pid: process.id(), outcome: Outcome(ours), output })
}

/// Whether a variable would change how this binary runs: the loader's, the allocator's, and those that a login sets as well.
fn is_for_program_only(name: &str) -> bool {
    const PREFIXES: [&str; 5] = ["LD_", "GLIBC_", "MALLOC_", "MIMALLOC_", "RUST_"];
    LOGIN.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

impl Outcome {
    /// What is known by now. To be asked until it is not pending.
    pub(super) fn step(&mut self) -> Step {
        let mut reason = Vec::new();
        match (&self.0).take(REASON_BYTES_MAX as u64).read_to_end(&mut reason) {
            // A reason comes in one piece: the beginning of one is all of it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && reason.is_empty() => Step::Pending,
            _ if reason.is_empty() => Step::Executed,
            _ => Step::Failed(String::from_utf8_lossy(&reason).into_owned()),
        }
    }
}

impl AsFd for Outcome {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Becomes the program that the arguments name, or tells the keeper why not.
pub fn run(arguments: impl Iterator<Item = std::ffi::OsString>) -> io::Error {
    let keeper = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(socket) => UnixStream::from(socket),
        Err(error) => return error,
    };
    let why = shorten(prepare(arguments).err().unwrap_or_default());
    let _ = (&keeper).write_all(why.as_bytes());
    io::Error::other(why)
}

/// Comes back only with a reason.
fn prepare(mut arguments: impl Iterator<Item = std::ffi::OsString>) -> Result<(), String> {
    let settings = arguments.next().unwrap_or_default();
    let launch: Launch = serde_json::from_slice(settings.as_encoded_bytes()).map_err(|error| error.to_string())?;
    let program = arguments.next().unwrap_or_default();
    let mut command = Command::new(&program);
    command.args(arguments);
    let null = File::open("/dev/null").map_err(|error| format!("/dev/null: {error}"))?;
    dup2_stdin(null).map_err(|error| format!("/dev/null: {}", error.desc()))?;
    if let Some(cgroup) = &launch.cgroup {
        join(cgroup, !launch.limits.of_cgroup()?.is_empty())?;
    }
    let account = launch.user.as_ref().map(RunAs::look_up).transpose()?;
    if let Some((soft, hard)) = launch.nofile {
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)
            .map_err(|error| format!("the limit nofile: {}", error.desc()))?;
    }
    launch.limits.set_own()?;
    if let Some(account) = &account {
        own_output(account);
        account.become_it()?;
        command.envs(account.environment());
    }
    command.envs(launch.env);
    if let Some(cwd) = &launch.cwd {
        env::set_current_dir(cwd).map_err(|error| why_not_there(&error, cwd))?;
    }
    let error = command.exec();
    Err(why_not(&error, &program.to_string_lossy()))
}

/// Enters the child's cgroup. Where it was made for killing only, one that cannot be entered is done without.
fn join(cgroup: &Path, is_needed: bool) -> Result<(), String> {
    match fs::write(cgroup.join("cgroup.procs"), "0") {
        Err(error) if is_needed => Err(format!("its cgroup cannot be joined: {error}")),
        Err(_) | Ok(()) => Ok(()),
    }
}

/// A program may open its output anew, as `/dev/stderr`: that goes by the owner of the pipe.
fn own_output(account: &Account) {
    let _ = fchown(io::stdout(), Some(account.uid), Some(account.gid));
}

fn why_not_there(error: &io::Error, cwd: &Path) -> String {
    let cwd = cwd.display();
    match error.kind() {
        io::ErrorKind::NotFound => format!("working directory not found: {cwd}"),
        io::ErrorKind::NotADirectory => format!("working directory is no directory: {cwd}"),
        io::ErrorKind::PermissionDenied => format!("working directory may not be entered: {cwd}: permission denied"),
        _ => format!("working directory cannot be entered: {cwd}: {error}"),
    }
}

/// A command may be a megabyte long.
fn shorten(mut why: String) -> String {
    if why.len() > REASON_BYTES_MAX {
        why.truncate(why.floor_char_boundary(REASON_BYTES_MAX - 4));
        why.push('…');
    }
    why
}

fn why_not(error: &io::Error, program: &str) -> String {
    match error.kind() {
        io::ErrorKind::NotFound if program.contains('/') && Path::new(program).exists() => {
            format!("cannot execute {program}: the interpreter or loader that it names is not found")
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => format!("command not found: {program}"),
        io::ErrorKind::PermissionDenied => format!("command not executable: {program}: permission denied"),
        io::ErrorKind::ArgumentListTooLong => format!("cannot execute {program}: {TOO_LONG}"),
        io::ErrorKind::WouldBlock => {
            format!("cannot execute {program}: its user, or this node, may have no more processes")
        }
        _ => format!("cannot execute {program}: {error}"),
    }
}
