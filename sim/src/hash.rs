//! The hash of a run: fast, and the same on every machine, in every build and with every number of threads.
//!
//! Values are taken by their structure (`Hash`), not by their text. Integers go in by value, lengths and discriminants as
//! 64 bits, bytes in little-endian words, so that nothing depends on the width or the byte order of the machine.
//!
//! Source: the folded multiply and the secrets of wyhash (Wang Yi, final version 4), as a running state: it finds
//! differences between runs and is no match for somebody who looks for collisions.

use std::hash::Hasher;

const SECRETS: [u64; 3] = [0x2d35_8dcc_aa6c_78a5, 0x8bb8_4b93_962e_acc9, 0x4b33_a62e_d433_d4a3];

/// The running hash.
#[derive(Debug, Clone)]
pub struct RunHasher(u64);

impl RunHasher {
    /// A hasher for one purpose.
    pub fn new(purpose: u64) -> Self {
        Self(fold(purpose ^ SECRETS[2], SECRETS[0]))
    }

    #[inline(always)]
    fn take(&mut self, one: u64, other: u64) {
        self.0 = fold(one ^ SECRETS[0], other ^ self.0);
    }
}

/// Both halves of the product, as one.
#[inline(always)]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Up to eight bytes as a number.
#[inline(always)]
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

impl Hasher for RunHasher {
    fn finish(&self) -> u64 {
        fold(self.0 ^ SECRETS[1], SECRETS[2])
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (pairs, rest) = bytes.as_chunks::<16>();
        for pair in pairs {
            self.take(word(&pair[..8]), word(&pair[8..]));
        }
        let (first, second) = rest.split_at(rest.len().min(8));
        // The length tells a short rest from one with zeros behind it.
        self.take(word(first) ^ SECRETS[1], word(second) ^ (rest.len() as u64).rotate_right(4));
    }

    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    #[inline]
    fn write_u16(&mut self, number: u16) {
        self.write_u64(u64::from(number));
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.take(number, SECRETS[1]);
    }

    #[inline]
    fn write_u128(&mut self, number: u128) {
        self.take(number as u64, (number >> 64) as u64);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    #[inline]
    fn write_i8(&mut self, number: i8) {
        self.write_i64(i64::from(number));
    }

    #[inline]
    fn write_i16(&mut self, number: i16) {
        self.write_i64(i64::from(number));
    }

    #[inline]
    fn write_i32(&mut self, number: i32) {
        self.write_i64(i64::from(number));
    }

    #[inline]
    fn write_i64(&mut self, number: i64) {
        self.write_u64(number.cast_unsigned());
    }

    #[inline]
    fn write_i128(&mut self, number: i128) {
        self.write_u128(number.cast_unsigned());
    }

    #[inline]
    fn write_isize(&mut self, number: isize) {
        self.write_i64(number as i64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::hash::Hash;

    use super::*;

    fn hash(value: impl Hash) -> u64 {
        let mut hasher = RunHasher::new(1);
        value.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn golden_hashes() {
        // A change here changes the digest of every run; digests are compared between machines and builds.
        let all = (1u8, 2u16, 3u32, 4u64, 5usize, -6i64, "seven", [8u64, 9], Some(()), Option::<()>::None);
        assert_eq!(hash(all), GOLDEN);
    }

    const GOLDEN: u64 = 0x89e1_6fa7_6fbe_32c3;

    #[test]
    fn small_differences_make_different_hashes() {
        let mut seen = BTreeSet::new();
        let zeros = [0u8; 64];
        for len in 0..zeros.len() {
            assert!(seen.insert(hash(&zeros[..len])));
            for at in 0..len {
                let mut bytes = zeros[..len].to_vec();
                bytes[at] = 1;
                assert!(seen.insert(hash(bytes)));
            }
        }
        for one in 0..200u64 {
            for other in 0..200u64 {
                assert!(seen.insert(hash((one, other))));
            }
        }
    }
}
