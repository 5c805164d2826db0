//! The files that keep what children print: appended to by the children themselves, rotated by size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A log longer than this is rotated; one earlier part is kept beside it, as `ID.log.1`.
pub const LOG_BYTES_MAX: u64 = 8 << 20;

/// Opens a log for appending, with its directory. One that is too long is put aside first.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    if is_too_long(path) {
        fs::rename(path, earlier(path))?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Rotates a log that is being appended to: copies its end aside and cuts it to nothing, also where the disk is too full
/// for the copy. What is written between the two is lost; a log is for people, and no writer is ever held up for it.
pub(crate) fn rotate_in_use(path: &Path) {
    if is_too_long(path) {
        let _ = copy_end(path);
        let _ = OpenOptions::new().write(true).truncate(true).open(path);
    }
}

/// Copies at most [`LOG_BYTES_MAX`], so that a writer that is as fast as the copying is not followed for ever.
fn copy_end(path: &Path) -> io::Result<()> {
    let mut log = File::open(path)?;
    log.seek(SeekFrom::Start(log.metadata()?.len().saturating_sub(LOG_BYTES_MAX)))?;
    let mut copy = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(earlier(path))?;
    io::copy(&mut log.take(LOG_BYTES_MAX), &mut copy).map(drop)
}

fn is_too_long(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX)
}

fn earlier(path: &Path) -> PathBuf {
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
        assert_eq!(fs::read(&path).unwrap(), b"z");
        let kept = fs::read(earlier(&path)).unwrap();
        assert_eq!((kept.len() as u64, kept.last()), (LOG_BYTES_MAX, Some(&b'y')), "its end, and no more");
    }
}
