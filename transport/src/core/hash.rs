//! Hashes that are the same on every machine and in every build: digests and placement are compared between nodes.

use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

use super::id::NodeId;

/// A 64-bit SipHash-1-3 under a fixed key, chosen by what is hashed for.
#[derive(Debug, Clone)]
pub struct StableHasher(SipHasher13);

impl StableHasher {
    /// A hasher for one purpose; different purposes give unrelated hashes.
    pub fn new(purpose: u64) -> Self {
        Self(SipHasher13::new_with_keys(0x6f72_6475, purpose))
    }

    /// Takes bytes, their length included.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.write(&(bytes.len() as u64).to_le_bytes());
        self.0.write(bytes);
        self
    }

    /// Takes a number.
    pub fn number(mut self, number: u64) -> Self {
        self.0.write(&number.to_le_bytes());
        self
    }

    /// Takes an identity.
    pub fn node(self, id: &NodeId) -> Self {
        self.bytes(id.name.as_str().as_bytes()).number(id.boot).number(id.nonce)
    }

    /// The hash.
    pub fn finish(&self) -> u64 {
        self.0.finish()
    }
}

impl Hasher for StableHasher {
    fn finish(&self) -> u64 {
        self.0.finish()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }
}

/// The stable hash of any value whose `Hash` is itself stable across machines (no `usize` lengths of 32-bit targets).
pub fn stable_hash<T: Hash + ?Sized>(purpose: u64, value: &T) -> u64 {
    let mut hasher = StableHasher::new(purpose);
    value.hash(&mut hasher);
    hasher.finish()
}
