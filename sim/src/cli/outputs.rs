//! The files that a command writes: opened before anything is played, so that a wrong path costs nothing, and never at
//! the expense of another file of the same command.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// A file that will be written.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

/// Opens the files that are wanted. What is in them stays until all could be opened, and is gone then.
///
/// # Errors
/// If two of them are one file, if one is the file that is read, or if one cannot be written.
pub(super) fn open<const N: usize>(
    read: Option<&Path>,
    wanted: [Option<PathBuf>; N],
) -> anyhow::Result<[Option<Output>; N]> {
    let mut taken: Vec<PathBuf> = read.map(place).into_iter().collect();
    for path in wanted.iter().flatten() {
        let place = place(path);
        if taken.contains(&place) {
            bail!("{} would be written over what this command reads or writes there as well", path.display());
        }
        // A device, or a pipe, holds nothing that could be lost.
        if !place.exists() || place.is_file() {
            taken.push(place);
        }
    }
    let mut opened = wanted
        .map(|path| path.map(|path| (OpenOptions::new().create(true).truncate(false).write(true).open(&path), path)));
    for (file, path) in opened.iter_mut().flatten() {
        if let Err(error) = file {
            let error = std::mem::replace(error, std::io::ErrorKind::Other.into());
            return Err(error).with_context(|| format!("cannot write {}", path.display()));
        }
    }
    let outputs = opened.map(|one| one.and_then(|(file, path)| Some(Output { path, file: file.ok()? })));
    for Output { path, file } in outputs.iter().flatten() {
        if path.is_file() {
            file.set_len(0).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(outputs)
}

/// Where a path leads, also if there is nothing yet.
fn place(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = || Some(parent.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(new).unwrap_or_else(|| path.to_owned())
}

/// A file of this name that was not there before; a number is added where there is one.
///
/// # Errors
/// If none can be made.
pub(super) fn create_new(stem: &str, extension: &str) -> std::io::Result<(String, File)> {
    let mut number = 1_u32;
    loop {
        let path = if number == 1 { format!("{stem}.{extension}") } else { format!("{stem}-{number}.{extension}") };
        match File::create_new(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && number < 10_000 => number += 1,
            other => return other.map(|file| (path, file)),
        }
    }
}
