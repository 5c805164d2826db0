//! A PostgreSQL server of the scenario's own, from the distribution's package: on a socket in a directory, in no network.

use std::fs::{self, DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};

use crate::scenario::{ROOT_VARIABLE, Scenario};
use crate::wait::within;

/// Where Debian keeps the servers, by version.
const SERVERS: &str = "/usr/lib/postgresql";
/// How long a server may take to answer.
const READY_MAX: Duration = Duration::from_secs(30);
/// Whom everybody is to the server.
const USER: &str = "ordu";
/// For root is refused: the first of them that there is.
const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

/// A running server. Dropping it ends it.
pub struct Postgres {
    directory: PathBuf,
    process: Child,
}

impl Postgres {
    /// Starts a server with an empty database and waits until it answers.
    ///
    /// # Errors
    /// Why none can be started here.
    pub fn start(scenario: &Scenario) -> Result<Postgres, String> {
        let programs = programs().ok_or("PostgreSQL is not installed (Debian's package is postgresql)")?;
        let has_client = Command::new("psql").arg("--version").output().is_ok_and(|output| output.status.success());
        if !has_client {
            return Err("psql is not installed (Debian's package is postgresql-client)".into());
        }
        let account = match geteuid().is_root() {
            false => None,
            true => {
                let mut found = ACCOUNTS.iter().filter_map(|name| User::from_name(name).ok().flatten());
                Some(found.next().ok_or("PostgreSQL does not run as root, and there is nobody else")?)
            }
        };
        let directory = scenario.path().join("postgres");
        let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
        DirBuilder::new().mode(0o700).create(&directory).map_err(failed)?;
        if let Some(User { uid, gid, .. }) = &account {
            chown(&directory, Some(uid.as_raw()), Some(gid.as_raw())).map_err(failed)?;
            fs::set_permissions(scenario.path(), Permissions::from_mode(0o711)).map_err(failed)?;
        }
        let program = |name: &str| {
            let mut command = Command::new(programs.join(name));
            command.arg("-D").arg(directory.join("data")).current_dir(&directory).stdin(Stdio::null());
            command.env(ROOT_VARIABLE, scenario.path()).process_group(0);
            if let Some(User { uid, gid, .. }) = &account {
                command.uid(uid.as_raw()).gid(gid.as_raw());
            }
            command
        };
        let made = program("initdb")
            .args(["-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"])
            .output()
            .map_err(|error| format!("initdb: {error}"))?;
        if !made.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr).trim()));
        }
        let log = File::create(scenario.path().join("postgres.log")).map_err(failed)?;
        let process = program("postgres")
            .args(["-c", "listen_addresses=", "-c", "fsync=off"])
            .arg("-k")
            .arg(&directory)
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("postgres: {error}"))?;
        let server = Postgres { directory, process };
        within(READY_MAX, "PostgreSQL answers", || server.try_query("SELECT 1"));
        Ok(server)
    }

    /// What a client is to have in its environment.
    pub fn environment(&self) -> [(&'static str, &str); 3] {
        [("PGHOST", self.directory.to_str().expect("a path of text")), ("PGUSER", USER), ("PGDATABASE", "postgres")]
    }

    /// Has statements executed. Answers the rows, column by column.
    #[track_caller]
    pub fn query(&self, statements: &str) -> Vec<Vec<String>> {
        self.try_query(statements).unwrap_or_else(|why| panic!("{statements}: {why}"))
    }

    /// [`query`](Self::query), where it may fail.
    ///
    /// # Errors
    /// What `psql` says.
    pub fn try_query(&self, statements: &str) -> Result<Vec<Vec<String>>, String> {
        let output = Command::new("psql")
            .args(["-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", statements])
            .envs(self.environment())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("psql: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, without its checkpoint: nobody needs what is in it.
        if let Ok(pid) = i32::try_from(self.process.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
        }
        let _ = self.process.wait();
    }
}

/// The newest server's programs.
fn programs() -> Option<PathBuf> {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let versions = fs::read_dir(SERVERS).ok()?.flatten().map(|entry| entry.path());
    let (_, newest) = versions.filter_map(|path| Some((version(&path)?, path))).max()?;
    let programs = newest.join("bin");
    ["initdb", "postgres"].iter().all(|name| programs.join(name).is_file()).then_some(programs)
}
