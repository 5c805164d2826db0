//! The files that keep what children print: appended to by the children themselves, rotated by size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};

use super::log_marks::LogMarks;

/// A log longer than this is rotated; one earlier part is kept beside it, as `ID.log.1`.
pub const LOG_BYTES_MAX: u64 = 8 << 20;

/// Opens a log for appending, with its directory: an activation begins here. One that is too long is put aside first.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    // Without them a reader may be led astray; that is no reason not to run the program.
    let mut marks = LogMarks::lock(path).ok();
    let mut base = marks.as_ref().map_or(0, LogMarks::base);
    if let Some(len) = too_long(path) {
        fs::rename(path, earlier(path))?;
        base += len;
    }
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    if let Some(marks) = &mut marks {
        let _ = marks.write(base, base + log.metadata()?.len());
    }
    Ok(log)
}

/// Removes a log that holds nothing, and what stands beside it.
pub(crate) fn discard_empty(path: &Path) {
    if fs::metadata(path).is_ok_and(|log| log.len() == 0) {
        let _ = fs::remove_file(path);
        if !earlier(path).exists() {
            let _ = fs::remove_file(LogMarks::path(path));
        }
    }
}

/// Rotates a log that is being appended to: copies what there is aside and takes it out of the file. Where the file system
/// can take a beginning off a file (ext4, XFS) nothing is lost. Elsewhere the file is cut to nothing, and what is written
/// between the copy and the cut is lost: no writer is ever held up for a log. It is cut also where the disk is too full
/// for the copy.
pub(crate) fn rotate_in_use(path: &Path) {
    if too_long(path).is_none() {
        return;
    }
    // Without its marks a reader is led astray; a disk without end is worse.
    let mut marks = LogMarks::lock(path).ok();
    let Ok(log) = OpenOptions::new().read(true).write(true).open(path) else { return };
    let cut = take_beginning(&log, path).or_else(|_| take_all(&log, path)).unwrap_or(0);
    if let Some(marks) = &mut marks {
        let (base, start) = (marks.base() + cut, marks.start());
        let _ = marks.write(base, start);
    }
}

/// Takes as many whole blocks off the beginning as leave a byte, once they are copied. Answers how many bytes.
fn take_beginning(log: &File, path: &Path) -> io::Result<u64> {
    let metadata = log.metadata()?;
    let cut = metadata.len().saturating_sub(1) / metadata.blksize() * metadata.blksize();
    let len = signed(cut)?;
    copy(log, path, cut)?;
    fallocate(log, FallocateFlags::FALLOC_FL_COLLAPSE_RANGE, 0, len)?;
    Ok(cut)
}

/// Copies to the end, if the disk has room, and cuts the file to nothing. Answers how many bytes it held.
fn take_all(log: &File, path: &Path) -> io::Result<u64> {
    let len = log.metadata()?.len();
    if copy(log, path, len).is_err() {
        // A part would pass for what came last.
        let _ = OpenOptions::new().write(true).truncate(true).open(earlier(path));
    }
    log.set_len(0)?;
    Ok(len)
}

/// Copies what stands before `end`, at most [`LOG_BYTES_MAX`], so that a writer that is as fast as the copying is not
/// followed for ever.
fn copy(mut log: &File, path: &Path, end: u64) -> io::Result<()> {
    let len = end.min(LOG_BYTES_MAX);
    log.seek(SeekFrom::Start(end - len))?;
    let mut copy = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(earlier(path))?;
    match io::copy(&mut log.take(len), &mut copy)? {
        copied if copied == len => Ok(()),
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn signed(bytes: u64) -> io::Result<i64> {
    i64::try_from(bytes).map_err(|_| ErrorKind::InvalidInput.into())
}

/// How long it is, if that is too much.
fn too_long(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.len()).filter(|&len| len > LOG_BYTES_MAX)
}

/// Where the part before the last rotation is.
pub(super) fn earlier(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_long_log_is_cut_under_its_writer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs/a.log");
        let mut writer = open(&path).unwrap();
        writer.write_all(&vec![b'x'; usize::try_from(LOG_BYTES_MAX).unwrap()]).unwrap();
        rotate_in_use(&path);
        assert_eq!(fs::metadata(&path).unwrap().len(), LOG_BYTES_MAX);
        writer.write_all(b"y").unwrap();
        rotate_in_use(&path);
        writer.write_all(b"z").unwrap();
        let (kept, left) = (fs::read(earlier(&path)).unwrap(), fs::read(&path).unwrap());
        assert!(kept.len() as u64 <= LOG_BYTES_MAX && left.len() < 8192, "its end, and no more");
        assert!([&kept[..], &left].concat().ends_with(b"xyz"));
        assert_eq!(LogMarks::look(&path).unwrap().base() + left.len() as u64, LOG_BYTES_MAX + 2);
    }

    #[test]
    fn where_a_beginning_cannot_be_taken_off_all_is_cut() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let mut writer = open(&path).unwrap();
        writer.write_all(&vec![b'x'; usize::try_from(LOG_BYTES_MAX).unwrap()]).unwrap();
        writer.write_all(b"y").unwrap();
        let log = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        assert_eq!(take_all(&log, &path).unwrap(), LOG_BYTES_MAX + 1);
        writer.write_all(b"z").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"z");
        let kept = fs::read(earlier(&path)).unwrap();
        assert_eq!((kept.len() as u64, kept.last()), (LOG_BYTES_MAX, Some(&b'y')));
    }

    #[test]
    fn an_empty_log_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        drop(open(&path).unwrap());
        discard_empty(&path);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        open(&path).unwrap().write_all(b"x").unwrap();
        discard_empty(&path);
        assert_eq!(fs::read(&path).unwrap(), b"x");
    }
}
