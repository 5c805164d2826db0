//! The files by which a program finds what the one before it left, and leaves something for the next.
//!
//! Each activation has a directory of its own, which is gone with it: in the node's data directory, or, for a child that runs
//! as another user, beside its [fence](super::fence). What is in it is of that program's making: nothing in it is followed,
//! or walked through, and what else a program puts there stays where it is.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use ordu_supervisor::core::handoff::STATE_BYTES_MAX;

use super::user::Account;

/// What was left; only where something was.
const GIVEN: &str = "state";
/// What is left.
const LEFT: &str = "handoff";
/// What the directories' names end with.
const ENDING: &str = ".state";

/// The directory of one activation; removed when the activation is over.
pub(super) struct States {
    directory: PathBuf,
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
        let states = States { directory, owner, is_given: given.is_some() };
        let cannot = |error: io::Error| format!("cannot make the directory {}: {error}", states.directory.display());
        states.make(given, account).map_err(cannot)?;
        Ok(states)
    }

    fn make(&self, given: Option<&[u8]>, account: Option<&Account>) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(&self.directory)?;
        let own = |path: &Path| {
            account.map_or(Ok(()), |Account { uid, gid, .. }| chown(path, Some(uid.as_raw()), Some(gid.as_raw())))
        };
        if let Some(given) = given {
            let path = self.directory.join(GIVEN);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(given)?;
            own(&path)?;
        }
        own(&self.directory)
    }

    /// The variables that tell the program of them.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let path = |name: &str| self.directory.join(name).to_string_lossy().into_owned();
        let given = self.is_given.then(|| ("ORDU_STATE_FILE".to_owned(), path(GIVEN)));
        given.into_iter().chain([("ORDU_HANDOFF_FILE".to_owned(), path(LEFT))]).collect()
    }

    /// What the program left, once it has ended; `None` if nothing. The error is one sentence.
    pub(super) fn left(&self) -> Result<Option<Vec<u8>>, String> {
        let path = self.directory.join(LEFT);
        // It may be a link to what is not the program's to read, or nothing that ever ends.
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| format!("what it left cannot be read: {error}"))?,
        };
        let metadata = file.metadata().map_err(|error| format!("what it left cannot be read: {error}"))?;
        if !metadata.is_file() || metadata.uid() != self.owner || metadata.nlink() > 1 {
            return Err("what it left is no file of its own".to_owned());
        }
        let mut state = Vec::new();
        let read = file.take(STATE_BYTES_MAX as u64 + 1).read_to_end(&mut state);
        read.map_err(|error| format!("what it left cannot be read: {error}"))?;
        match state.len() {
            length if length > STATE_BYTES_MAX => Err(format!("what it left is longer than {STATE_BYTES_MAX} bytes")),
            _ => Ok(Some(state)),
        }
    }
}

impl Drop for States {
    fn drop(&mut self) {
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
        }
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    for name in [GIVEN, LEFT] {
        let _ = fs::remove_file(directory.join(name));
    }
    fs::remove_dir(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(make: impl FnOnce(&Path)) -> Result<Option<Vec<u8>>, String> {
        let below = tempfile::tempdir().unwrap();
        let states = States::create(below.path(), "a", None, None).unwrap();
        make(&below.path().join("a.state").join(LEFT));
        states.left()
    }

    #[test]
    fn what_was_left_is_there_and_goes_with_the_activation() {
        let below = tempfile::tempdir().unwrap();
        let states = States::create(below.path(), "a", Some(b"seven"), None).unwrap();
        let environment = states.environment();
        let [(given, given_path), (left, left_path)] = &environment[..] else { panic!("{environment:?}") };
        assert_eq!((given.as_str(), left.as_str()), ("ORDU_STATE_FILE", "ORDU_HANDOFF_FILE"));
        assert_eq!(fs::read(given_path).unwrap(), b"seven");
        assert_eq!(states.left(), Ok(None));
        fs::write(left_path, "eight").unwrap();
        assert_eq!(states.left(), Ok(Some(b"eight".to_vec())));
        drop(states);
        assert_eq!(fs::read_dir(below.path()).unwrap().count(), 0);
        let first = States::create(below.path(), "a", None, None).unwrap();
        assert_eq!(first.environment().len(), 1);
        // A node that was killed leaves them; what is more than its state nobody touches.
        std::mem::forget(first);
        let other = States::create(below.path(), "b", Some(b"x"), None).unwrap();
        fs::create_dir(below.path().join("b.state").join("more")).unwrap();
        drop(other);
        clear(below.path());
        let left = fs::read_dir(below.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["b.state"]);
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
