//! The two files of a log, and where they stand among all that was ever written to it.
//!
//! Bytes of a log are counted for ever, so that a reader's place means the same before and after a rotation. What the
//! files themselves do not tell stands beside them, in `ID.log.mark`: which byte is the first of `ID.log`, and which the
//! first of the latest activation. A log that was never rotated, of a child that was activated once, has none. The mark
//! names the file that it speaks of, since a rotation takes two steps, the renaming and the next mark.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Both files as they were at one moment. They are only appended to and renamed, so that they can be read for as long as
/// they are held, whatever becomes of their names.
#[derive(Debug)]
pub(super) struct LogFiles {
    earlier: Option<Part>,
    latest: Option<Part>,
    base: u64,
    mark: Option<Mark>,
}

#[derive(Debug)]
struct Part {
    file: File,
    inode: u64,
    length: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    /// The file.
    inode: u64,
    /// Which byte of all is its first.
    base: u64,
    /// Which byte of all is the first of the latest activation.
    start: u64,
}

impl LogFiles {
    /// Opens what there is of a log.
    pub(super) fn open(log: &Path) -> io::Result<Self> {
        loop {
            let (latest, earlier, mark) = (Part::open(log)?, Part::open(&earlier(log))?, Mark::read(log)?);
            // No other file has the number of one that is held.
            if inode(log)? == latest.as_ref().map(|part| part.inode) {
                let base = match (&mark, &earlier) {
                    // It was renamed, and the next mark is not written yet.
                    (Some(mark), Some(earlier)) if mark.inode == earlier.inode => mark.base + earlier.length,
                    // Where the mark is lost, nothing is counted below zero.
                    (mark, earlier) => mark.map_or(0, |mark| mark.base).max(length(earlier)),
                };
                return Ok(Self { earlier, latest, base, mark });
            }
        }
    }

    /// Which byte of all is the first that is kept.
    pub(super) fn begin(&self) -> u64 {
        self.base - length(&self.earlier)
    }

    /// Which byte of all is the first of `ID.log`.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Which byte of all comes after the last one.
    pub(super) fn end(&self) -> u64 {
        self.base + length(&self.latest)
    }

    /// Which byte of all is the first of the latest activation that is kept.
    pub(super) fn start(&self) -> u64 {
        self.mark.map_or(0, |mark| mark.start).clamp(self.begin(), self.end())
    }

    /// Reads from one of the files, at most to its end.
    pub(super) fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let (part, begin) = match position < self.base {
            true => (&self.earlier, self.begin()),
            false => (&self.latest, self.base),
        };
        let Some(Part { file, length, .. }) = part else { return Ok(0) };
        let from = position.saturating_sub(begin);
        let room = bytes.len().min(usize::try_from(length.saturating_sub(from)).unwrap_or(usize::MAX));
        loop {
            match file.read_at(&mut bytes[..room], from) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Marks that an activation begins with the next byte.
    pub(super) fn mark_start(&self, log: &Path) -> io::Result<()> {
        let Some(latest) = self.latest.as_ref().filter(|_| self.end() > 0 || self.mark.is_some()) else {
            return Ok(());
        };
        Mark { inode: latest.inode, base: self.base, start: self.end() }.write(log)
    }

    /// Marks that the log goes on in another file, after these.
    pub(super) fn mark_next(&self, log: &Path, next: &File) -> io::Result<()> {
        let start = self.mark.map_or(0, |mark| mark.start);
        Mark { inode: next.metadata()?.ino(), base: self.end(), start }.write(log)
    }
}

impl Part {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let Some(file) = if_there(File::open(path))? else { return Ok(None) };
        let metadata = file.metadata()?;
        Ok(Some(Self { file, inode: metadata.ino(), length: metadata.len() }))
    }
}

impl Mark {
    /// The mark of a log; nonsense is none.
    fn read(log: &Path) -> io::Result<Option<Self>> {
        let Some(text) = if_there(fs::read(beside(log, ".mark")))? else { return Ok(None) };
        let text = String::from_utf8_lossy(&text);
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        Ok(match numbers[..] {
            [inode, base, start] if base <= u64::MAX / 2 => Some(Self { inode, base, start }),
            _ => None,
        })
    }

    /// Puts it in place of the one before, whole.
    fn write(self, log: &Path) -> io::Result<()> {
        let Self { inode, base, start } = self;
        let new = beside(log, ".tmp");
        let written = fs::write(&new, format!("{inode} {base} {start}\n"));
        written.and_then(|()| fs::rename(&new, beside(log, ".mark"))).inspect_err(|_| drop(fs::remove_file(&new)))
    }
}

/// Where the part before the last rotation is.
pub(super) fn earlier(log: &Path) -> PathBuf {
    beside(log, ".1")
}

/// Whether a file is a log, or stands beside one.
pub(super) fn is_of_log(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    [".log", ".log.1", ".log.mark", ".log.tmp"].iter().any(|ending| name.ends_with(ending))
}

fn beside(log: &Path, ending: &str) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn inode(path: &Path) -> io::Result<Option<u64>> {
    Ok(if_there(fs::metadata(path))?.map(|metadata| metadata.ino()))
}

fn length(part: &Option<Part>) -> u64 {
    part.as_ref().map_or(0, |part| part.length)
}

fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(log: &Path) -> [u64; 4] {
        let files = LogFiles::open(log).unwrap();
        [files.begin(), files.base(), files.start(), files.end()]
    }

    #[test]
    fn bytes_are_counted_at_each_moment_of_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("a.log");
        assert_eq!(places(&log), [0; 4]);
        fs::write(&log, "12345").unwrap();
        LogFiles::open(&log).unwrap().mark_start(&log).unwrap();
        fs::write(&log, "1234567").unwrap();
        assert_eq!(places(&log), [0, 0, 5, 7]);
        for round in 0..3 {
            let (begin, base) = (7 * round, 7 * (round + 1));
            let files = LogFiles::open(&log).unwrap();
            fs::rename(&log, earlier(&log)).unwrap();
            assert_eq!(places(&log), [begin, base, begin.max(5), base], "nothing came since");
            fs::write(&log, "1234567").unwrap();
            assert_eq!(places(&log), [begin, base, begin.max(5), base + 7], "before the mark");
            files.mark_next(&log, &File::open(&log).unwrap()).unwrap();
            assert_eq!(places(&log), [begin, base, begin.max(5), base + 7]);
            let mut bytes = [0; 9];
            let read = files.read_at(begin + 4, &mut bytes).unwrap();
            assert_eq!(&bytes[..read], b"567", "what was opened before can be read");
        }
        fs::remove_file(&log).unwrap();
        assert_eq!(places(&log), [14, 21, 14, 21], "somebody took it away");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn where_the_mark_is_lost_counting_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("a.log");
        fs::write(earlier(&log), "123").unwrap();
        fs::write(&log, "4567").unwrap();
        for text in ["", "x", "1 2", "1 2 3 4", "-1 0 0", "1 18446744073709551615 1"] {
            fs::write(beside(&log, ".mark"), text).unwrap();
            assert_eq!(places(&log), [0, 3, 0, 7], "{text:?}");
        }
    }
}
