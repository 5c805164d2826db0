//! The file in a node's data directory that says what should run.

use std::path::Path;

use ordu_supervisor::{Store, StoreError};

use crate::data::DataDirectory;
use crate::failure::Failure;

/// Its name in the data directory.
const FILE: &str = "children.redb";

/// Opens a node's file, or makes it. A node that keeps nothing has none.
///
/// # Errors
/// Exit 2, if it cannot be used; it is as it was then.
pub(crate) fn open(data: &DataDirectory) -> Result<Option<Store>, Failure> {
    if data.is_ephemeral() {
        return Ok(None);
    }
    let file = data.path().join(FILE);
    open_quietly(&file).map(Some).map_err(|error| cannot(&file, &error))
}

/// What a damaged file may lead to in the database's code is an error, and no panic.
fn open_quietly(file: &Path) -> Result<Store, StoreError> {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let opened = std::panic::catch_unwind(|| Store::open(file));
    std::panic::set_hook(tell);
    opened.unwrap_or_else(|_| Err(StoreError::Damaged("the database cannot make sense of it".to_owned())))
}

fn cannot(file: &Path, error: &StoreError) -> Failure {
    let file = file.display();
    let what_to_do = match error {
        StoreError::Damaged(_) => format!(
            "; the other nodes know what should run: move it away (mv {file} {file}.damaged), start again, and this node \
             gets all from them"
        ),
        StoreError::Format { .. } => "; start the version of ordu that wrote it".to_owned(),
        StoreError::Io(_) | StoreError::InUse => String::new(),
    };
    Failure::usage(format!("{file}: {error}{what_to_do}"))
}
