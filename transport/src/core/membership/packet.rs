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

use super::rows::{Rows, is_news};
use super::swim::{Identity, LEFT, name_hash};
use crate::core::id::{NAME_BYTES_MAX, NodeId, NodeName};
use crate::core::view::Addr;
use crate::core::ways::{PASSED_BYTES, Passed};

/// Longest datagram, in bytes: fits a QUIC datagram at the smallest MTU that QUIC allows (1,200).
pub const DATAGRAM_BYTES_MAX: usize = 1100;
/// Longest packet in foca's form, in bytes; what the wire cannot take in one datagram is split.
pub(super) const PACKET_BYTES_MAX: usize = 32 * 1024;
/// Longest address, in bytes: the longest DNS name, a colon and a port.
pub const ADDR_BYTES_MAX: usize = 260;

/// Most members that are told to one who asks for all now and then. foca shuffles them with each round of probes, so that
/// he hears of all in time; a new session is told all at once.
pub(super) const FEED_ROWS_MAX: usize = 8;

const VERSION: u8 = 1;
/// Stands in place of the version before what is passed on: a [`Passed`] follows, and then the datagram.
const PASSED: u8 = b'P';
/// Stands in place of the version before a hash of the members.
const DIGEST: u8 = b'D';
const FEED: u8 = 8;
const GOSSIP: u8 = 9;
/// Gossip of suspects whose ports refused the sender. foca has a message of this number that we do not use, and never
/// sees ours.
const REFUSED: u8 = 10;

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
    #[cfg(test)]
    pub(super) fn from_foca(mut bytes: &[u8]) -> Result<Self, Malformed> {
        let known = &mut Known::default();
        let header = get_header(&mut bytes, known)?;
        let mut updates = Vec::new();
        if bytes.has_remaining() {
            let count = bytes.try_get_u16()?;
            for _ in 0..count {
                updates.push(get_update(&mut bytes, known)?);
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
        let Header { src, src_incarnation, dst, message } = &self.header;
        let mut bytes = Vec::new();
        put_message(message, &mut bytes);
        let ends = Ends { src: src.renewal, src_incarnation: *src_incarnation, dst: (dst.id.nonce, dst.renewal) };
        let mut datagrams = Datagrams::new(ends, &bytes);
        for update in &self.updates {
            bytes.clear();
            put_update(update, &mut bytes);
            datagrams.add(&bytes);
        }
        datagrams.finish()
    }

    /// Reads one datagram that came over the session with `peer`, who is dialled at `peer_addr`. Updates that say no
    /// more than the row of the same identity are left out.
    pub(super) fn from_wire(
        mut bytes: &[u8],
        peer: &NodeId,
        peer_addr: &Addr,
        own: &Identity,
        known: &mut Known,
        rows: &Rows,
    ) -> Result<Self, Malformed> {
        if bytes.len() > DATAGRAM_BYTES_MAX || bytes.try_get_u8()? != VERSION {
            return Err(Malformed);
        }
        let src = Identity::new(peer.clone(), peer_addr.clone(), bytes.try_get_u32()?);
        let src_incarnation = bytes.try_get_u16()?;
        let nonce = bytes.try_get_u64()?;
        let renewal = bytes.try_get_u32()?;
        if nonce != own.id.nonce || src.renewal == LEFT {
            return Err(Malformed);
        }
        let message = get_message(&mut bytes, known)?;
        // Gossip is good for whoever hears it: its writer need not know our latest renewal.
        let is_gossip = matches!(message, Message::Gossip | Message::Broadcast);
        let renewal = if is_gossip { own.renewal } else { renewal };
        let dst = Identity { renewal, ..own.clone() };
        let mut updates = Vec::new();
        let is_refusal = message == Message::Broadcast;
        let is_alone = !bytes.has_remaining();
        while bytes.has_remaining() {
            let update = RawUpdate::take(&mut bytes)?;
            if is_refusal || !update.is_known(rows) {
                updates.push(update.read(known)?);
            }
        }
        if !is_alone && matches!(message, Message::Announce | Message::TurnUndead) {
            return Err(Malformed);
        }
        Ok(Self { header: Header { src, src_incarnation, dst, message }, updates })
    }
}

/// A datagram that others pass on.
pub(super) fn wrap(passed: Passed, datagram: &[u8]) -> Bytes {
    [&[PASSED], &passed.to_bytes()[..], datagram].concat().into()
}

/// What others have passed on, if a datagram is that.
pub(super) fn unwrap(bytes: &Bytes) -> Option<(Passed, Bytes)> {
    let header = bytes.strip_prefix(&[PASSED])?.first_chunk()?;
    Some((Passed::from_bytes(*header), bytes.slice(1 + PASSED_BYTES..)))
}

/// What the wire says of both ends of a packet.
#[derive(Debug, Clone, Copy)]
struct Ends {
    src: u32,
    src_incarnation: u16,
    /// Nonce and renewal.
    dst: (u64, u32),
}

/// The datagrams of one packet in the making.
struct Datagrams {
    ends: Ends,
    full: Vec<Bytes>,
    last: Vec<u8>,
}

impl Datagrams {
    fn new(ends: Ends, message: &[u8]) -> Self {
        let mut this = Self { ends, full: Vec::new(), last: Vec::new() };
        this.begin(message);
        this
    }

    fn begin(&mut self, message: &[u8]) {
        const USUAL_BYTES: usize = 128;
        self.last = Vec::with_capacity(USUAL_BYTES);
        self.last.put_u8(VERSION);
        self.last.put_u32(self.ends.src);
        self.last.put_u16(self.ends.src_incarnation);
        self.last.put_u64(self.ends.dst.0);
        self.last.put_u32(self.ends.dst.1);
        self.last.extend_from_slice(message);
    }

    fn add(&mut self, update: &[u8]) {
        if self.last.len() + update.len() > DATAGRAM_BYTES_MAX {
            self.full.push(std::mem::take(&mut self.last).into());
            self.begin(&[GOSSIP]);
        }
        self.last.extend_from_slice(update);
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.full.push(self.last.into());
        self.full
    }
}

/// The datagrams of what foca wrote, to this member. Only their ends are other than in foca's form: the rest is copied.
pub(super) fn to_wire(foca: &[u8], to: &Identity) -> Result<Vec<Bytes>, Malformed> {
    let mut bytes = foca;
    let src = RawIdentity::take(&mut bytes)?.renewal;
    let src_incarnation = bytes.try_get_u16()?;
    RawIdentity::take(&mut bytes)?;
    let message = taken(&mut bytes, skip_message)?;
    let mut datagrams = Datagrams::new(Ends { src, src_incarnation, dst: (to.id.nonce, to.renewal) }, message);
    if bytes.has_remaining() {
        let count = usize::from(bytes.try_get_u16()?);
        let most = if message == [FEED] { FEED_ROWS_MAX } else { count };
        for row in 0..count {
            let update = taken(&mut bytes, |bytes| RawUpdate::take(bytes).map(|_| ()))?;
            if row < most {
                datagrams.add(update);
            }
        }
    }
    if bytes.has_remaining() { Err(Malformed) } else { Ok(datagrams.finish()) }
}

/// The header of what foca wrote.
pub(super) fn header_of(foca: &[u8]) -> Option<Header<Identity>> {
    get_header(&mut &foca[..], &mut Known::default()).ok()
}

/// If this is the header of a probe: what the answer to it is in foca's form, from a member at its incarnation.
pub(super) fn answer_to_probe(header: Header<Identity>, member: &Update) -> Option<Vec<u8>> {
    let Message::Ping(probe_number) = header.message else { return None };
    let message = Message::Ack(probe_number);
    let header = Header { src: header.dst, src_incarnation: member.incarnation(), dst: header.src, message };
    Packet { header, updates: vec![] }.to_foca()
}

/// A hash of the members that we see, in place of a packet.
pub(super) fn digest(hash: u64) -> Bytes {
    [&[DIGEST], &hash.to_be_bytes()[..]].concat().into()
}

/// The hash that a datagram carries in place of a packet.
pub(super) fn read_digest(bytes: &[u8]) -> Option<u64> {
    let hash: [u8; 8] = bytes.strip_prefix(&[DIGEST])?.try_into().ok()?;
    Some(u64::from_be_bytes(hash))
}

/// The bytes that `skip` goes over.
fn taken<'a>(
    bytes: &mut &'a [u8],
    skip: impl FnOnce(&mut &'a [u8]) -> Result<(), Malformed>,
) -> Result<&'a [u8], Malformed> {
    let whole = *bytes;
    skip(bytes)?;
    Ok(&whole[..whole.len() - bytes.len()])
}

fn skip_message(bytes: &mut &[u8]) -> Result<(), Malformed> {
    let tag = bytes.try_get_u8()?;
    if tag <= 6 {
        bytes.try_get_u8()?;
    }
    if (3..=6).contains(&tag) {
        RawIdentity::take(bytes)?;
    }
    Ok(())
}

/// An identity as it is written; its texts are not looked at.
struct RawIdentity<'a> {
    whole: &'a [u8],
    name: &'a [u8],
    boot: u64,
    nonce: u64,
    addr: &'a [u8],
    renewal: u32,
}

impl<'a> RawIdentity<'a> {
    fn take(bytes: &mut &'a [u8]) -> Result<Self, Malformed> {
        let begin = *bytes;
        let name = get_text(bytes, NAME_BYTES_MAX)?;
        let boot = get_varint(bytes)?;
        let nonce = bytes.try_get_u64()?;
        let addr = get_text(bytes, ADDR_BYTES_MAX)?;
        let renewal = u32::try_from(get_varint(bytes)?).map_err(|_| Malformed)?;
        Ok(Self { whole: &begin[..begin.len() - bytes.len()], name, boot, nonce, addr, renewal })
    }

    fn is(&self, other: &Identity) -> bool {
        let Identity { id, addr, renewal, .. } = other;
        let (name, boot, nonce) = (id.name.as_str().as_bytes(), id.boot, id.nonce);
        (self.nonce, self.boot, self.renewal, self.name, self.addr) == (nonce, boot, *renewal, name, addr.as_bytes())
    }

    fn read(&self) -> Result<Identity, Malformed> {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Malformed);
        let name = NodeName::new(text(self.name)?).map_err(|_| Malformed)?;
        let addr: Addr = Arc::from(text(self.addr)?);
        Ok(Identity::new(NodeId::new(name, self.boot, self.nonce), addr, self.renewal))
    }
}

/// An update as it is written.
struct RawUpdate<'a> {
    identity: RawIdentity<'a>,
    incarnation: u16,
    state: State,
}

impl<'a> RawUpdate<'a> {
    fn take(bytes: &mut &'a [u8]) -> Result<Self, Malformed> {
        let identity = RawIdentity::take(bytes)?;
        let incarnation = bytes.try_get_u16()?;
        let state = match bytes.try_get_u8()? {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Down,
            _ => return Err(Malformed),
        };
        if identity.renewal == LEFT && state != State::Down {
            return Err(Malformed);
        }
        Ok(Self { identity, incarnation, state })
    }

    fn read(&self, known: &mut Known) -> Result<Update, Malformed> {
        Ok(Update::new(known.get(&self.identity)?, self.incarnation, self.state))
    }

    /// Whether foca has nothing to learn by it.
    fn is_known(&self, rows: &Rows) -> bool {
        let row = rows.of(name_hash(self.identity.name)).filter(|row| self.identity.is(row.id()));
        row.is_some_and(|row| !is_news(row, self.incarnation, self.state))
    }
}

/// Identities that were read lately, with what was read: packets name the same few again and again.
#[derive(Debug, Default)]
pub(super) struct Known(Vec<Option<(Box<[u8]>, Identity)>>);

impl Known {
    /// How many are kept.
    const SLOTS: usize = 256;

    fn get(&mut self, raw: &RawIdentity<'_>) -> Result<Identity, Malformed> {
        if self.0.is_empty() {
            self.0.resize_with(Self::SLOTS, || None);
        }
        let slot = &mut self.0[raw.nonce as usize % Self::SLOTS];
        match slot {
            Some((whole, identity)) if **whole == *raw.whole => Ok(identity.clone()),
            _ => {
                let identity = raw.read()?;
                *slot = Some((raw.whole.into(), identity.clone()));
                Ok(identity)
            }
        }
    }
}

/// foca's codec: everything in full. It never goes over the wire.
#[derive(Debug, Default)]
pub(super) struct PacketCodec {
    known: Known,
    written: Vec<u8>,
}

impl foca::Codec<Identity> for PacketCodec {
    type Error = Malformed;

    fn encode_header(&mut self, header: &Header<Identity>, buf: impl BufMut) -> Result<(), Malformed> {
        put_whole(&mut self.written, buf, |bytes| put_header(header, bytes))
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Identity>, Malformed> {
        get_from(buf, |bytes| get_header(bytes, &mut self.known))
    }

    fn encode_member(&mut self, member: &Update, buf: impl BufMut) -> Result<(), Malformed> {
        put_whole(&mut self.written, buf, |bytes| put_update(member, bytes))
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Update, Malformed> {
        get_from(buf, |bytes| get_update(bytes, &mut self.known))
    }
}

/// Writes all or nothing.
fn put_whole(bytes: &mut Vec<u8>, mut buf: impl BufMut, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), Malformed> {
    bytes.clear();
    put(bytes);
    if bytes.len() > buf.remaining_mut() {
        return Err(Malformed);
    }
    buf.put_slice(bytes);
    Ok(())
}

/// Reads from a buffer of foca's, which are all in one piece.
fn get_from<T>(mut buf: impl Buf, get: impl FnOnce(&mut &[u8]) -> Result<T, Malformed>) -> Result<T, Malformed> {
    let mut rest = buf.chunk();
    let before = rest.len();
    let value = get(&mut rest)?;
    let taken = before - rest.len();
    buf.advance(taken);
    Ok(value)
}

fn put_header(header: &Header<Identity>, bytes: &mut Vec<u8>) {
    put_identity(&header.src, bytes);
    bytes.put_u16(header.src_incarnation);
    put_identity(&header.dst, bytes);
    put_message(&header.message, bytes);
}

fn get_header(bytes: &mut &[u8], known: &mut Known) -> Result<Header<Identity>, Malformed> {
    Ok(Header {
        src: get_identity(bytes, known)?,
        src_incarnation: bytes.try_get_u16()?,
        dst: get_identity(bytes, known)?,
        message: get_message(bytes, known)?,
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
        Message::Feed => bytes.put_u8(FEED),
        Message::Gossip => bytes.put_u8(GOSSIP),
        Message::Broadcast => bytes.put_u8(REFUSED),
        Message::TurnUndead => bytes.put_u8(11),
    }
}

fn get_message(bytes: &mut &[u8], known: &mut Known) -> Result<Message<Identity>, Malformed> {
    let tag = bytes.try_get_u8()?;
    let probe_number = if tag <= 6 { bytes.try_get_u8()? } else { 0 };
    Ok(match tag {
        1 => Message::Ping(probe_number),
        2 => Message::Ack(probe_number),
        3 => Message::PingReq { target: get_identity(bytes, known)?, probe_number },
        4 => Message::IndirectPing { origin: get_identity(bytes, known)?, probe_number },
        5 => Message::IndirectAck { target: get_identity(bytes, known)?, probe_number },
        6 => Message::ForwardedAck { origin: get_identity(bytes, known)?, probe_number },
        7 => Message::Announce,
        FEED => Message::Feed,
        GOSSIP => Message::Gossip,
        REFUSED => Message::Broadcast,
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

fn get_update(bytes: &mut &[u8], known: &mut Known) -> Result<Update, Malformed> {
    RawUpdate::take(bytes)?.read(known)
}

fn put_identity(identity: &Identity, bytes: &mut Vec<u8>) {
    put_text(identity.id.name.as_str(), bytes);
    put_varint(identity.id.boot, bytes);
    bytes.put_u64(identity.id.nonce);
    put_text(&identity.addr, bytes);
    put_varint(u64::from(identity.renewal), bytes);
}

fn get_identity(bytes: &mut &[u8], known: &mut Known) -> Result<Identity, Malformed> {
    known.get(&RawIdentity::take(bytes)?)
}

fn put_text(text: &str, bytes: &mut Vec<u8>) {
    put_varint(text.len() as u64, bytes);
    bytes.put_slice(text.as_bytes());
}

fn get_text<'a>(bytes: &mut &'a [u8], max: usize) -> Result<&'a [u8], Malformed> {
    let len = usize::try_from(get_varint(bytes)?).map_err(|_| Malformed)?;
    if len == 0 || len > max {
        return Err(Malformed);
    }
    let (text, rest) = bytes.split_at_checked(len).ok_or(Malformed)?;
    *bytes = rest;
    Ok(text)
}

fn put_varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.put_u8(value as u8);
}

fn get_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8()?;
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
        let id = NodeId::new(NodeName::new(name).expect("a valid name"), boot, 0xfeed_f00d_0000_0000 ^ boot);
        Identity::new(id, "127.0.0.1:7600".into(), renewal)
    }

    fn packet(message: Message<Identity>, updates: Vec<Update>) -> Packet {
        let header = Header { src: identity("n1", 3, 1), src_incarnation: 9, dst: identity("n2", 300, 0), message };
        Packet { header, updates }
    }

    fn read(bytes: &[u8], peer: &Identity, own: &Identity) -> Result<Packet, Malformed> {
        Packet::from_wire(bytes, &peer.id, &peer.addr, own, &mut Known::default(), &Rows::default())
    }

    #[test]
    fn what_is_copied_to_the_wire_is_what_would_be_written() {
        let other = identity("n7", u64::MAX, 3);
        let messages = [
            Message::Ping(7),
            Message::Ack(8),
            Message::PingReq { target: other.clone(), probe_number: 1 },
            Message::ForwardedAck { origin: other, probe_number: 2 },
            Message::Feed,
            Message::Gossip,
        ];
        for message in messages {
            let updates = (0..100).map(|n| Update::new(identity(&format!("node-{n}"), n, 0), 1, State::Alive));
            let mut packet = packet(message, updates.collect());
            let foca = packet.to_foca().expect("a short packet");
            assert_eq!(Packet::from_foca(&foca).as_ref(), Ok(&packet));
            if packet.header.message == Message::Feed {
                packet.updates.truncate(FEED_ROWS_MAX);
            }
            let to = packet.header.dst.clone();
            assert_eq!(to_wire(&foca, &to), Ok(packet.to_wire()));
            assert!((0..foca.len()).all(|len| to_wire(&foca[..len], &to) != Ok(packet.to_wire())));
        }
    }

    #[test]
    fn an_identity_that_is_known_is_read_as_an_unknown_one() {
        let mut known = Known::default();
        let mut bytes = Vec::new();
        for identity in [identity("n1", 1, 0), identity("n2", 1, 0), identity("n1", 257, 1), identity("n1", 1, 0)] {
            bytes.clear();
            put_identity(&identity, &mut bytes);
            assert_eq!(get_identity(&mut &bytes[..], &mut known), Ok(identity));
        }
    }

    #[test]
    fn what_is_known_is_left_out_of_all_but_refusals() {
        let mut rows = Rows::default();
        rows.note(&Update::new(identity("n3", 1, 0), 5, State::Alive));
        let read = |message, about, incarnation, state| {
            let Packet { header, .. } = packet(message, vec![]);
            let packet = Packet { header, updates: vec![Update::new(about, incarnation, state)] };
            let Header { src, dst, .. } = &packet.header;
            let datagram = packet.to_wire().remove(0);
            let read = Packet::from_wire(&datagram, &src.id, &src.addr, dst, &mut Known::default(), &rows);
            read.expect("it is well-formed").updates.len()
        };
        let about = || identity("n3", 1, 0);
        assert_eq!(read(Message::Gossip, about(), 5, State::Alive), 0);
        assert_eq!(read(Message::Ping(1), about(), 4, State::Suspect), 0);
        assert_eq!(read(Message::Broadcast, about(), 4, State::Suspect), 1, "it says who was refused");
        assert_eq!(read(Message::Gossip, about(), 5, State::Suspect), 1);
        assert_eq!(read(Message::Gossip, identity("n3", 1, 1), 0, State::Alive), 1);
        assert_eq!(read(Message::Gossip, identity("n4", 1, 0), 0, State::Alive), 1);
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
        let read: Vec<_> =
            datagrams.iter().map(|bytes| read(bytes, &sent.header.src, &own).expect("a packet")).collect();
        assert_eq!(read[0].header, sent.header);
        assert!(read[1..].iter().all(|part| part.header.message == Message::Gossip));
        assert_eq!(read.into_iter().flat_map(|part| part.updates).collect::<Vec<_>>(), updates);
    }

    #[test]
    fn what_is_passed_on_is_unwrapped() {
        let passed = Passed { to: 1, from: 2, hops: 3 };
        let bytes = wrap(passed, b"abc");
        assert_eq!(unwrap(&bytes), Some((passed, Bytes::from_static(b"abc"))));
        assert!((0..=PASSED_BYTES).all(|len| unwrap(&bytes.slice(..len)).is_none()));
        let own = packet(Message::Gossip, vec![]).to_wire();
        assert!(own.iter().all(|bytes| unwrap(bytes).is_none()));
    }

    #[test]
    fn the_longest_update_fits_a_datagram() {
        let id = NodeId::new(NodeName::new(&"n".repeat(NAME_BYTES_MAX)).expect("a valid name"), u64::MAX, 1);
        let longest = Identity::new(id, "a".repeat(ADDR_BYTES_MAX).into(), u32::MAX);
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
            let _ = read(&bytes, &peer, &own);
            let update = Update::new(identity("n3", 1, 0), 5, State::Suspect);
            let mut good = packet(Message::Gossip, vec![update])
                .to_wire()[0].to_vec();
            let at = cut % good.len();
            good[at] ^= flip;
            let _ = read(&good, &peer, &own);
            good.truncate(at);
            let _ = read(&good, &peer, &own);
        }

        #[test]
        fn varints_return(value: u64) {
            let mut bytes = Vec::new();
            put_varint(value, &mut bytes);
            prop_assert_eq!(get_varint(&mut &bytes[..]), Ok(value));
        }
    }
}
