//! Facts that a program keeps with its registry: small values by key, on this node alone.
//!
//! They are not replicated. Claims belong to the node that runs their process and go with it; a fact that anybody may
//! replace and that outlives its writer is of another kind, which the tables of names have no room for. What all nodes shall
//! see is a name's value, or a group's.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::registry::Registry;

/// Most facts.
pub const META_KEYS_MAX: usize = 4096;
/// Longest key and value together, in bytes.
pub const META_BYTES_MAX: usize = 64 << 10;

/// Why a fact was not kept. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// There are [`META_KEYS_MAX`] facts already.
    #[error("there are {META_KEYS_MAX} facts already")]
    TooMany,
    /// Key and value have more than [`META_BYTES_MAX`] bytes.
    #[error("key and value have more than {META_BYTES_MAX} bytes")]
    TooLong,
}

/// The facts of one node.
#[derive(Debug, Default)]
pub(crate) struct Meta(Mutex<BTreeMap<String, Bytes>>);

impl Meta {
    fn facts(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, key: &str, value: Bytes) -> Result<Option<Bytes>, MetaError> {
        if key.len() + value.len() > META_BYTES_MAX {
            return Err(MetaError::TooLong);
        }
        let mut facts = self.facts();
        if facts.len() >= META_KEYS_MAX && !facts.contains_key(key) {
            return Err(MetaError::TooMany);
        }
        Ok(facts.insert(key.to_owned(), value))
    }
}

impl Registry {
    /// Keeps a fact under a key, for whoever has a handle of this node's registry; other nodes do not see it. Returns what
    /// was there before.
    ///
    /// ```no_run
    /// # use ordu_registry::Registry;
    /// # fn example(registry: &Registry) -> Result<(), Box<dyn std::error::Error>> {
    /// registry.put_meta("naming", "workers/{number}")?;
    /// assert_eq!(registry.meta("naming").as_deref(), Some(&b"workers/{number}"[..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`MetaError`]; nothing changed.
    pub fn put_meta(&self, key: &str, value: impl Into<Bytes>) -> Result<Option<Bytes>, MetaError> {
        self.local().meta.put(key, value.into())
    }

    /// The fact under a key of this node.
    pub fn meta(&self, key: &str) -> Option<Bytes> {
        self.local().meta.facts().get(key).cloned()
    }

    /// Forgets a fact. Returns it.
    pub fn delete_meta(&self, key: &str) -> Option<Bytes> {
        self.local().meta.facts().remove(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_few_and_small() {
        let meta = Meta::default();
        assert_eq!(meta.put("a", Bytes::from("1")), Ok(None));
        assert_eq!(meta.put("a", Bytes::from("2")), Ok(Some(Bytes::from("1"))));
        assert_eq!(meta.put("a", vec![0; META_BYTES_MAX].into()), Err(MetaError::TooLong));
        for number in 1..META_KEYS_MAX {
            assert_eq!(meta.put(&number.to_string(), Bytes::new()), Ok(None));
        }
        assert_eq!(meta.put("b", Bytes::new()), Err(MetaError::TooMany));
        assert_eq!(meta.put("a", Bytes::from("3")), Ok(Some(Bytes::from("2"))));
    }
}
