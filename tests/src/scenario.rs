//! The frame of a scenario: alone on the machine, in a directory of its own, and nothing left when it ends.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use crate::binary::profile_directory;

/// The variable that every process of a scenario inherits; its value is the scenario's directory.
pub(crate) const ROOT_VARIABLE: &str = "SCENARIO_ROOT";

/// Waits for the end of its input, which comes when the scenario or the whole test process ends, then removes everything.
/// `$1` is the scenario's directory, `$2` the prefix of its network namespaces.
const GUARD: &str = r#"
    cat >/dev/null
    for round in 1 2 3; do
        for environ in $(grep -lsazxF "SCENARIO_ROOT=$1" /proc/[0-9]*/environ); do
            pid=${environ#/proc/}; kill -9 "${pid%/environ}" 2>/dev/null
        done
    done
    if command -v ip >/dev/null; then
        ip netns list 2>/dev/null | while read -r name rest; do
            case $name in "$2"*) ip netns del "$name" ;; esac
        done
    fi
    rm -rf "$1"
"#;

/// One scenario. Dropping it ends everything that was started in it.
pub struct Scenario {
    name: &'static str,
    tag: u64,
    directory: TempDir,
    guard: Child,
    _alone: File,
}

impl Scenario {
    /// Waits until no other scenario runs, then begins.
    pub fn new(name: &'static str) -> Scenario {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let alone = File::create(profile_directory().join("ordu-tests-alone.lock")).expect("the lock can be made");
        alone.lock().expect("the lock can be taken");
        let directory = tempfile::Builder::new().prefix(&format!("ordu-{name}-")).tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("tmp")).expect("a directory");
        // Process ids are below 2^22: the tag has at most seven digits, and two scenarios at once never have the same.
        let tag = u64::from(std::process::id()) + (COUNT.fetch_add(1, Ordering::Relaxed) % 2) * 4_194_304;
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(directory.path())
            .arg(network_prefix(tag))
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("the guard can be started");
        Scenario { name, tag, directory, guard, _alone: alone }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What marks its processes and namespaces: a number that no other scenario has at the same time.
    pub fn tag(&self) -> u64 {
        self.tag
    }

    /// What the names of its network namespaces begin with.
    pub fn network_prefix(&self) -> String {
        network_prefix(self.tag)
    }

    /// Tells a figure.
    pub fn say(&self, what: &str) {
        say(&format!("{}: {what}", self.name));
    }

    /// Tells that the scenario does not run here, and why.
    pub fn skip(&self, why: &str) {
        say(&format!("{}: SKIPPED: {why}", self.name));
    }

    /// Every process of the scenario that is there now, by os pid.
    pub fn processes(&self) -> Vec<i32> {
        let root = self.path().to_string_lossy().into_owned();
        crate::processes::with_variable(ROOT_VARIABLE, |value| value == root)
    }
}

impl Drop for Scenario {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn network_prefix(tag: u64) -> String {
    format!("ordu{tag}-")
}

/// Writes a line past the test harness, which hides what passing tests print.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
