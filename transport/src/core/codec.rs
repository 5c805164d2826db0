//! Frames to bytes and back: rmp-serde inside one versioned envelope.
//!
//! An envelope is five bytes (kind, version, feature bits in two bytes big-endian, a zero) and a compact MessagePack body.
//! Decoding is total: whatever the bytes, it returns a value or an error, reads no further than the frame, refuses
//! trailing bytes and nesting beyond [`DEPTH_MAX`], and allocates in proportion to the bytes that are there, whatever
//! lengths they claim.

use std::fmt::{self, Write};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Longest frame that is sent or read, in bytes, envelope included.
pub const FRAME_BYTES_MAX: usize = 4 << 20;
/// Deepest nesting of a body.
pub const DEPTH_MAX: usize = 64;
/// Version of the bodies below; another one is refused.
pub const VERSION: u8 = 3;

const HEADER_BYTES: usize = 5;
/// Longest explanation of what is wrong with a body, in bytes: a peer's own bytes may be part of it.
const REASON_BYTES_MAX: usize = 200;
/// Room for most frames, so that encoding one does not move it again and again.
const USUAL_BYTES: usize = 256;

/// What a frame's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The first words of a session.
    Hello = b'H',
    /// Membership.
    Membership = b'M',
    /// A message between registries, or between supervisors.
    Replication = b'R',
    /// The first words of a request between two members.
    Request = b'Q',
    /// The first words of its answer.
    Response = b'A',
}

/// Why bytes are not a frame. The peer is at fault; nothing of ours changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than an envelope.
    #[error("the frame of {0} bytes is shorter than its envelope")]
    Short(usize),
    /// Longer than [`FRAME_BYTES_MAX`].
    #[error("the frame of {0} bytes is longer than {FRAME_BYTES_MAX}")]
    Long(usize),
    /// Another kind than the place where it arrived takes.
    #[error("the frame is of kind {0:#04x}, not {1:?}")]
    Kind(u8, Kind),
    /// A version that this build does not speak.
    #[error("the frame is of version {0}, this node speaks {VERSION}")]
    Version(u8),
    /// Feature bits that this build does not know.
    #[error("the frame asks for unknown features {0:#06x}")]
    Features(u16),
    /// The body is not what its kind says.
    #[error("the frame's body is malformed: {0}")]
    Body(String),
    /// Bytes after the body.
    #[error("bytes follow the frame's body")]
    Trailing,
}

/// Encodes one frame.
///
/// # Panics
/// Never for types whose `Serialize` does not fail; ours do not.
pub fn encode<T: Serialize>(kind: Kind, body: &T) -> Bytes {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.extend([kind as u8, VERSION, 0, 0, 0]);
    pack(body, &mut bytes);
    bytes.into()
}

/// Appends a body without an envelope.
///
/// # Panics
/// As [`encode`].
pub fn pack<T: Serialize>(body: &T, to: &mut Vec<u8>) {
    rmp_serde::encode::write(to, body).expect("encoding our own types into memory cannot fail");
}

/// Decodes one frame that must be of `kind`.
pub fn decode<T: DeserializeOwned>(kind: Kind, frame: &[u8]) -> Result<T, DecodeError> {
    if frame.len() > FRAME_BYTES_MAX {
        return Err(DecodeError::Long(frame.len()));
    }
    let Some((header, body)) = frame.split_at_checked(HEADER_BYTES) else {
        return Err(DecodeError::Short(frame.len()));
    };
    if header[0] != kind as u8 {
        return Err(DecodeError::Kind(header[0], kind));
    }
    if header[1] != VERSION {
        return Err(DecodeError::Version(header[1]));
    }
    let features = u16::from_be_bytes([header[2], header[3]]);
    if features != 0 || header[4] != 0 {
        return Err(DecodeError::Features(features));
    }
    unpack(body)
}

/// Decodes a body without an envelope, all of these bytes.
pub fn unpack<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(body);
    reader.set_max_depth(DEPTH_MAX);
    let value = T::deserialize(&mut reader).map_err(|error| DecodeError::Body(reason(&error)))?;
    // The reader does not tell its position, but a further read fails on its first byte exactly when none is left.
    match <()>::deserialize(&mut reader) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        Ok(()) | Err(_) => Err(DecodeError::Trailing),
    }
}

/// An explanation as text, cut off where it is too long.
pub fn reason(error: &impl fmt::Display) -> String {
    struct Cut(String);

    impl fmt::Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = REASON_BYTES_MAX - self.0.len();
            if text.len() <= room {
                self.0.push_str(text);
                return Ok(());
            }
            self.0.push_str(&text[..text.floor_char_boundary(room)]);
            Err(fmt::Error)
        }
    }

    let mut cut = Cut(String::new());
    if write!(cut, "{error}").is_err() {
        cut.0.push_str("...");
    }
    cut.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_is_short_whatever_it_quotes() {
        let frame = encode(Kind::Hello, &"\u{e9}".repeat(1 << 20));
        let Err(DecodeError::Body(reason)) = decode::<Vec<u8>>(Kind::Hello, &frame) else { panic!("it is no list") };
        assert!(reason.len() <= REASON_BYTES_MAX + 3, "{}", reason.len());
        assert!(reason.contains("invalid type") && reason.ends_with("..."), "{reason}");
    }

    #[test]
    fn golden_bytes() {
        let frame = encode(Kind::Replication, &(7u8, "abc", [1u64, 300]));
        assert_eq!(&frame[..], b"R\x03\0\0\0\x93\x07\xa3abc\x92\x01\xcd\x01\x2c");
        assert_eq!(decode::<(u8, String, [u64; 2])>(Kind::Replication, &frame), Ok((7, "abc".into(), [1, 300])));
    }

    #[test]
    fn a_frame_that_is_not_ours_is_refused() {
        let good = encode(Kind::Hello, &5u8).to_vec();
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            decode::<u8>(Kind::Hello, &bytes)
        };
        assert_eq!(changed(0, b'M'), Err(DecodeError::Kind(b'M', Kind::Hello)));
        assert_eq!(changed(1, 9), Err(DecodeError::Version(9)));
        assert_eq!(changed(3, 1), Err(DecodeError::Features(1)));
        assert!(matches!(changed(5, 0xc1), Err(DecodeError::Body(_))));
        assert_eq!(decode::<u8>(Kind::Hello, &good[..4]), Err(DecodeError::Short(4)));
        for trailing in [0xc0, 0xc1, 0x91, 0x00] {
            assert_eq!(decode::<u8>(Kind::Hello, &[&good[..], &[trailing]].concat()), Err(DecodeError::Trailing));
        }
        assert_eq!(
            decode::<u8>(Kind::Hello, &vec![0; FRAME_BYTES_MAX + 1]),
            Err(DecodeError::Long(FRAME_BYTES_MAX + 1))
        );
    }

    #[test]
    fn lying_lengths_allocate_nothing() {
        for body in
            [&[0xdd, 0xff, 0xff, 0xff, 0xff][..], &[0xc6, 0xff, 0xff, 0xff, 0xff], &[0xdb, 0xff, 0xff, 0xff, 0xff]]
        {
            let frame = [&b"R\x03\0\0\0"[..], body].concat();
            assert!(decode::<Vec<u64>>(Kind::Replication, &frame).is_err());
            assert!(decode::<String>(Kind::Replication, &frame).is_err());
        }
    }
}
