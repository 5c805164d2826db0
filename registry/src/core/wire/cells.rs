//! What events are written with: numbers that are short where they are small or near the one before, nodes by their place
//! in a list of the message, text, and MessagePack for what is rare. Reading is total.

use std::fmt;

use ordu_transport::core::{NodeId, codec};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bits of a number in each byte but the tenth; the highest bit says that more follow.
const NUMBER_BITS: u32 = 7;
const MORE: u8 = 1 << NUMBER_BITS;

/// Numbers that tend to lie near the last one of their kind, and are written as the difference to it.
#[derive(Debug, Clone, Copy)]
pub enum Near {
    /// The counter of a dot.
    Counter,
    /// The serial of a process.
    Serial,
    /// A stamp.
    Stamp,
    /// The counter of another dot.
    Other,
    /// A time of a wall clock.
    Time,
}

const NEAR: usize = 5;

/// Why bytes are no events. The peer is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Malformed(String);

impl Malformed {
    /// With what is wrong.
    pub fn new(why: impl fmt::Display) -> Self {
        Self(codec::reason(&why))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

/// Writes what [`Reader`] reads.
#[derive(Debug, Default)]
pub struct Writer<'a> {
    bytes: Vec<u8>,
    nodes: Vec<&'a NodeId>,
    /// The place of the one that was named last.
    last_node: usize,
    last: [u64; NEAR],
}

impl<'a> Writer<'a> {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// The nodes that were named, in the order of their places, and what was written.
    pub(super) fn finish(self) -> (Vec<&'a NodeId>, Vec<u8>) {
        (self.nodes, self.bytes)
    }

    /// A byte.
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// A number, in one to ten bytes, the lowest bits first: LEB128.
    pub fn number(&mut self, mut number: u64) {
        while number >= u64::from(MORE) {
            self.bytes.push(number as u8 | MORE);
            number >>= NUMBER_BITS;
        }
        self.bytes.push(number as u8);
    }

    /// A number, as the difference to the last of its kind, whose lowest bit is the sign.
    pub fn near(&mut self, kind: Near, number: u64) {
        let by = number.wrapping_sub(self.last[kind as usize]);
        self.last[kind as usize] = number;
        self.number((by << 1) ^ (by.cast_signed() >> (u64::BITS - 1)).cast_unsigned());
    }

    /// Bytes, after their number.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// A node, as a place in the list of those that the message names; they are few, and mostly the same one as before.
    pub fn node(&mut self, node: &'a NodeId) {
        if self.nodes.get(self.last_node) != Some(&node) {
            self.last_node = self.nodes.iter().position(|of| *of == node).unwrap_or(self.nodes.len());
            if self.last_node == self.nodes.len() {
                self.nodes.push(node);
            }
        }
        self.number(self.last_node as u64);
    }

    /// Anything, as MessagePack, after the number of its bytes.
    pub fn message_pack<T: Serialize>(&mut self, what: &T) {
        let from = self.bytes.len();
        codec::pack(what, &mut self.bytes);
        let to = self.bytes.len();
        self.number((to - from) as u64);
        let number_bytes = self.bytes.len() - to;
        self.bytes[from..].rotate_right(number_bytes);
    }
}

/// Reads what [`Writer`] wrote, and never further than it goes.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    nodes: &'a [NodeId],
    last: [u64; NEAR],
}

impl<'a> Reader<'a> {
    pub(super) fn new(nodes: &'a [NodeId], bytes: &'a [u8]) -> Self {
        Self { bytes, nodes, last: [0; NEAR] }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// See [`Writer::byte`].
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let (&byte, rest) = self.bytes.split_first().ok_or_else(ends)?;
        self.bytes = rest;
        Ok(byte)
    }

    /// See [`Writer::number`].
    pub fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(NUMBER_BITS as usize) {
            let byte = self.byte()?;
            let bits = u64::from(byte & !MORE);
            number |= bits << shift;
            if bits << shift >> shift != bits {
                break;
            }
            if byte < MORE {
                return Ok(number);
            }
        }
        Err(Malformed::new("a number has more than 64 bits"))
    }

    /// See [`Writer::near`].
    pub fn near(&mut self, kind: Near) -> Result<u64, Malformed> {
        let number = self.number()?;
        let by = (number >> 1) ^ (number & 1).wrapping_neg();
        let last = &mut self.last[kind as usize];
        *last = last.wrapping_add(by);
        Ok(*last)
    }

    /// See [`Writer::bytes`].
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.number()?).map_err(|_| ends())?;
        let (bytes, rest) = self.bytes.split_at_checked(len).ok_or_else(ends)?;
        self.bytes = rest;
        Ok(bytes)
    }

    /// Bytes that are text.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(Malformed::new)
    }

    /// See [`Writer::node`].
    pub fn node(&mut self) -> Result<&'a NodeId, Malformed> {
        let place = self.number()?;
        let node = usize::try_from(place).ok().and_then(|place| self.nodes.get(place));
        node.ok_or_else(|| Malformed::new(format_args!("node {place} of {}", self.nodes.len())))
    }

    /// See [`Writer::message_pack`].
    pub fn message_pack<T: DeserializeOwned>(&mut self) -> Result<T, Malformed> {
        codec::unpack(self.bytes()?).map_err(Malformed::new)
    }
}

fn ends() -> Malformed {
    Malformed::new("it ends too early")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_bytes() {
        let mut to = Writer::default();
        [0, 127, 128, 300].into_iter().for_each(|number| to.number(number));
        [10, 11, 9, 0].into_iter().for_each(|number| to.near(Near::Serial, number));
        to.near(Near::Stamp, 3);
        to.bytes(b"abc");
        to.message_pack(&(7u8, "d"));
        let (_, bytes) = to.finish();
        assert_eq!(bytes, b"\x00\x7f\x80\x01\xac\x02\x14\x02\x03\x11\x06\x03abc\x04\x92\x07\xa1d");
    }

    #[test]
    fn numbers_beyond_64_bits_and_early_ends_are_refused() {
        let number = |bytes: &[u8]| Reader::new(&[], bytes).number().map_err(|error| error.to_string());
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), Ok(u64::MAX));
        for long in [&b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"[..], &[0x80; 11]] {
            assert_eq!(number(long), Err("a number has more than 64 bits".into()));
        }
        assert_eq!(number(b"\xff"), Err("it ends too early".into()));
        assert!(Reader::new(&[], b"\x05abcd").bytes().is_err());
        assert!(Reader::new(&[], b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").bytes().is_err());
        assert!(Reader::new(&[], b"\x02\xc3\x28").text().is_err());
        assert!(Reader::new(&[], b"\x00").node().is_err());
        assert!(Reader::new(&[], b"\x02\x07\x07").message_pack::<u8>().is_err());
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(numbers: Vec<u64>, near: Vec<u64>, bytes: Vec<u8>, packed: Vec<u32>) {
            let mut to = Writer::default();
            numbers.iter().for_each(|number| to.number(*number));
            near.iter().for_each(|number| to.near(Near::Counter, *number));
            to.bytes(&bytes);
            to.message_pack(&packed);
            let (_, written) = to.finish();
            let mut from = Reader::new(&[], &written);
            for number in numbers {
                prop_assert_eq!(from.number(), Ok(number));
            }
            for number in near {
                prop_assert_eq!(from.near(Near::Counter), Ok(number));
            }
            prop_assert_eq!(from.bytes(), Ok(&bytes[..]));
            prop_assert_eq!(from.message_pack::<Vec<u32>>(), Ok(packed));
            prop_assert!(from.is_empty());
        }
    }
}
