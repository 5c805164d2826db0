//! The files in which activations find their present fence.
//!
//! They are in the node's data directory, which nobody else may look into; so for a child that runs as another user its file
//! is in a directory of its node's below [`ELSEWHERE`] that only root can write to.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::states;
use super::user::Account;

/// Where the fences of other users' children are.
const ELSEWHERE: &str = "/run/ordu";
/// How often a directory is made anew that another child's end has just removed.
const TRIES_MAX: u32 = 10;

/// The fence files of one node.
#[derive(Debug, Clone)]
pub(super) struct Fences {
    own: PathBuf,
    elsewhere: PathBuf,
}

impl Fences {
    /// Those of the node with this data directory.
    pub(super) fn new(data: &Path) -> io::Result<Self> {
        let own = data.join("fences");
        fs::create_dir_all(&own)?;
        let metadata = fs::metadata(data)?;
        let elsewhere = Path::new(ELSEWHERE).join(format!("{:x}-{:x}", metadata.dev(), metadata.ino()));
        Ok(Self { own, elsewhere })
    }

    /// Where files may be.
    pub(super) fn directories(&self) -> [&Path; 2] {
        [&self.own, &self.elsewhere]
    }

    /// Removes what an earlier node left elsewhere, where nobody else would, and what nobody needs any more.
    pub(super) fn clear(&self) {
        self.directories().into_iter().for_each(states::clear);
        for entry in fs::read_dir(&self.elsewhere).into_iter().flatten().flatten() {
            let _ = fs::remove_file(entry.path());
        }
        let _ = fs::remove_dir(&self.elsewhere);
        let _ = fs::remove_dir(ELSEWHERE);
    }

    /// Writes the file of a new activation, to be read by `reader`, or else by the node's own user. The error is one sentence.
    pub(super) fn create(&self, id: &str, fence: &str, reader: Option<&Account>) -> Result<FenceFile, String> {
        let reader = reader.filter(|reader| geteuid().is_root() && !reader.uid.is_root());
        let directory = if reader.is_some() { &self.elsewhere } else { &self.own };
        let path = directory.join(format!("{id}.fence"));
        let file = FenceFile { path, reader: reader.cloned() };
        let mut tries = 0;
        loop {
            tries += 1;
            let written = file.make_directory().and_then(|()| file.write(fence));
            match written {
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES_MAX => {}
                Err(error) => return Err(format!("cannot write the fence file {}: {error}", file.path.display())),
                Ok(()) => return Ok(file),
            }
        }
    }
}

/// The file that holds an activation's present fence; removed when the activation is over.
pub(super) struct FenceFile {
    path: PathBuf,
    /// Who else than the node reads it.
    reader: Option<Account>,
}

impl FenceFile {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the reader may look for more than this file, while it is there.
    pub(super) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    fn make_directory(&self) -> io::Result<()> {
        match (&self.reader, self.path.parent()) {
            (Some(_), Some(directory)) => DirBuilder::new().recursive(true).mode(0o711).create(directory),
            _ => Ok(()),
        }
    }

    /// Replaces the file whole: a reader sees the old fence or the new one, never a part.
    pub(super) fn write(&self, fence: &str) -> io::Result<()> {
        let next = self.path.with_extension("tmp");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        io::Write::write_all(&mut file, fence.as_bytes())?;
        if let Some(Account { uid, gid, .. }) = &self.reader {
            chown(&next, Some(uid.as_raw()), Some(gid.as_raw()))?;
        }
        fs::rename(&next, &self.path)
    }
}

impl Drop for FenceFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        if let (Some(_), Some(directory)) = (&self.reader, self.path.parent()) {
            let _ = fs::remove_dir(directory);
            let _ = fs::remove_dir(ELSEWHERE);
        }
    }
}
