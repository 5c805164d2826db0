//! The files by which a program finds what the one before it left, leaves something for the next, and says that it was
//! refused under a later fence.
//!
//! Each activation has a directory of its own, which is gone with it: in the node's data directory, or, for a child that runs
//! as another user, beside its [fence](super::fence). What is in it is of that program's making: nothing in it is followed,
//! or walked through, and what else a program puts there stays where it is.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid, geteuid};
use ordu_registry::core::Fence;
use ordu_supervisor::core::handoff::STATE_BYTES_MAX;
use tokio::time::{Interval, MissedTickBehavior};

use super::user::Account;

/// What was left; only where something was.
const GIVEN: &str = "state";
/// What is left.
const LEFT: &str = "handoff";
/// What it says while it runs that the next would need.
const CHECKPOINT: &str = "checkpoint";
/// The same while it is read.
const TAKEN: &str = "checkpoint.taken";
/// How often a running program is asked for that.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// Most states of losers that a program finds.
const MERGES_MAX: u32 = 64;
/// What the names of the directories of those end with.
const MERGES_ENDING: &str = ".merged";
/// The later fence under which a store refused it.
const FENCED: &str = "fenced";
/// Longest that a program may write there, in bytes: a fence, and blanks around it.
pub(super) const FENCED_BYTES_MAX: usize = 64;
/// What the directories' names end with.
const ENDING: &str = ".state";

/// The directory of one activation; removed when the activation is over.
pub(super) struct States {
    directory: PathBuf,
    /// Where it finds what copies left that lost to it: it may read that and write nothing.
    merges: PathBuf,
    merged: AtomicU32,
    account: Option<(Uid, Gid)>,
    owner: u32,
    is_given: bool,
}

impl States {
    /// Makes that of an activation below a directory that the program can get at, with what was left for it. The error is
    /// one sentence.
    pub(super) fn create(
        below: &Path,
        activation: &str,
        given: Option<&[u8]>,
        account: Option<&Account>,
    ) -> Result<States, String> {
        let directory = below.join(format!("{activation}{ENDING}"));
        let account = account.filter(|_| geteuid().is_root());
        let owner = account.map_or(geteuid(), |account| account.uid).as_raw();
        let merges = below.join(format!("{activation}{MERGES_ENDING}"));
        let (merged, ids) = (AtomicU32::new(0), account.map(|account| (account.uid, account.gid)));
        let states = States { directory, merges, merged, account: ids, owner, is_given: given.is_some() };
        let cannot = |error: io::Error| format!("cannot make the directory {}: {error}", states.directory.display());
        states.make(given).map_err(cannot)?;
        Ok(states)
    }

    fn make(&self, given: Option<&[u8]>) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(&self.directory)?;
        let own = |path: &Path| self.give(path);
        if let Some(given) = given {
            let path = self.directory.join(GIVEN);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(given)?;
            own(&path)?;
        }
        own(&self.directory)
    }

    fn give(&self, path: &Path) -> io::Result<()> {
        self.account.map_or(Ok(()), |(uid, gid)| chown(path, Some(uid.as_raw()), Some(gid.as_raw())))
    }

    /// Gives the program what a copy left that lost to it: a file more in its directory of those, whole when it is there. The
    /// error is one sentence.
    pub(super) fn merge(&self, state: &[u8]) -> Result<(), String> {
        let number = self.merged.fetch_add(1, Ordering::Relaxed) + 1;
        if number > MERGES_MAX {
            return Err(format!("it has found {MERGES_MAX} already"));
        }
        let write = || -> io::Result<()> {
            match DirBuilder::new().mode(0o755).create(&self.merges) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let (begun, path) = (self.merges.join(".next"), self.merges.join(format!("{number:02}")));
            let _ = fs::remove_file(&begun);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&begun)?;
            file.write_all(state)?;
            self.give(&begun)?;
            fs::rename(&begun, &path)
        };
        write().map_err(|error| format!("{}: {error}", self.merges.display()))
    }

    /// Takes the checkpoint that the program has made, if it has made one. The error is one sentence.
    pub(super) fn take_checkpoint(&self) -> Result<Option<Vec<u8>>, String> {
        let wrong = |why: String| format!("what it wrote to the file of ORDU_CHECKPOINT_FILE {why}");
        let [made, taken] = [CHECKPOINT, TAKEN].map(|name| self.directory.join(name));
        // Nothing but what is renamed now is to be there.
        let clear = || fs::remove_file(&taken).or_else(|_| fs::remove_dir(&taken));
        let _ = clear();
        // Whole, and before it may be replaced by a later one.
        match fs::rename(made, &taken) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            renamed => renamed.map_err(|error| wrong(format!("cannot be taken: {error}")))?,
        }
        let read = self.read(TAKEN, STATE_BYTES_MAX);
        let _ = clear();
        read.map_err(wrong)
    }

    /// What the program says while it runs that the next would need.
    pub(super) fn checkpoints(&self) -> Checkpoints<'_> {
        let mut looks = tokio::time::interval(CHECKPOINT_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Checkpoints { states: self, looks }
    }

    /// The variables that tell the program of them.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let path = |name: &str| self.directory.join(name).to_string_lossy().into_owned();
        let given = self.is_given.then(|| ("ORDU_STATE_FILE".to_owned(), path(GIVEN)));
        let own = [("ORDU_HANDOFF_FILE", LEFT), ("ORDU_CHECKPOINT_FILE", CHECKPOINT), ("ORDU_FENCED_FILE", FENCED)];
        let merges = ("ORDU_MERGE_DIR".to_owned(), self.merges.to_string_lossy().into_owned());
        let given = given.into_iter().chain([merges]);
        given.into_iter().chain(own.map(|(variable, name)| (variable.to_owned(), path(name)))).collect()
    }

    /// What the program left, once it has ended; `None` if nothing. The error is one sentence.
    pub(super) fn left(&self) -> Result<Option<Vec<u8>>, String> {
        self.read(LEFT, STATE_BYTES_MAX).map_err(|why| format!("what it left {why}"))
    }

    /// The later fence under which the program was refused, once it has ended; `None` if it says of none. The error is one
    /// sentence.
    pub(super) fn fenced(&self) -> Result<Option<Fence>, String> {
        let wrong = |why: String| format!("what it wrote to the file of ORDU_FENCED_FILE {why}");
        let Some(written) = self.read(FENCED, FENCED_BYTES_MAX).map_err(wrong)? else { return Ok(None) };
        let text = std::str::from_utf8(&written).unwrap_or("\u{fffd}").trim_ascii();
        match text.parse() {
            // A shell makes the file before it knows what goes in.
            _ if written.is_empty() => Ok(None),
            Ok(seen) => Ok(Some(seen)),
            Err(error) => Err(wrong(format!("is none: {error}"))),
        }
    }

    /// A file that the program wrote, of so many bytes at most. The error goes on from what it is.
    fn read(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, String> {
        let path = self.directory.join(name);
        let unreadable = |error: io::Error| format!("cannot be read: {error}");
        // It may be a link to what is not the program's to read, or nothing that ever ends.
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(unreadable)?,
        };
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() || metadata.uid() != self.owner || metadata.nlink() > 1 {
            return Err("is no file of its own".to_owned());
        }
        let mut bytes = Vec::new();
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        match bytes.len() {
            length if length > bytes_max => Err(format!("is longer than {bytes_max} bytes")),
            _ => Ok(Some(bytes)),
        }
    }
}

/// The checkpoints of a program: it makes one by renaming a file to the name that it was told, and finds it gone once it is
/// taken.
pub(super) struct Checkpoints<'a> {
    states: &'a States,
    looks: Interval,
}

impl Checkpoints<'_> {
    /// Resolves with the next one, which is taken away. The error is one sentence, told once for each. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<Vec<u8>, String> {
        loop {
            self.looks.tick().await;
            if let Some(taken) = self.states.take_checkpoint().transpose() {
                return taken;
            }
        }
    }
}

impl Drop for States {
    fn drop(&mut self) {
        if self.merged.load(Ordering::Relaxed) > 0 {
            let _ = fs::remove_dir_all(&self.merges);
        }
        if let Err(error) = remove(&self.directory) {
            tracing::warn!(directory = %self.directory.display(), %error, "a program left more than its state behind");
        }
    }
}

/// Removes the directories of activations that nobody runs any more, as far as nothing else is in them.
pub(super) fn clear(below: &Path) {
    for entry in fs::read_dir(below).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(ENDING) {
            let _ = remove(&entry.path());
        } else if entry.file_name().to_string_lossy().ends_with(MERGES_ENDING) {
            // The node's own: nobody else can put anything there.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    for name in [GIVEN, LEFT, CHECKPOINT, TAKEN, FENCED] {
        let _ = fs::remove_file(directory.join(name));
    }
    fs::remove_dir(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str, make: impl FnOnce(&Path)) -> (tempfile::TempDir, States) {
        let below = tempfile::tempdir().unwrap();
        let states = States::create(below.path(), "a", None, None).unwrap();
        make(&below.path().join("a.state").join(name));
        (below, states)
    }

    fn left(make: impl FnOnce(&Path)) -> Result<Option<Vec<u8>>, String> {
        made(LEFT, make).1.left()
    }

    fn fenced(make: impl FnOnce(&Path)) -> Result<Option<Fence>, String> {
        made(FENCED, make).1.fenced()
    }

    #[test]
    fn nothing_but_a_fence_is_taken_for_one() {
        let text = "0123456789abcdef0123456789abcdef";
        let fence: Fence = text.parse().unwrap();
        let written = |bytes: &[u8]| fenced(|path| fs::write(path, bytes).unwrap());
        assert_eq!(written(b""), Ok(None));
        for accepted in [text.to_owned(), format!("{text}\n"), format!("  {text}\r\n")] {
            assert_eq!(written(accepted.as_bytes()), Ok(Some(fence)));
        }
        let (upper, twice) = (text.to_uppercase(), format!("{text}{text}"));
        let garbage: [&[u8]; 8] =
            [b"\n", b"0", &[0xff; 32], &[0; 32], upper.as_bytes(), twice.as_bytes(), &text.as_bytes()[1..], b"fenced"];
        for garbage in garbage {
            let why = written(garbage).unwrap_err();
            assert!(why.ends_with("is none: a fence is 32 digits of 0-9 and a-f"), "{why}");
        }
        let endless = fenced(|path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap());
        assert!(endless.unwrap_err().ends_with("is longer than 64 bytes"));
        assert!(fenced(|path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap()).is_err());
        assert!(fenced(|path| fs::create_dir(path).unwrap()).unwrap_err().contains("no file"));
    }

    #[test]
    fn what_was_left_is_there_and_goes_with_the_activation() {
        let below = tempfile::tempdir().unwrap();
        let states = States::create(below.path(), "a", Some(b"seven"), None).unwrap();
        let environment = states.environment();
        let names: Vec<&str> = environment.iter().map(|(name, _)| name.as_str()).collect();
        let expected =
            ["ORDU_STATE_FILE", "ORDU_MERGE_DIR", "ORDU_HANDOFF_FILE", "ORDU_CHECKPOINT_FILE", "ORDU_FENCED_FILE"];
        assert_eq!(names, expected);
        let [given_path, left_path, fenced_path] = [0, 2, 4].map(|index| &environment[index].1);
        assert_eq!(fs::read(given_path).unwrap(), b"seven");
        assert_eq!(states.left(), Ok(None));
        fs::write(left_path, "eight").unwrap();
        assert_eq!(states.left(), Ok(Some(b"eight".to_vec())));
        assert_eq!(states.fenced(), Ok(None));
        let fence = "0123456789abcdef0123456789abcdef";
        fs::write(fenced_path, fence).unwrap();
        assert_eq!(states.fenced(), Ok(Some(fence.parse().unwrap())));
        drop(states);
        assert_eq!(fs::read_dir(below.path()).unwrap().count(), 0);
        let first = States::create(below.path(), "a", None, None).unwrap();
        assert_eq!(first.environment().len(), 4);
        // A node that was killed leaves them; what is more than its state nobody touches.
        std::mem::forget(first);
        let other = States::create(below.path(), "b", Some(b"x"), None).unwrap();
        fs::create_dir(below.path().join("b.state").join("more")).unwrap();
        drop(other);
        clear(below.path());
        let left = fs::read_dir(below.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["b.state"]);
    }

    #[tokio::test]
    async fn each_checkpoint_is_told_once_and_nothing_else_is_taken_for_one() {
        let below = tempfile::tempdir().unwrap();
        let states = States::create(below.path(), "a", None, None).unwrap();
        let (path, begun) = (below.path().join("a.state/checkpoint"), below.path().join("a.state/begun"));
        let mut checkpoints = states.checkpoints();
        for text in ["one", "two"] {
            fs::write(&begun, text).unwrap();
            fs::rename(&begun, &path).unwrap();
            assert_eq!(checkpoints.next().await, Ok(text.into()));
            let again = tokio::time::timeout(CHECKPOINT_EVERY * 2, checkpoints.next()).await;
            assert!(again.is_err(), "told twice: {again:?}");
        }
        fs::write(&begun, vec![1; STATE_BYTES_MAX + 1]).unwrap();
        fs::rename(&begun, &path).unwrap();
        assert!(checkpoints.next().await.unwrap_err().contains("longer"));
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(checkpoints.next().await.is_err());
    }

    #[test]
    fn what_losers_left_is_found_whole_and_in_order_and_goes_with_the_activation() {
        let below = tempfile::tempdir().unwrap();
        let states = States::create(below.path(), "a", None, None).unwrap();
        let directory = states.environment().into_iter().find(|(name, _)| name == "ORDU_MERGE_DIR").unwrap().1;
        assert!(!Path::new(&directory).exists(), "nothing was left yet");
        for number in 1..=MERGES_MAX {
            states.merge(format!("state {number}").as_bytes()).unwrap();
        }
        assert!(states.merge(b"one more").unwrap_err().contains("64 already"));
        let mut found: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        let texts: Vec<String> = found.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        assert_eq!(texts, (1..=MERGES_MAX).map(|number| format!("state {number}")).collect::<Vec<_>>());
        drop(states);
        assert_eq!(fs::read_dir(below.path()).unwrap().count(), 0);
        let states = States::create(below.path(), "a", None, None).unwrap();
        states.merge(b"left behind").unwrap();
        std::mem::forget(states);
        clear(below.path());
        assert_eq!(fs::read_dir(below.path()).unwrap().count(), 0);
    }

    #[test]
    fn nothing_but_a_file_of_its_own_is_taken() {
        assert_eq!(left(|_| ()), Ok(None));
        assert_eq!(left(|path| fs::write(path, "").unwrap()), Ok(Some(Vec::new())));
        assert_eq!(
            left(|path| fs::write(path, vec![1; STATE_BYTES_MAX]).unwrap()).unwrap().unwrap().len(),
            STATE_BYTES_MAX
        );
        assert!(left(|path| fs::write(path, vec![1; STATE_BYTES_MAX + 1]).unwrap()).unwrap_err().contains("longer"));
        assert!(left(|path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap()).is_err());
        assert!(left(|path| fs::create_dir(path).unwrap()).unwrap_err().contains("no file"));
        let pipe = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(left(pipe).unwrap_err().contains("no file"));
        let linked = |path: &Path| {
            let other = path.with_extension("other");
            fs::write(&other, "of somebody").unwrap();
            fs::hard_link(other, path).unwrap();
        };
        assert!(left(linked).unwrap_err().contains("no file"));
    }
}
