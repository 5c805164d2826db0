//! The files that keep what children print.
//!
//! A child with the id `ID` has `logs/ID.log` in its node's data directory: what it and whatever it started printed to
//! standard output and error, in the order of arrival, over all of its runs on that node. The keeper appends to it as output
//! comes, a line that is not finished too, and opens it for each piece, so that it may be moved or removed by anybody. Once
//! it would become longer than [`LOG_BYTES_MAX`], it is renamed to `ID.log.1`, in place of an earlier one, after its last
//! whole line, and a new `ID.log` begins; nothing is ever cut out of a file, and `ID.log.mark` tells readers how much came
//! before it. Logs of children that do not run here any more are kept while they are among the latest [`OLD_LOGS_MAX`] and
//! have no more than [`OLD_LOG_BYTES_MAX`] together.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::log_files::{LogFiles, earlier, is_of_log};

/// A log longer than this is rotated; one earlier part is kept beside it, as `ID.log.1`.
pub const LOG_BYTES_MAX: u64 = 8 << 20;
/// How many files there may be of children that do not run here any more; those written to last stay.
pub const OLD_LOGS_MAX: usize = 2_000;
/// How long those may be together.
pub const OLD_LOG_BYTES_MAX: u64 = 1 << 30;

/// Opens a log for appending, with its directory.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            options.open(path)
        }
        opened => opened,
    }
}

/// Opens a log with which an activation goes on.
///
/// # Errors
/// If it cannot be opened. That its place cannot be marked is no reason not to run a program.
pub(crate) fn begin(path: &Path) -> io::Result<()> {
    open(path)?;
    let _ = LogFiles::open(path).and_then(|files| files.mark_start(path));
    Ok(())
}

/// Appends output to a log, which is rotated where it would become too long.
///
/// # Errors
/// If not all of it could be written; then some of its beginning may have been.
pub(crate) fn append(path: &Path, output: &[u8]) -> io::Result<()> {
    let mut file = open(path)?;
    let room = LOG_BYTES_MAX.saturating_sub(file.metadata()?.len());
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if output.len() <= room {
        return file.write_all(output);
    }
    // The present file ends with a whole line, unless there is no end of one.
    let end = output[..room].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    file.write_all(&output[..end])?;
    let files = LogFiles::open(path);
    fs::rename(path, earlier(path))?;
    let mut next = open(path)?;
    // Without a mark its readers may be led astray, and nothing else is.
    let _ = files.and_then(|files| files.mark_next(path, &next));
    next.write_all(&output[end..])
}

/// Removes the logs of a directory, the oldest first, of which there are too many. Those in use stay.
pub(crate) fn remove_old(directory: &Path, in_use: &HashSet<PathBuf>) {
    remove_beyond(directory, in_use, OLD_LOGS_MAX, OLD_LOG_BYTES_MAX);
}

fn remove_beyond(directory: &Path, in_use: &HashSet<PathBuf>, files_max: usize, bytes_max: u64) {
    let is_in_use = |path: &Path| in_use.contains(path) || in_use.contains(&path.with_extension(""));
    let mut old: Vec<(SystemTime, u64, PathBuf)> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| is_of_log(&entry.path()) && !is_in_use(&entry.path()))
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect();
    old.sort_unstable_by(|one, other| other.cmp(one));
    let mut bytes = 0;
    for (number, (_, length, path)) in old.into_iter().enumerate() {
        bytes += length;
        if number >= files_max || bytes > bytes_max {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_log_is_rotated_after_its_last_whole_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs/a.log");
        let length = usize::try_from(LOG_BYTES_MAX).unwrap();
        append(&path, &[b"x".repeat(length - 10), b"\n".to_vec()].concat()).unwrap();
        append(&path, b"one\n").unwrap();
        append(&path, b"two\nthree\nfou").unwrap();
        append(&path, b"r\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\nfour\n");
        let kept = fs::read(earlier(&path)).unwrap();
        assert!(kept.ends_with(b"x\none\ntwo\n") && kept.len() <= length, "{}", kept.len());
        // Without lines it is cut where it must be.
        append(&path, &b"y".repeat(length)).unwrap();
        assert_eq!(fs::read_to_string(earlier(&path)).unwrap(), "three\nfour\n");
        assert_eq!(fs::metadata(&path).unwrap().len(), LOG_BYTES_MAX);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 3);
    }

    #[test]
    fn a_log_may_be_taken_away_under_its_writer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs/a.log");
        append(&path, b"one").unwrap();
        fs::remove_dir_all(directory.path().join("logs")).unwrap();
        append(&path, b"two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    }

    #[test]
    fn the_oldest_logs_of_those_that_are_gone_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (age, name) in [
            "new.log",
            "running.log.1",
            "running.log.mark",
            "running.log",
            "middle.log",
            "old.log.1",
            "old.log.mark",
            "oldest.log",
            "other",
        ]
        .into_iter()
        .enumerate()
        {
            fs::write(path(name), "12345").unwrap();
            let then = SystemTime::now() - Duration::from_secs(age as u64 * 60);
            File::options().write(true).open(path(name)).unwrap().set_modified(then).unwrap();
        }
        let in_use = HashSet::from([path("running.log")]);
        let left = || {
            let mut names: Vec<_> =
                fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        remove_beyond(directory.path(), &in_use, 3, 1000);
        assert_eq!(
            left(),
            ["middle.log", "new.log", "old.log.1", "other", "running.log", "running.log.1", "running.log.mark"]
        );
        remove_beyond(directory.path(), &in_use, 3, 12);
        assert_eq!(left(), ["middle.log", "new.log", "other", "running.log", "running.log.1", "running.log.mark"]);
        remove_beyond(directory.path(), &in_use, 0, 12);
        assert_eq!(left(), ["other", "running.log", "running.log.1", "running.log.mark"]);
    }
}
