//! Reading a log while it is written and rotated: each byte once, in order.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::log::earlier;
use super::log_marks::LogMarks;

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

/// A place in a log. Its methods read files, and may block for as long as a rotation takes.
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
        let window = Window::open(path)?;
        let position = match begin {
            LogBegin::Lines(lines) => window.newest_lines(lines)?,
            LogBegin::Activation => window.start.clamp(window.begin(), window.end()),
        };
        Ok(Some(Self { path: path.to_owned(), position }))
    }

    /// Which byte, of all that were ever written, comes after the last one now.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn end(&self) -> io::Result<u64> {
        Ok(Window::open(&self.path)?.end())
    }

    /// The next bytes before `end`, at most 32 KiB; none where nothing more is there. What was rotated away
    /// unread is told by a line in its place.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn read(&mut self, end: u64) -> io::Result<Vec<u8>> {
        let window = Window::open(&self.path)?;
        if self.position > window.end() {
            // Somebody emptied the file.
            self.position = window.base;
        }
        if let Some(missed) = window.begin().checked_sub(self.position).filter(|&missed| missed > 0) {
            self.position = window.begin();
            return Ok(format!("\n[ordu: {missed} bytes were rotated away before they were read]\n").into_bytes());
        }
        let room = end.saturating_sub(self.position).min(READ_BYTES_MAX as u64);
        let mut bytes = vec![0; usize::try_from(room).unwrap_or(READ_BYTES_MAX)];
        let read = window.read_at(self.position, &mut bytes)?;
        bytes.truncate(read);
        self.position += read as u64;
        Ok(bytes)
    }
}

/// The two files of a log, while nobody rotates them.
struct Window {
    _marks: LogMarks,
    base: u64,
    start: u64,
    earlier: Option<(File, u64)>,
    log: Option<(File, u64)>,
}

impl Window {
    fn open(path: &Path) -> io::Result<Self> {
        let marks = LogMarks::look(path)?;
        let file = |path: &Path| match File::open(path) {
            Ok(file) => {
                let len = file.metadata()?.len();
                Ok(Some((file, len)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let (earlier, log) = (file(&earlier(path))?, file(path)?);
        // Where the marks are lost, the earlier part is counted below zero, which there is not.
        let base = marks.base().max(earlier.as_ref().map_or(0, |(_, len)| *len));
        Ok(Self { base, start: marks.start(), _marks: marks, earlier, log })
    }

    fn begin(&self) -> u64 {
        self.base - self.earlier.as_ref().map_or(0, |(_, len)| *len)
    }

    fn end(&self) -> u64 {
        self.base + self.log.as_ref().map_or(0, |(_, len)| *len)
    }

    /// Reads from one of the files, at most to its end.
    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let (file, from, left) = match (&self.earlier, &self.log) {
            (Some((file, _)), _) if position < self.base => (file, position - self.begin(), self.base - position),
            (_, Some((file, _))) => (file, position.saturating_sub(self.base), self.end().saturating_sub(position)),
            (_, None) => return Ok(0),
        };
        let room = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let bytes = &mut bytes[..room];
        loop {
            match file.read_at(bytes, from) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Where the newest so many lines begin. A last line without its end is one too.
    fn newest_lines(&self, lines: u64) -> io::Result<u64> {
        let (mut at, mut found) = (self.end(), 0);
        let mut block = vec![0; READ_BYTES_MAX];
        if lines == 0 {
            return Ok(at);
        }
        while at > self.begin() {
            let from = at.saturating_sub(READ_BYTES_MAX as u64).max(self.begin());
            // A block never reaches over the border between the files, which one read does not cross.
            let from = if at > self.base { from.max(self.base) } else { from };
            let len = usize::try_from(at - from).unwrap_or(READ_BYTES_MAX);
            let read = self.read_at(from, &mut block[..len])?;
            for index in (0..read).rev().filter(|&index| block[index] == b'\n') {
                let after = from + index as u64 + 1;
                if after == self.end() {
                    continue;
                }
                found += 1;
                if found == lines {
                    return Ok(after);
                }
            }
            at = from;
        }
        Ok(self.begin())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

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
        let mut writer = log::open(&path).unwrap();
        assert_eq!(newest(&path, 5), "");
        writer.write_all(b"one\ntwo\n\nfour\n").unwrap();
        for (lines, expected) in
            [(0, ""), (1, "four\n"), (2, "\nfour\n"), (3, "two\n\nfour\n"), (4, "one\ntwo\n\nfour\n")]
        {
            assert_eq!(newest(&path, lines), expected);
        }
        assert_eq!(newest(&path, 99), newest(&path, 4));
        writer.write_all(b"half").unwrap();
        assert_eq!((newest(&path, 1), newest(&path, 2)), ("half".into(), "four\nhalf".into()));
        // Lines that are longer than what is read at once.
        let long = "x".repeat(3 * READ_BYTES_MAX);
        writer.write_all(format!("\n{long}\nend\n").as_bytes()).unwrap();
        assert_eq!(newest(&path, 2), format!("{long}\nend\n"));
        assert_eq!(newest(&path, 3), format!("half\n{long}\nend\n"));
    }

    #[test]
    fn a_reader_sees_every_byte_once_through_rotations() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let mut writer = log::open(&path).unwrap();
        let mut reader = LogReader::open(&path, LogBegin::Activation).unwrap().unwrap();
        let (mut written, mut read, mut rotations) = (Vec::new(), Vec::new(), 0);
        for round in 0..80u32 {
            let from = written.len();
            for line in 0..30_000u32 {
                writeln!(written, "{round} {line}").unwrap();
            }
            writer.write_all(&written[from..]).unwrap();
            let base = LogMarks::look(&path).unwrap().base();
            log::rotate_in_use(&path);
            rotations += u32::from(LogMarks::look(&path).unwrap().base() != base);
            if round % 3 == 0 {
                read.extend(reader.read(u64::MAX).unwrap());
            } else {
                read.extend(rest(&mut reader));
            }
        }
        read.extend(rest(&mut reader));
        assert!(rotations >= 2, "{rotations}");
        assert!(read == written, "{} of {} bytes", read.len(), written.len());
        assert_eq!(reader.end().unwrap(), written.len() as u64);
    }

    #[test]
    fn what_was_rotated_away_unread_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let mut writer = log::open(&path).unwrap();
        let mut reader = LogReader::open(&path, LogBegin::Lines(0)).unwrap().unwrap();
        let most = usize::try_from(LOG_BYTES_MAX).unwrap();
        for _ in 0..2 {
            writer.write_all(&vec![b'x'; most + 1]).unwrap();
            log::rotate_in_use(&path);
        }
        writer.write_all(b"last\n").unwrap();
        let read = String::from_utf8(rest(&mut reader)).unwrap();
        assert!(read.starts_with("\n[ordu: ") && read.ends_with("xlast\n"), "{}", &read[..80]);
        // A new activation begins in a file of its own where the old one is too long, and is found.
        writer.write_all(&vec![b'y'; most]).unwrap();
        let mut second = log::open(&path).unwrap();
        second.write_all(b"second\n").unwrap();
        let mut activation = LogReader::open(&path, LogBegin::Activation).unwrap().unwrap();
        assert_eq!(rest(&mut activation), b"second\n");
        // Somebody emptied the file.
        second.set_len(0).unwrap();
        second.write_all(b"3\n").unwrap();
        assert_eq!(rest(&mut activation), b"3\n");
    }
}
