//! A node's data directory: used by one node at a time, counting its boots.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Where a node keeps what outlives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataChoice {
    /// Here.
    Directory(PathBuf),
    /// In a directory that is removed at exit.
    Ephemeral,
}

/// An open, locked data directory.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    /// Held locked for as long as the node lives; the kernel lets go of it however that ends.
    _lock: File,
    temporary: Option<tempfile::TempDir>,
}

impl DataDirectory {
    /// Makes the directory if it is not there, and locks it.
    ///
    /// # Errors
    /// Exit 2, if it cannot be used or another node uses it.
    pub fn open(choice: &DataChoice) -> Result<Self, Failure> {
        let (path, temporary) = match choice {
            DataChoice::Directory(path) => {
                let path = std::path::absolute(path).map_err(|error| cannot(path, &error))?;
                DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|error| cannot(&path, &error))?;
                (path, None)
            }
            DataChoice::Ephemeral => {
                let made = tempfile::Builder::new().prefix("ordu-").tempdir();
                let made = made.map_err(|error| cannot(&std::env::temp_dir(), &error))?;
                (made.path().to_owned(), Some(made))
            }
        };
        let lock_file = path.join("lock");
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&lock_file);
        let mut lock = opened.map_err(|error| cannot(&lock_file, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(&path, &lock_file)),
            Err(TryLockError::Error(error)) => return Err(cannot(&lock_file, &error)),
        }
        let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(Self { path, _lock: lock, temporary })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is removed at exit.
    pub fn is_ephemeral(&self) -> bool {
        self.temporary.is_some()
    }

    /// Counts this start: the number is on the disk before it is used.
    ///
    /// # Errors
    /// Exit 2, if the file cannot be read or written. A file that holds no number is not guessed at.
    pub fn next_boot(&self) -> Result<u64, Failure> {
        let file = self.path.join("boot");
        let last = match fs::read_to_string(&file) {
            Ok(text) => text.trim().parse::<u64>().map_err(|_| {
                Failure::usage(format!(
                    "{} does not hold a number; write one above all boots used before",
                    file.display()
                ))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(cannot(&file, &error)),
        };
        let boot = last.checked_add(1).ok_or_else(|| {
            Failure::usage(format!("{} holds the highest number there is; no boot can follow it", file.display()))
        })?;
        self.write_boot(boot).map_err(|error| cannot(&file, &error))?;
        Ok(boot)
    }

    /// Keeps a boot number that the node was given since it started.
    pub fn write_boot(&self, boot: u64) -> io::Result<()> {
        let next = self.path.join("boot.next");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        writeln!(file, "{boot}")?;
        file.sync_all()?;
        fs::rename(&next, self.path.join("boot"))?;
        File::open(&self.path)?.sync_all()
    }
}

/// Where a node of this name keeps its data unless told otherwise.
///
/// # Errors
/// Exit 2, where neither `XDG_STATE_HOME` nor `HOME` says where.
pub fn default_directory(name: &str) -> Result<PathBuf, Failure> {
    let absolute = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("ordu").join(name)).ok_or_else(|| {
        Failure::usage("neither XDG_STATE_HOME nor HOME says where to keep data; give --data-dir or --ephemeral")
    })
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("the data directory cannot be used: {}: {error}", path.display()))
}

fn in_use(path: &Path, lock_file: &Path) -> Failure {
    let holder = fs::read_to_string(lock_file).unwrap_or_default();
    let holder = holder.trim().parse::<u32>().map_or_else(|_| String::new(), |pid| format!(" (os pid {pid})"));
    Failure::usage(format!("the data directory {} is in use by another node{holder}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::USAGE;

    #[test]
    fn boots_are_counted_on_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let choice = DataChoice::Directory(directory.path().join("a/b"));
        let data = DataDirectory::open(&choice).unwrap();
        assert_eq!(data.next_boot(), Ok(1));
        assert_eq!(data.next_boot(), Ok(2));
        data.write_boot(7).unwrap();
        drop(data);
        let data = DataDirectory::open(&choice).unwrap();
        assert_eq!(data.next_boot(), Ok(8));
        for unusable in ["many", "-1", "", "18446744073709551615"] {
            fs::write(data.path().join("boot"), unusable).unwrap();
            assert_eq!(data.next_boot().unwrap_err().code, USAGE, "{unusable}");
        }
    }

    #[test]
    fn one_node_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let choice = DataChoice::Directory(directory.path().to_owned());
        let first = DataDirectory::open(&choice).unwrap();
        let failure = DataDirectory::open(&choice).unwrap_err();
        assert_eq!(failure.code, USAGE);
        let expected =
            format!("{} is in use by another node (os pid {})", directory.path().display(), std::process::id());
        assert!(failure.message.contains(&expected), "{failure}");
        drop(first);
        DataDirectory::open(&choice).unwrap();
        let failure = DataDirectory::open(&DataChoice::Directory("/dev/null/x".into())).unwrap_err();
        assert_eq!(failure.code, USAGE);
    }

    #[test]
    fn an_ephemeral_directory_goes_with_its_node() {
        let data = DataDirectory::open(&DataChoice::Ephemeral).unwrap();
        let path = data.path().to_owned();
        data.next_boot().unwrap();
        assert!(path.exists() && data.is_ephemeral());
        drop(data);
        assert!(!path.exists());
    }
}
