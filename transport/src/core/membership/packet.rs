//! Membership's datagrams: foca's own form and ours on the wire.
//!
//! foca writes both ends of a packet in full. On the wire a datagram belongs to a session, whose ends are known and
//! proven by certificates, so it carries only what the session does not say: no peer can speak for another one. A packet
//! too long for one datagram goes as several: the first keeps the message, the rest of the updates follow as gossip.
//! Decoding is total.
//!
//! Wire: version, sender's renewal, sender's incarnation, receiver's nonce and renewal, message, updates to the end.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use foca::{Header, Message, State};

use super::swim::{Identity, LEFT};
use crate::core::id::{NAME_BYTES_MAX, NodeId, NodeName};
use crate::core::view::Addr;

/// Longest datagram, in bytes: fits a QUIC datagram at the smallest MTU that QUIC allows (1,200).
pub const DATAGRAM_BYTES_MAX: usize = 1100;
/// Longest packet in foca's form, in bytes; what the wire cannot take in one datagram is split.
pub(super) const PACKET_BYTES_MAX: usize = 32 * 1024;
/// Longest address, in bytes: the longest DNS name, a colon and a port.
pub const ADDR_BYTES_MAX: usize = 260;

const VERSION: u8 = 1;

/// One record about a member, as foca knows it.
pub(super) type Update = foca::Member<Identity>;

/// Bytes that are not a packet of ours. The peer's fault; nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("malformed membership packet")]
pub(super) struct Malformed;

impl From<bytes::TryGetError> for Malformed {
    fn from(_: bytes::TryGetError) -> Self {
        Malformed
    }
}

/// A packet between foca and the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) header: Header<Identity>,
    pub(super) updates: Vec<Update>,
}

impl Packet {
    /// Reads what foca wrote.
    pub(super) fn from_foca(mut bytes: &[u8]) -> Result<Self, Malformed> {
        let header = get_header(&mut bytes)?;
        let mut updates = Vec::new();
        if bytes.has_remaining() {
            let count = bytes.try_get_u16()?;
            for _ in 0..count {
                updates.push(get_update(&mut bytes)?);
            }
        }
        if bytes.has_remaining() { Err(Malformed) } else { Ok(Self { header, updates }) }
    }

    /// Writes what foca reads. `None` if it is longer than foca takes, which a packet from the wire never is.
    pub(super) fn to_foca(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        put_header(&self.header, &mut bytes);
        if !matches!(self.header.message, Message::Announce | Message::TurnUndead) {
            bytes.put_u16(u16::try_from(self.updates.len()).ok()?);
            self.updates.iter().for_each(|update| put_update(update, &mut bytes));
        }
        (bytes.len() <= PACKET_BYTES_MAX).then_some(bytes)
    }

    /// Writes the datagrams of this packet, none longer than [`DATAGRAM_BYTES_MAX`].
    pub(super) fn to_wire(&self) -> Vec<Bytes> {
        let mut datagrams = Vec::new();
        let mut bytes = self.wire_header(&self.header.message);
        for update in &self.updates {
            let before = bytes.len();
            put_update(update, &mut bytes);
            if bytes.len() > DATAGRAM_BYTES_MAX {
                let rest = bytes.split_off(before);
                datagrams.push(Bytes::from(bytes));
                bytes = self.wire_header(&Message::Gossip);
                bytes.extend_from_slice(&rest);
            }
        }
        datagrams.push(bytes.into());
        datagrams
    }

    fn wire_header(&self, message: &Message<Identity>) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.put_u32(self.header.src.renewal);
        bytes.put_u16(self.header.src_incarnation);
        bytes.put_u64(self.header.dst.id.nonce);
        bytes.put_u32(self.header.dst.renewal);
        put_message(message, &mut bytes);
        bytes
    }

    /// Reads one datagram that came over the session with `peer`, who is dialled at `peer_addr`.
    pub(super) fn from_wire(
        mut bytes: &[u8],
        peer: &NodeId,
        peer_addr: &Addr,
        own: &Identity,
    ) -> Result<Self, Malformed> {
        if bytes.len() > DATAGRAM_BYTES_MAX || bytes.try_get_u8()? != VERSION {
            return Err(Malformed);
        }
        let src = Identity { id: peer.clone(), addr: peer_addr.clone(), renewal: bytes.try_get_u32()? };
        let src_incarnation = bytes.try_get_u16()?;
        let nonce = bytes.try_get_u64()?;
        let renewal = bytes.try_get_u32()?;
        if nonce != own.id.nonce || src.renewal == LEFT {
            return Err(Malformed);
        }
        let message = get_message(&mut bytes)?;
        // Gossip is good for whoever hears it: its writer need not know our latest renewal.
        let renewal = if message == Message::Gossip { own.renewal } else { renewal };
        let dst = Identity { renewal, ..own.clone() };
        let mut updates = Vec::new();
        while bytes.has_remaining() {
            updates.push(get_update(&mut bytes)?);
        }
        if !updates.is_empty() && matches!(message, Message::Announce | Message::TurnUndead) {
            return Err(Malformed);
        }
        Ok(Self { header: Header { src, src_incarnation, dst, message }, updates })
    }
}

/// foca's codec: everything in full. It never goes over the wire.
#[derive(Debug)]
pub(super) struct PacketCodec;

impl foca::Codec<Identity> for PacketCodec {
    type Error = Malformed;

    fn encode_header(&mut self, header: &Header<Identity>, buf: impl BufMut) -> Result<(), Malformed> {
        put_whole(buf, |bytes| put_header(header, bytes))
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Identity>, Malformed> {
        get_header(&mut buf)
    }

    fn encode_member(&mut self, member: &Update, buf: impl BufMut) -> Result<(), Malformed> {
        put_whole(buf, |bytes| put_update(member, bytes))
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Update, Malformed> {
        get_update(&mut buf)
    }
}

/// Writes all or nothing.
fn put_whole(mut buf: impl BufMut, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), Malformed> {
    let mut bytes = Vec::new();
    put(&mut bytes);
    if bytes.len() > buf.remaining_mut() {
        return Err(Malformed);
    }
    buf.put_slice(&bytes);
    Ok(())
}

fn put_header(header: &Header<Identity>, bytes: &mut Vec<u8>) {
    put_identity(&header.src, bytes);
    bytes.put_u16(header.src_incarnation);
    put_identity(&header.dst, bytes);
    put_message(&header.message, bytes);
}

fn get_header(buf: &mut impl Buf) -> Result<Header<Identity>, Malformed> {
    Ok(Header {
        src: get_identity(buf)?,
        src_incarnation: buf.try_get_u16()?,
        dst: get_identity(buf)?,
        message: get_message(buf)?,
    })
}

fn put_message(message: &Message<Identity>, bytes: &mut Vec<u8>) {
    let mut indirect = |tag: u8, identity: &Identity, probe_number: u8| {
        bytes.put_u8(tag);
        bytes.put_u8(probe_number);
        put_identity(identity, bytes);
    };
    match message {
        Message::PingReq { target, probe_number } => indirect(3, target, *probe_number),
        Message::IndirectPing { origin, probe_number } => indirect(4, origin, *probe_number),
        Message::IndirectAck { target, probe_number } => indirect(5, target, *probe_number),
        Message::ForwardedAck { origin, probe_number } => indirect(6, origin, *probe_number),
        Message::Ping(probe_number) => bytes.extend([1, *probe_number]),
        Message::Ack(probe_number) => bytes.extend([2, *probe_number]),
        Message::Announce => bytes.put_u8(7),
        Message::Feed => bytes.put_u8(8),
        Message::Gossip => bytes.put_u8(9),
        Message::Broadcast => bytes.put_u8(10),
        Message::TurnUndead => bytes.put_u8(11),
    }
}

fn get_message(buf: &mut impl Buf) -> Result<Message<Identity>, Malformed> {
    let tag = buf.try_get_u8()?;
    let probe_number = if tag <= 6 { buf.try_get_u8()? } else { 0 };
    Ok(match tag {
        1 => Message::Ping(probe_number),
        2 => Message::Ack(probe_number),
        3 => Message::PingReq { target: get_identity(buf)?, probe_number },
        4 => Message::IndirectPing { origin: get_identity(buf)?, probe_number },
        5 => Message::IndirectAck { target: get_identity(buf)?, probe_number },
        6 => Message::ForwardedAck { origin: get_identity(buf)?, probe_number },
        7 => Message::Announce,
        8 => Message::Feed,
        9 => Message::Gossip,
        11 => Message::TurnUndead,
        _ => return Err(Malformed),
    })
}

fn put_update(update: &Update, bytes: &mut Vec<u8>) {
    put_identity(update.id(), bytes);
    bytes.put_u16(update.incarnation());
    bytes.put_u8(match update.state() {
        State::Alive => 0,
        State::Suspect => 1,
        State::Down => 2,
    });
}

fn get_update(buf: &mut impl Buf) -> Result<Update, Malformed> {
    let identity = get_identity(buf)?;
    let incarnation = buf.try_get_u16()?;
    let state = match buf.try_get_u8()? {
        0 => State::Alive,
        1 => State::Suspect,
        2 => State::Down,
        _ => return Err(Malformed),
    };
    if identity.renewal == LEFT && state != State::Down {
        return Err(Malformed);
    }
    Ok(Update::new(identity, incarnation, state))
}

fn put_identity(identity: &Identity, bytes: &mut Vec<u8>) {
    put_text(identity.id.name.as_str(), bytes);
    put_varint(identity.id.boot, bytes);
    bytes.put_u64(identity.id.nonce);
    put_text(&identity.addr, bytes);
    put_varint(u64::from(identity.renewal), bytes);
}

fn get_identity(buf: &mut impl Buf) -> Result<Identity, Malformed> {
    let name = NodeName::new(&get_text(buf, NAME_BYTES_MAX)?).map_err(|_| Malformed)?;
    let boot = get_varint(buf)?;
    let nonce = buf.try_get_u64()?;
    let addr: Addr = Arc::from(get_text(buf, ADDR_BYTES_MAX)?);
    let renewal = u32::try_from(get_varint(buf)?).map_err(|_| Malformed)?;
    Ok(Identity { id: NodeId::new(name, boot, nonce), addr, renewal })
}

fn put_text(text: &str, bytes: &mut Vec<u8>) {
    put_varint(text.len() as u64, bytes);
    bytes.put_slice(text.as_bytes());
}

fn get_text(buf: &mut impl Buf, max: usize) -> Result<String, Malformed> {
    let len = usize::try_from(get_varint(buf)?).map_err(|_| Malformed)?;
    if len == 0 || len > max || len > buf.remaining() {
        return Err(Malformed);
    }
    let mut bytes = vec![0; len];
    buf.try_copy_to_slice(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| Malformed)
}

fn put_varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.put_u8(value as u8);
}

fn get_varint(buf: &mut impl Buf) -> Result<u64, Malformed> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = buf.try_get_u8()?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(Malformed);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity(name: &str, boot: u64, renewal: u32) -> Identity {
        let id = NodeId::new(NodeName::new(name).expect("a valid name"), boot, 0xfeed_f00d_0000_0000 + boot);
        Identity { id, addr: "127.0.0.1:7600".into(), renewal }
    }

    fn packet(message: Message<Identity>, updates: Vec<Update>) -> Packet {
        let header = Header { src: identity("n1", 3, 1), src_incarnation: 9, dst: identity("n2", 300, 0), message };
        Packet { header, updates }
    }

    #[test]
    fn golden_bytes() {
        let datagrams =
            packet(Message::Ping(7), vec![Update::new(identity("n3", 300, 2), 5, State::Suspect)]).to_wire();
        assert_eq!(
            datagrams,
            [Bytes::from_static(
                b"\x01\0\0\0\x01\0\x09\xfe\xed\xf0\x0d\0\0\x01\x2c\0\0\0\0\x01\x07\x02n3\xac\x02\
                  \xfe\xed\xf0\x0d\0\0\x01\x2c\x0e127.0.0.1:7600\x02\0\x05\x01"
            )]
        );
    }

    #[test]
    fn a_long_packet_is_split_and_nothing_is_lost() {
        let updates: Vec<_> =
            (0..100).map(|n| Update::new(identity(&format!("node-{n}"), n, 0), 1, State::Alive)).collect();
        let sent = packet(Message::Feed, updates.clone());
        let datagrams = sent.to_wire();
        assert!(datagrams.iter().all(|bytes| bytes.len() <= DATAGRAM_BYTES_MAX));
        let own = sent.header.dst.clone();
        let read: Vec<_> = datagrams
            .iter()
            .map(|bytes| Packet::from_wire(bytes, &sent.header.src.id, &sent.header.src.addr, &own).expect("a packet"))
            .collect();
        assert_eq!(read[0].header, sent.header);
        assert!(read[1..].iter().all(|part| part.header.message == Message::Gossip));
        assert_eq!(read.into_iter().flat_map(|part| part.updates).collect::<Vec<_>>(), updates);
    }

    #[test]
    fn the_longest_update_fits_a_datagram() {
        let id = NodeId::new(NodeName::new(&"n".repeat(NAME_BYTES_MAX)).expect("a valid name"), u64::MAX, 1);
        let longest = Identity { id, addr: "a".repeat(ADDR_BYTES_MAX).into(), renewal: u32::MAX };
        let message = Message::PingReq { target: longest.clone(), probe_number: 1 };
        let datagrams = packet(message, vec![Update::new(longest, 1, State::Down)]).to_wire();
        assert!(datagrams.len() == 1 && datagrams[0].len() <= DATAGRAM_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn decoding_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..1300), cut in 0usize..80, flip: u8) {
            let own = identity("n2", 300, 0);
            let peer = identity("n1", 3, 1);
            let _ = Packet::from_foca(&bytes);
            let _ = Packet::from_wire(&bytes, &peer.id, &peer.addr, &own);
            let update = Update::new(identity("n3", 1, 0), 5, State::Suspect);
            let mut good = packet(Message::Gossip, vec![update])
                .to_wire()[0].to_vec();
            let at = cut % good.len();
            good[at] ^= flip;
            let _ = Packet::from_wire(&good, &peer.id, &peer.addr, &own);
            good.truncate(at);
            let _ = Packet::from_wire(&good, &peer.id, &peer.addr, &own);
        }

        #[test]
        fn varints_return(value: u64) {
            let mut bytes = Vec::new();
            put_varint(value, &mut bytes);
            prop_assert_eq!(get_varint(&mut &bytes[..]), Ok(value));
        }
    }
}
