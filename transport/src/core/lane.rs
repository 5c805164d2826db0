//! Lanes: the separate streams of a session, so that bulk never delays what is small and urgent.

/// One of the streams of a session. Frames of one lane arrive in order while the session lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Lane {
    /// Requests from node to node.
    Control = b'c',
    /// Small deltas, their acknowledgements and digests.
    Delta = b'd',
    /// Answers to pulls and whole states.
    Bulk = b'b',
}

impl Lane {
    /// Every lane.
    pub const ALL: [Lane; 3] = [Lane::Control, Lane::Delta, Lane::Bulk];

    /// The lane of a tag byte.
    pub fn from_tag(tag: u8) -> Option<Lane> {
        Self::ALL.into_iter().find(|&lane| lane as u8 == tag)
    }
}
