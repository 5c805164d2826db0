//! Runs the `ordu` binary as users do: its exit code and what it prints.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::binary::ordu;
use crate::scenario::{ROOT_VARIABLE, Scenario};
use crate::terminal::Terminal;

/// How long a command may take before the test calls it hung.
const COMMAND_MAX: Duration = Duration::from_secs(60);
/// Between two looks whether a command has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// What a command did.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was run, for messages.
    pub line: String,
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// Panics unless it ended with exit code 0. Answers what it printed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}: {}", self.line, self.stderr);
        self.stdout
    }

    /// [`ok`](Self::ok), read as JSON.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let line = self.line.clone();
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
    }

    /// Panics unless it failed with this exit code and one line on standard error that has `part` in it.
    #[track_caller]
    pub fn fails(self, code: i32, part: &str) {
        let Outcome { line, stderr, .. } = &self;
        assert_eq!(self.code, code, "{line}: {stderr}");
        assert!(stderr.contains(part), "{line}: no {part:?} in: {stderr}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{line}: more than one line: {stderr}");
        assert!(!stderr.contains("panicked"), "{line}: {stderr}");
    }
}

/// A running `ordu` process. Dropping it kills it.
pub struct Spawned {
    line: String,
    process: Child,
    start: Instant,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// Prepares the binary: in the scenario's frame, without any setting from outside, in a network namespace if one is given.
pub(crate) fn prepare(scenario: &Scenario, network: Option<&str>) -> Command {
    let mut command = match network {
        None => Command::new(ordu()),
        Some(network) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", network]).arg(ordu());
            command
        }
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ORDU_")) {
        command.env_remove(name);
    }
    command.env(ROOT_VARIABLE, scenario.path()).env("TMPDIR", scenario.path().join("tmp")).env("NO_COLOR", "1");
    command.env("XDG_STATE_HOME", scenario.path().join("state")).env_remove("RUST_LOG");
    command.current_dir(scenario.path()).stdin(Stdio::null()).process_group(0);
    command
}

/// Starts `ordu` with these arguments.
pub fn spawn(scenario: &Scenario, network: Option<&str>, arguments: &[&str]) -> Spawned {
    let mut command = prepare(scenario, network);
    command.args(arguments);
    Spawned::start(scenario, command, arguments.join(" "))
}

/// Starts `ordu` with these arguments on a terminal; its standard error goes elsewhere, as always.
pub fn spawn_on(scenario: &Scenario, terminal: &Terminal, arguments: &[&str]) -> Spawned {
    let mut command = prepare(scenario, None);
    command.args(arguments).env("TERM", "xterm-256color").stdin(terminal.end());
    Spawned::start_with(scenario, command, arguments.join(" "), Some(terminal.end()))
}

/// Runs `ordu` with these arguments to its end.
pub fn run(scenario: &Scenario, network: Option<&str>, arguments: &[&str]) -> Outcome {
    spawn(scenario, network, arguments).wait(COMMAND_MAX)
}

impl Spawned {
    fn start(scenario: &Scenario, command: Command, line: String) -> Spawned {
        Self::start_with(scenario, command, line, None)
    }

    fn start_with(scenario: &Scenario, mut command: Command, line: String, out: Option<Stdio>) -> Spawned {
        let output =
            tempfile::Builder::new().prefix("output-").tempdir_in(scenario.path()).expect("a directory").keep();
        let (stdout, stderr) = (output.join("stdout"), output.join("stderr"));
        let file = File::create(&stdout).expect("a file");
        command.stdout(out.unwrap_or_else(|| file.into())).stderr(File::create(&stderr).expect("a file"));
        let start = Instant::now();
        let process = command.spawn().unwrap_or_else(|error| panic!("ordu {line}: {error}"));
        Spawned { line: format!("ordu {line}"), process, start, stdout, stderr }
    }

    /// Its os pid.
    pub fn os_pid(&self) -> i32 {
        i32::try_from(self.process.id()).expect("a pid")
    }

    /// What it printed so far.
    pub fn stdout(&self) -> String {
        std::fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// What it said on standard error so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.os_pid()), signal).expect("it was not waited for yet");
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Waits for its end, and panics if it does not come in time.
    #[track_caller]
    pub fn wait(mut self, deadline: Duration) -> Outcome {
        let status: ExitStatus = loop {
            if let Some(status) = self.process.try_wait().expect("it is our child") {
                break status;
            }
            if self.start.elapsed() > deadline {
                panic!("{} runs after {deadline:?}: {}{}", self.line, self.stdout(), self.stderr());
            }
            sleep(LOOK_INTERVAL);
        };
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Outcome {
            line: self.line.clone(),
            code,
            stdout: self.stdout(),
            stderr: self.stderr(),
            took: self.start.elapsed(),
        }
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
        if let Some(directory) = self.stdout.parent() {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}
