//! How events travel: dense rows, in which nodes are named by their place in a list, and what follows from who wrote an
//! event is left out.

mod cells;

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use bytes::Bytes;
use ordu_transport::core::NodeId;
use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use triomphe::Arc;

use super::clock::Dot;
use super::covers::Covers;
use super::delta::{EVENTS_MAX, Event, Key, NODES_MAX, Payload};
pub use cells::{Malformed, Near, Reader, Writer};

/// About as many bytes as a registration takes beside others.
const USUAL_ROW_BYTES: usize = 24;
/// Most events for which room is made before they are there.
const TRUSTED_EVENTS: usize = 1024;

/// What the first byte of a row says.
const REMOVES: u8 = 1;
const COVERS: u8 = 2;
const ANOTHER_ORIGIN: u8 = 4;

/// The events of a message.
///
/// On the wire a pair: nodes, and the rows of the events as bytes. A row is a byte of flags, the node that wrote the event
/// unless it wrote the one before too, the counter of its dot, its key, its value unless it removes, and what it covers,
/// if anything: how many slots, and of each its node and counter, in the order of the nodes. See [`Writer`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Events<K: Key, V: Payload>(Vec<Arc<Event<K, V>>>);

impl<K: Key, V: Payload> From<Vec<Arc<Event<K, V>>>> for Events<K, V> {
    fn from(events: Vec<Arc<Event<K, V>>>) -> Self {
        Self(events)
    }
}

impl<K: Key, V: Payload> From<Events<K, V>> for Vec<Arc<Event<K, V>>> {
    fn from(events: Events<K, V>) -> Self {
        events.0
    }
}

impl<K: Key, V: Payload> Deref for Events<K, V> {
    type Target = [Arc<Event<K, V>>];
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

// ---- out

impl<K: Key, V: Payload> Serialize for Events<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = Writer::with_capacity(self.0.len() * USUAL_ROW_BYTES);
        let mut before = None;
        for event in &self.0 {
            write_row(event, before.replace(&event.dot.actor), &mut rows);
        }
        let (nodes, rows) = rows.finish();
        let mut pair = serializer.serialize_tuple(2)?;
        pair.serialize_element(&nodes)?;
        pair.serialize_element(&Bytes::from(rows))?;
        pair.end()
    }
}

fn write_row<'a, K: Key, V: Payload>(event: &'a Event<K, V>, before: Option<&NodeId>, to: &mut Writer<'a>) {
    let Event { dot, key, value, covers } = event;
    let is_another = before != Some(&dot.actor);
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    to.byte(flag(value.is_none(), REMOVES) | flag(!covers.is_empty(), COVERS) | flag(is_another, ANOTHER_ORIGIN));
    if is_another {
        to.node(&dot.actor);
    }
    to.near(Near::Counter, dot.counter);
    key.write(&dot.actor, to);
    if let Some(value) = value {
        value.write(&dot.actor, to);
    }
    if !covers.is_empty() {
        to.number(covers.len() as u64);
        for (origin, counter) in covers.iter() {
            to.node(origin);
            to.number(counter);
        }
    }
}

// ---- in

impl<'de, K: Key, V: Payload> Deserialize<'de> for Events<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(2, PairVisitor(PhantomData)).map(Self)
    }
}

struct PairVisitor<K, V>(PhantomData<(K, V)>);

impl<'de, K: Key, V: Payload> Visitor<'de> for PairVisitor<K, V> {
    type Value = Vec<Arc<Event<K, V>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nodes and rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Self::Value, A::Error> {
        let Nodes(nodes) = pair.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let rows = pair.next_element_seed(Rows(&nodes, PhantomData))?;
        rows.ok_or_else(|| A::Error::invalid_length(1, &self))
    }
}

/// The nodes that rows name.
struct Nodes(Vec<NodeId>);

impl<'de> Deserialize<'de> for Nodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(NodesVisitor)
    }
}

struct NodesVisitor;

impl<'de> Visitor<'de> for NodesVisitor {
    type Value = Nodes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {NODES_MAX} nodes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Nodes, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = seq.next_element()? {
            if nodes.len() == NODES_MAX {
                return Err(A::Error::invalid_length(nodes.len() + 1, &self));
            }
            nodes.push(node);
        }
        Ok(Nodes(nodes))
    }
}

/// Reads rows that name these nodes.
struct Rows<'a, K, V>(&'a [NodeId], PhantomData<(K, V)>);

impl<'de, K: Key, V: Payload> DeserializeSeed<'de> for Rows<'_, K, V> {
    type Value = Vec<Arc<Event<K, V>>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<K: Key, V: Payload> Visitor<'_> for Rows<'_, K, V> {
    type Value = Vec<Arc<Event<K, V>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rows")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        let mut events = Vec::with_capacity((bytes.len() / USUAL_ROW_BYTES).min(TRUSTED_EVENTS));
        let mut rows = Reader::new(self.0, bytes);
        let mut before = None;
        while !rows.is_empty() {
            if events.len() == EVENTS_MAX {
                return Err(E::custom(format_args!("more than {EVENTS_MAX} events")));
            }
            let (event, origin) = read_row(before, &mut rows).map_err(E::custom)?;
            events.push(Arc::new(event));
            before = Some(origin);
        }
        Ok(events)
    }
}

fn read_row<'a, K: Key, V: Payload>(
    before: Option<&'a NodeId>,
    from: &mut Reader<'a>,
) -> Result<(Event<K, V>, &'a NodeId), Malformed> {
    let flags = from.byte()?;
    if flags & !(REMOVES | COVERS | ANOTHER_ORIGIN) != 0 {
        return Err(Malformed::new(format_args!("a row of unknown flags {flags:#04x}")));
    }
    let origin = match before {
        _ if flags & ANOTHER_ORIGIN != 0 => from.node()?,
        Some(before) => before,
        None => return Err(Malformed::new("an event of nobody")),
    };
    let dot = Dot::new(origin.clone(), from.near(Near::Counter)?);
    let key = K::read(from, origin)?;
    let value = if flags & REMOVES == 0 { Some(V::read(from, origin)?) } else { None };
    let covers = if flags & COVERS == 0 { Covers::default() } else { read_covers(from)? };
    Ok((Event { dot, key, value, covers }, origin))
}

fn read_covers(from: &mut Reader<'_>) -> Result<Covers, Malformed> {
    let mut slots: Vec<(NodeId, u64)> = Vec::new();
    // Whatever the number says, each slot takes bytes.
    for _ in 0..from.number()? {
        let slot = (from.node()?.clone(), from.number()?);
        if slots.last().is_some_and(|(before, _)| *before >= slot.0) {
            return Err(Malformed::new("covers are out of order"));
        }
        slots.push(slot);
    }
    Ok(slots.into())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ordu_transport::core::{Hlc, NodeName, Pid};

    use super::*;
    use crate::core::covers::Covers;
    use crate::core::{Claim, Fence, Name, Rank};

    type NameEvents = Events<Name, Claim>;

    fn node(name: &str, boot: u64) -> NodeId {
        NodeId::new(NodeName::new(name).expect("a name"), boot, 9)
    }

    fn claim(node: &NodeId, serial: u64) -> Claim {
        let since = Hlc::from_wall_ms(5);
        Claim {
            pid: Pid::new(node.clone(), serial),
            rank: Rank::longest_running(since),
            fence: Fence::new(since, node),
            since,
            value: Bytes::new().into(),
            losing: None,
        }
    }

    fn event(origin: &NodeId, counter: u64, value: Option<Claim>, covers: Covers) -> Arc<Event<Name, Claim>> {
        let key = Name::new("web").expect("a name");
        Arc::new(Event { dot: Dot::new(origin.clone(), counter), key, value, covers })
    }

    #[test]
    fn golden_bytes() {
        let a = node("a", 1);
        let events = NameEvents::from(vec![event(&a, 3, Some(claim(&a, 7)), Covers::default())]);
        let bytes = rmp_serde::to_vec(&events).expect("it encodes");
        let nodes = b"\x92\x91\x93\xa1a\x01\x09";
        let claim = b"\x00\x0e\x80\x80\x28";
        let expected = [&nodes[..], b"\xc4\x0c", b"\x04\x00\x06", b"\x03web", claim].concat();
        assert_eq!(bytes, expected, "{bytes:02x?}");
        assert_eq!(rmp_serde::from_slice::<NameEvents>(&bytes).expect("it decodes"), events);
    }

    #[test]
    fn what_is_near_the_row_before_is_short() {
        let a = node("a", 1);
        let events: Vec<_> = (1_000..1_100).map(|n| event(&a, n, Some(claim(&a, n)), Covers::default())).collect();
        let bytes = rmp_serde::to_vec(&NameEvents::from(events.clone())).expect("it encodes");
        let row = b"\x00\x02\x03web\x00\x02\x00";
        assert!(bytes.ends_with(&[&row[..], row].concat()));
        assert_eq!(rmp_serde::from_slice::<NameEvents>(&bytes).expect("it decodes"), NameEvents::from(events));
    }

    #[test]
    fn golden_bytes_of_a_membership() {
        let a = node("a", 1);
        assert!(rmp_serde::from_slice::<Name>(b"\xa9*web*7.9*").is_err());
        let key: Name = rmp_serde::from_slice(b"\xa8*web*7.9").expect("a key");
        let dot = Dot::new(a.clone(), 3);
        let event = Arc::new(Event { dot, key, value: Some(claim(&a, 7)), covers: Covers::default() });
        let events = NameEvents::from(vec![event]);
        let bytes = rmp_serde::to_vec(&events).expect("it encodes");
        let claim = b"\x00\x0e\x80\x80\x28";
        let head = b"\x92\x91\x93\xa1a\x01\x09\xc4\x11\x04\x00\x06\x08*web*7.9";
        assert_eq!(bytes, [&head[..], claim].concat(), "{bytes:02x?}");
        assert_eq!(rmp_serde::from_slice::<NameEvents>(&bytes).expect("it decodes"), events);
    }

    #[test]
    fn everything_returns_as_it_was() {
        let (a, old, b) = (node("a", 2), node("a", 1), node("b", 1));
        let since = Hlc::from_wall_ms(6);
        let odd = Claim {
            pid: Pid::new(old.clone(), 1),
            rank: Rank::new(vec![1; 40]),
            fence: Fence::new(since, &b),
            since: Hlc::from_wall_ms(5),
            value: Bytes::from_static(b"a value").into(),
            losing: Some(Box::new(Pid::new(b.clone(), u64::MAX))),
        };
        let mut covers = Covers::from(Dot::new(b.clone(), 300));
        covers.apply(&old, u64::MAX);
        let events = NameEvents::from(vec![
            event(&a, u64::MAX, Some(odd), covers),
            event(&b, 1, None, Covers::from(Dot::new(a.clone(), 1))),
        ]);
        let bytes = rmp_serde::to_vec(&events).expect("it encodes");
        assert_eq!(rmp_serde::from_slice::<NameEvents>(&bytes).expect("it decodes"), events);
    }

    #[test]
    fn what_no_row_says_is_refused() {
        let read = |rows: &[u8]| {
            let nodes = [("a", 1, 9), ("b", 1, 8)];
            let bytes = rmp_serde::to_vec(&(nodes, Bytes::copy_from_slice(rows))).expect("it encodes");
            rmp_serde::from_slice::<NameEvents>(&bytes).map_err(|error| error.to_string())
        };
        // A removal of "web" by the second node, which covers the third dot of the first, and one more by the second.
        let good = b"\x07\x01\x02\x03web\x01\x00\x03\x01\x02\x03web";
        let events = read(good).expect("it decodes");
        let dots: Vec<_> = events.iter().map(|event| (event.dot.actor.name.as_str(), event.dot.counter)).collect();
        assert_eq!((dots, events[0].covers.get(&node("a", 1))), (vec![("b", 1), ("b", 2)], 3));
        for end in 0..good.len() {
            assert!(read(&good[..end]).is_ok() == [0, 10].contains(&end), "{end}");
        }
        for (rows, why) in [
            (&b"\x05\x02\x02\x03web"[..], "node 2 of 2"),
            (b"\x07\x00\x02\x03web\x01\x05\x01", "node 5 of 2"),
            (b"\x07\x00\x02\x03web\xff\xff\xff\xff\x0f\x00\x01", "too early"),
            (b"\x07\x00\x02\x03web\x02\x00\x01\x00\x02", "out of order"),
            (b"\x07\x00\x02\x03web\x02\x01\x01\x00\x02", "out of order"),
            (b"\x01\x02\x03web", "an event of nobody"),
            (b"\x0d\x00\x02\x03web", "unknown flags 0x0d"),
            (b"\x04\x00\x02\x03web\x20\x02\x00", "unknown flags 0x20"),
            (b"\x05\x00\x02\x05a web", "' '"),
            (b"\x05\x00\x02\x00", "empty"),
        ] {
            let error = read(rows).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
        let many = [&b"\x05\x00\x02\x01a"[..], &b"\x01\x02\x01a".repeat(EVENTS_MAX)].concat();
        assert!(read(&many).expect_err("they are too many").contains("more than"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_events_or_an_error(rows: Vec<u8>) {
            let bytes = rmp_serde::to_vec(&([("a", 1, 9)], Bytes::from(rows))).expect("it encodes");
            if let Ok(events) = rmp_serde::from_slice::<NameEvents>(&bytes) {
                let again = rmp_serde::to_vec(&events).expect("it encodes");
                assert_eq!(rmp_serde::from_slice::<NameEvents>(&again).expect("it decodes"), events);
            }
        }
    }
}
