//! Reading a log while it is written and rotated: each byte once, in order.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::log_files::{LogFiles, earlier};

/// Most bytes that are read at once.
pub(super) const READ_BYTES_MAX: usize = 32 << 10;

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogBegin {
    /// With the newest so many lines.
    Lines(u64),
    /// With the latest activation's first byte.
    Activation,
}

/// A place in a log. Its methods read files, which are opened for each piece: a slow reader keeps none of those that were
/// renamed away.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    position: u64,
}

impl LogReader {
    /// Begins to read a log; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(path: &Path, begin: LogBegin) -> io::Result<Option<Self>> {
        if !path.exists() && !earlier(path).exists() {
            return Ok(None);
        }
        let files = LogFiles::open(path)?;
        let position = match begin {
            LogBegin::Lines(lines) => newest_lines(&files, lines)?,
            LogBegin::Activation => files.start(),
        };
        Ok(Some(Self { path: path.to_owned(), position }))
    }

    /// Which byte, of all that were ever written, comes after the last one now.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn end(&self) -> io::Result<u64> {
        Ok(LogFiles::open(&self.path)?.end())
    }

    /// The next bytes before `end`, at most 32 KiB; none where nothing more is there. What was rotated away
    /// unread is told by a line in its place.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn read(&mut self, end: u64) -> io::Result<Vec<u8>> {
        let files = LogFiles::open(&self.path)?;
        if self.position > files.end() {
            // Somebody emptied the file.
            self.position = files.base();
        }
        if let Some(missed) = files.begin().checked_sub(self.position).filter(|&missed| missed > 0) {
            self.position = files.begin();
            return Ok(format!("\n[ordu: {missed} bytes were rotated away before they were read]\n").into_bytes());
        }
        let room = end.saturating_sub(self.position).min(READ_BYTES_MAX as u64);
        let mut bytes = vec![0; usize::try_from(room).unwrap_or(READ_BYTES_MAX)];
        let read = files.read_at(self.position, &mut bytes)?;
        bytes.truncate(read);
        self.position += read as u64;
        Ok(bytes)
    }
}

/// Where the newest so many lines begin. A last line without its end is one too.
fn newest_lines(files: &LogFiles, lines: u64) -> io::Result<u64> {
    let (mut at, mut found) = (files.end(), 0);
    let mut block = vec![0; READ_BYTES_MAX];
    if lines == 0 {
        return Ok(at);
    }
    while at > files.begin() {
        let from = at.saturating_sub(READ_BYTES_MAX as u64).max(files.begin());
        // A block never reaches over the border between the files, which one read does not cross.
        let from = if at > files.base() { from.max(files.base()) } else { from };
        let length = usize::try_from(at - from).unwrap_or(READ_BYTES_MAX);
        let read = files.read_at(from, &mut block[..length])?;
        for index in (0..read).rev().filter(|&index| block[index] == b'\n') {
            let after = from + index as u64 + 1;
            if after == files.end() {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok(after);
            }
        }
        at = from;
    }
    Ok(files.begin())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::log::{self, LOG_BYTES_MAX};
    use super::*;

    fn rest(reader: &mut LogReader) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match reader.read(u64::MAX).unwrap() {
                bytes if bytes.is_empty() => return all,
                bytes => all.extend(bytes),
            }
        }
    }

    fn newest(path: &Path, lines: u64) -> String {
        let mut reader = LogReader::open(path, LogBegin::Lines(lines)).unwrap().unwrap();
        String::from_utf8(rest(&mut reader)).unwrap()
    }

    #[test]
    fn the_newest_lines_are_counted_from_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        assert!(LogReader::open(&path, LogBegin::Lines(1)).unwrap().is_none());
        log::begin(&path).unwrap();
        assert_eq!(newest(&path, 5), "");
        log::append(&path, b"one\ntwo\n\nfour\n").unwrap();
        for (lines, expected) in
            [(0, ""), (1, "four\n"), (2, "\nfour\n"), (3, "two\n\nfour\n"), (4, "one\ntwo\n\nfour\n")]
        {
            assert_eq!(newest(&path, lines), expected);
        }
        assert_eq!(newest(&path, 99), newest(&path, 4));
        log::append(&path, b"half").unwrap();
        assert_eq!((newest(&path, 1), newest(&path, 2)), ("half".into(), "four\nhalf".into()));
        // Lines that are longer than what is read at once.
        let long = "x".repeat(3 * READ_BYTES_MAX);
        log::append(&path, format!("\n{long}\nend\n").as_bytes()).unwrap();
        assert_eq!(newest(&path, 2), format!("{long}\nend\n"));
        assert_eq!(newest(&path, 3), format!("half\n{long}\nend\n"));
        // Lines on both sides of a rotation.
        let rest = usize::try_from(LOG_BYTES_MAX - fs::metadata(&path).unwrap().len()).unwrap();
        log::append(&path, &[&b"y".repeat(rest - 1), &b"\nnew\n"[..]].concat()).unwrap();
        assert_eq!((newest(&path, 1).as_str(), fs::read_to_string(&path).unwrap().as_str()), ("new\n", "new\n"));
        assert_eq!(newest(&path, 3), format!("end\n{}\nnew\n", "y".repeat(rest - 1)));
    }

    #[test]
    fn a_reader_sees_every_byte_once_through_rotations() {
        const LINES: usize = 4_000_000;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        log::begin(&path).unwrap();
        let mut reader = LogReader::open(&path, LogBegin::Activation).unwrap().unwrap();
        let written: Vec<u8> = (0..LINES).flat_map(|line| format!("{line}\n").into_bytes()).collect();
        // The writer is no further ahead of what was read than what is kept.
        const PIECE: usize = 64 << 10;
        let (allow, allowed) = std::sync::mpsc::channel::<()>();
        let mut read = Vec::new();
        std::thread::scope(|scope| {
            let (allow, written, path) = (allow, &written, &path);
            scope.spawn(move || {
                for piece in written.chunks(PIECE) {
                    match allowed.recv() {
                        Ok(()) => log::append(path, piece).unwrap(),
                        Err(_) => return,
                    }
                }
            });
            (0..50).for_each(|_| allow.send(()).unwrap());
            while read.len() < written.len() {
                let new = rest(&mut reader);
                assert!(written[read.len()..].starts_with(&new), "after {} bytes", read.len());
                let pieces = (read.len() + new.len()) / PIECE - read.len() / PIECE;
                read.extend(new);
                for _ in 0..pieces {
                    // Who has written all takes no more.
                    let _ = allow.send(());
                }
            }
        });
        let files = LogFiles::open(&path).unwrap();
        assert!(files.base() > 2 * LOG_BYTES_MAX, "{}", files.base());
        assert_eq!(reader.end().unwrap(), written.len() as u64);
    }

    #[test]
    fn what_was_rotated_away_unread_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        log::begin(&path).unwrap();
        let mut reader = LogReader::open(&path, LogBegin::Lines(0)).unwrap().unwrap();
        let whole = vec![b'x'; usize::try_from(LOG_BYTES_MAX).unwrap()];
        for _ in 0..3 {
            log::append(&path, &whole).unwrap();
        }
        log::append(&path, b"last\n").unwrap();
        let read = String::from_utf8(rest(&mut reader)).unwrap();
        let missed = format!("\n[ordu: {} bytes were rotated away before they were read]\nx", 2 * LOG_BYTES_MAX);
        assert!(read.starts_with(&missed) && read.ends_with("xlast\n"), "{}", &read[..80]);
        assert_eq!(read.len() as u64, missed.len() as u64 - 1 + LOG_BYTES_MAX + 5);
    }

    #[test]
    fn an_activation_is_found_wherever_it_begins() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let latest = || rest(&mut LogReader::open(&path, LogBegin::Activation).unwrap().unwrap());
        log::begin(&path).unwrap();
        log::append(&path, b"first\n").unwrap();
        assert_eq!(latest(), b"first\n");
        log::begin(&path).unwrap();
        assert_eq!(latest(), b"");
        log::append(&path, b"second\n").unwrap();
        assert_eq!(latest(), b"second\n");
        let most = usize::try_from(LOG_BYTES_MAX).unwrap() - 20;
        log::append(&path, &b"y".repeat(most)).unwrap();
        log::append(&path, b"third\nfourth\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"fourth\n");
        assert_eq!(latest(), [&b"second\n"[..], &b"y".repeat(most), b"third\nfourth\n"].concat());
        log::begin(&path).unwrap();
        log::append(&path, b"fifth\n").unwrap();
        let mut reader = LogReader::open(&path, LogBegin::Activation).unwrap().unwrap();
        assert_eq!(rest(&mut reader), b"fifth\n");
        // Somebody emptied the file.
        fs::write(&path, "").unwrap();
        log::append(&path, b"6\n").unwrap();
        assert_eq!(rest(&mut reader), b"6\n");
    }
}
