//! What should run, on a disk: a file that holds what the core wants kept, and a thread that writes it.
//!
//! The file is a [`redb`] database: a write is there whole or not at all, whenever the machine stops. Each record has a
//! checksum of its own, and the file the version of its format.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Weak, mpsc};
use std::time::Duration;

use ordu_registry::core::saved::{self, Damaged, Saved};
use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use crate::core::{Input, Stored};
use crate::supervisor::{Inner, Supervisor};

/// The version of the format that this software writes; it reads no other.
const FORMAT: u32 = 2;
/// How long after a write that failed the next one is tried.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How much of the file is kept in memory.
const CACHE_BYTES: usize = 16 << 20;

/// The bytes of a key and of its record.
type Entry = (Vec<u8>, Vec<u8>);
type Records = TableDefinition<'static, &'static [u8], &'static [u8]>;

const ABOUT: Records = TableDefinition::new("about");
const DESIRED: Records = TableDefinition::new("desired");
const MARKS: Records = TableDefinition::new("marks");

const FORMAT_KEY: &[u8] = b"format";
const CLOCK_KEY: &[u8] = b"clock";
const SAVES_KEY: &[u8] = b"saves";
const DESIRED_KEY: &[u8] = b"desired";
const MARKS_KEY: &[u8] = b"marks";

/// Why a file cannot be used. Nothing of it was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened, read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Another process has it open.
    #[error("another process uses it")]
    InUse,
    /// It is no such file, or something has changed it.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It was written by another version of the software.
    #[error("its format is {found}, and this version reads {FORMAT}")]
    Format {
        /// What it says.
        found: u32,
    },
}

/// A node's file, and what it held when it was opened.
#[derive(Debug)]
pub struct Store {
    file: PathBuf,
    database: Option<Database>,
    stored: Stored,
    /// How many saves the file has.
    saves: u64,
}

impl Store {
    /// Opens a file, or makes it, and reads it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        let database = open(file)?;
        let (stored, saves) = read(&database)?;
        Ok(Self { file: file.to_owned(), database: Some(database), stored, saves })
    }

    /// How many children the file says should run.
    pub fn children(&self) -> usize {
        self.stored.desired.as_ref().map_or(0, |desired| desired.keys.len())
    }

    /// What the file held.
    pub(crate) fn take(&mut self) -> Stored {
        std::mem::take(&mut self.stored)
    }

    /// Puts changes on the disk. After an error all of them may be there or none, the same are to be put again, and the file is
    /// opened anew for that.
    fn save(&mut self, stored: &Stored) -> Result<(), StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => self.open_again()?,
        };
        write(&database, stored, self.saves + 1)?;
        (self.database, self.saves) = (Some(database), self.saves + 1);
        Ok(())
    }

    /// Opens the file after a write that failed, which it may have or not. Changes belong to what it held: to another file
    /// they would say that what it lacks is gone.
    fn open_again(&self) -> Result<Database, StoreError> {
        let database = open(&self.file)?;
        let saves = read(&database)?.1;
        match saves == self.saves || saves == self.saves + 1 {
            true => Ok(database),
            false => Err(StoreError::Damaged("it is another file than the one that was written".to_owned())),
        }
    }
}

fn open(file: &Path) -> Result<Database, StoreError> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(file)?;
    let database = FileBackend::new(opened)
        .and_then(|backend| Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend));
    database.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse,
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() != io::ErrorKind::InvalidData => error.into(),
        error => StoreError::Damaged(error.to_string()),
    })
}

/// The error of a database that is open.
fn failed(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Io(error) => error.into(),
        error => StoreError::Damaged(error.to_string()),
    }
}

impl From<Damaged> for StoreError {
    fn from(error: Damaged) -> Self {
        Self::Damaged(error.to_string())
    }
}

fn read(database: &Database) -> Result<(Stored, u64), StoreError> {
    let transaction = database.begin_read().map_err(failed)?;
    let about = match transaction.open_table(ABOUT) {
        Ok(about) => about,
        // Nothing was ever saved.
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok((Stored::default(), 0)),
        Err(error) => return Err(failed(error)),
    };
    let record = |key: &[u8]| -> Result<Option<Vec<u8>>, StoreError> {
        Ok(about.get(key).map_err(failed)?.map(|record| record.value().to_owned()))
    };
    let missing = || StoreError::Damaged("it lacks a record".to_owned());
    let found: u32 = saved::unseal(FORMAT_KEY, &record(FORMAT_KEY)?.ok_or_else(missing)?)?;
    if found != FORMAT {
        return Err(StoreError::Format { found });
    }
    let clock = saved::unseal(CLOCK_KEY, &record(CLOCK_KEY)?.ok_or_else(missing)?)?;
    let saves = saved::unseal(SAVES_KEY, &record(SAVES_KEY)?.ok_or_else(missing)?)?;
    let all = |table: Records| -> Result<Vec<Entry>, StoreError> {
        let mut all = Vec::new();
        for entry in transaction.open_table(table).map_err(failed)?.iter().map_err(failed)? {
            let (key, value) = entry.map_err(failed)?;
            all.push((key.value().to_owned(), value.value().to_owned()));
        }
        Ok(all)
    };
    let desired = match record(DESIRED_KEY)? {
        Some(seen) => Some(Saved::from_records(DESIRED_KEY, &seen, all(DESIRED)?.into_iter())?),
        None => None,
    };
    let marks = match record(MARKS_KEY)? {
        Some(seen) => Some(Saved::from_records(MARKS_KEY, &seen, all(MARKS)?.into_iter())?),
        None => None,
    };
    Ok((Stored { desired, marks, clock }, saves))
}

fn write(database: &Database, stored: &Stored, saves: u64) -> Result<(), StoreError> {
    let transaction = database.begin_write().map_err(failed)?;
    {
        let mut about = transaction.open_table(ABOUT).map_err(failed)?;
        let mut put = |key: &'static [u8], record: Vec<u8>| about.insert(key, &record[..]).map(drop).map_err(failed);
        put(FORMAT_KEY, saved::seal(FORMAT_KEY, &FORMAT))?;
        put(SAVES_KEY, saved::seal(SAVES_KEY, &saves))?;
        put(CLOCK_KEY, saved::seal(CLOCK_KEY, &stored.clock))?;
        let desired = stored.desired.iter().flat_map(Saved::records);
        write_records(&transaction, DESIRED, desired)?;
        let marks = stored.marks.iter().flat_map(Saved::records);
        write_records(&transaction, MARKS, marks)?;
        if let Some(desired) = &stored.desired {
            put(DESIRED_KEY, desired.seen_record(DESIRED_KEY))?;
        }
        if let Some(marks) = &stored.marks {
            put(MARKS_KEY, marks.seen_record(MARKS_KEY))?;
        }
    }
    transaction.commit().map_err(failed)
}

fn write_records(
    transaction: &redb::WriteTransaction,
    table: Records,
    records: impl Iterator<Item = saved::Record>,
) -> Result<(), StoreError> {
    let mut table = transaction.open_table(table).map_err(failed)?;
    for (key, record) in records {
        match record {
            Some(record) => drop(table.insert(&key[..], &record[..]).map_err(failed)?),
            None => drop(table.remove(&key[..]).map_err(failed)?),
        }
    }
    Ok(())
}

/// What the core wants kept, on its way to the thread that writes it. The core waits for each before it sends the next.
pub(crate) type Saves = mpsc::SyncSender<(u64, Box<Stored>)>;

/// Begins the thread that writes a node's file. It ends with the node's core.
pub(crate) fn begin(mut store: Store, node: Weak<Inner>) -> io::Result<Saves> {
    let (saves, wanted) = mpsc::sync_channel::<(u64, Box<Stored>)>(1);
    std::thread::Builder::new().name("ordu-store".into()).spawn(move || {
        for (number, stored) in wanted {
            let mut told = false;
            while let Err(error) = store.save(&stored) {
                // Without it nobody is told that anything was accepted; what runs goes on.
                if !std::mem::replace(&mut told, true) {
                    tracing::error!(file = %store.file.display(), %error, "what should run cannot be saved; trying on");
                }
                std::thread::sleep(AGAIN_AFTER);
                if node.strong_count() == 0 {
                    return;
                }
            }
            if told {
                tracing::info!(file = %store.file.display(), "what should run is saved again");
            }
            match node.upgrade() {
                Some(node) => Supervisor::from(node).handle(Input::Saved { number }),
                None => return,
            }
        }
    })?;
    Ok(saves)
}

#[cfg(test)]
mod tests {
    use ordu_transport::core::Hlc;

    use super::*;

    fn stored(clock: u64) -> Stored {
        Stored { desired: Some(Saved::default()), marks: None, clock: Hlc::from_u64(clock) }
    }

    #[test]
    fn a_file_holds_what_was_saved_last() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("children");
        let mut store = Store::open(&file).unwrap();
        assert_eq!(store.take(), Stored::default());
        assert!(matches!(Store::open(&file), Err(StoreError::InUse)));
        store.save(&stored(1)).unwrap();
        store.save(&stored(2)).unwrap();
        drop(store);
        assert_eq!(Store::open(&file).unwrap().take(), stored(2));
    }

    #[test]
    fn after_an_error_changes_go_to_the_file_that_they_were_made_for_and_to_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let (file, other) = (directory.path().join("children"), directory.path().join("moved"));
        let mut store = Store::open(&file).unwrap();
        store.save(&stored(1)).unwrap();
        store.database = None;
        store.save(&stored(2)).unwrap();
        store.database = None;
        std::fs::rename(&file, &other).unwrap();
        assert!(matches!(store.save(&stored(3)), Err(StoreError::Damaged(_))));
        std::fs::rename(&other, &file).unwrap();
        store.save(&stored(3)).unwrap();
        drop(store);
        assert_eq!(Store::open(&file).unwrap().take(), stored(3));
    }

    #[test]
    fn a_file_that_lacks_what_it_says_to_hold_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("children");
        let mut store = Store::open(&file).unwrap();
        store.save(&Stored { desired: Some(Saved { events: 1, ..Saved::default() }), ..stored(1) }).unwrap();
        drop(store);
        assert!(matches!(Store::open(&file), Err(StoreError::Damaged(_))));
    }

    #[test]
    fn what_is_no_such_file_or_is_another_version_s_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("children");
        std::fs::write(&file, "something else, of some length, so that it is not taken for a new one").unwrap();
        assert!(matches!(Store::open(&file), Err(StoreError::Damaged(_))));
        std::fs::remove_file(&file).unwrap();
        let mut store = Store::open(&file).unwrap();
        store.save(&stored(1)).unwrap();
        let transaction = store.database.as_ref().unwrap().begin_write().unwrap();
        let later = saved::seal(FORMAT_KEY, &(FORMAT + 1));
        transaction.open_table(ABOUT).unwrap().insert(FORMAT_KEY, &later[..]).unwrap();
        transaction.commit().unwrap();
        drop(store);
        assert!(matches!(Store::open(&file), Err(StoreError::Format { found }) if found == FORMAT + 1));
        assert!(matches!(Store::open(Path::new("/dev/null/x")), Err(StoreError::Io(_))));
    }
}
