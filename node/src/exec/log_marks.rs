//! Where a log's file stands among all that was ever written to it: beside `ID.log`, in `ID.log.marks`.
//!
//! Bytes of a log are counted for ever, so that a reader's place means the same before and after a rotation. The file of
//! marks is also the lock between who rotates, the keeper, and who reads, the node: a rotation is never seen halfway.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Two numbers of twenty digits, a space, and the end of the line.
const MARKS_BYTES: usize = 42;

/// A log's marks, locked for as long as this lives.
#[derive(Debug)]
pub(super) struct LogMarks {
    file: File,
    base: u64,
    start: u64,
}

impl LogMarks {
    /// Takes the marks to change the log: nobody reads meanwhile.
    pub(super) fn lock(log: &Path) -> io::Result<Self> {
        Self::open(log, File::lock)
    }

    /// Takes the marks to read the log: nobody changes its files meanwhile. Its writer may append all the same.
    pub(super) fn look(log: &Path) -> io::Result<Self> {
        Self::open(log, File::lock_shared)
    }

    fn open(log: &Path, lock: impl Fn(&File) -> io::Result<()>) -> io::Result<Self> {
        let path = Self::path(log);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        lock(&file)?;
        let mut text = [0; MARKS_BYTES];
        // A log of an earlier version has none: it begins where its file does.
        let (base, start) = match file.read_exact_at(&mut text, 0) {
            Ok(()) => parse(&text).unwrap_or_default(),
            Err(_) => (0, 0),
        };
        Ok(Self { file, base, start })
    }

    /// Where the marks of a log are.
    pub(super) fn path(log: &Path) -> PathBuf {
        let mut name = log.as_os_str().to_owned();
        name.push(".marks");
        name.into()
    }

    /// Which byte of all is the first of `ID.log`.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Which byte of all is the first of the latest activation.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn write(&mut self, base: u64, start: u64) -> io::Result<()> {
        (self.base, self.start) = (base, start);
        self.file.write_all_at(format!("{base:020} {start:020}\n").as_bytes(), 0)
    }
}

fn parse(text: &[u8]) -> Option<(u64, u64)> {
    let (base, start) = std::str::from_utf8(text).ok()?.trim_end().split_once(' ')?;
    Some((base.parse().ok()?, start.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_kept_and_nonsense_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("a.log");
        let mut marks = LogMarks::lock(&log).unwrap();
        assert_eq!((marks.base(), marks.start()), (0, 0));
        marks.write(u64::MAX, 7).unwrap();
        drop(marks);
        let marks = LogMarks::look(&log).unwrap();
        assert_eq!((marks.base(), marks.start()), (u64::MAX, 7));
        drop(marks);
        std::fs::write(LogMarks::path(&log), [b'x'; MARKS_BYTES]).unwrap();
        assert_eq!(LogMarks::look(&log).unwrap().base(), 0);
    }

    #[test]
    fn who_rotates_waits_for_who_reads() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("a.log");
        let reads = LogMarks::look(&log).unwrap();
        let second = LogMarks::look(&log).unwrap();
        assert!(reads.file.try_lock().is_err(), "two read");
        drop((reads, second));
        let rotates = LogMarks::lock(&log).unwrap();
        let other = File::open(LogMarks::path(&log)).unwrap();
        assert!(other.try_lock_shared().is_err());
        drop(rotates);
        other.try_lock_shared().unwrap();
    }
}
