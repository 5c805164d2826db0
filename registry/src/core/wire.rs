//! How events travel: whoever wrote them is named once a message, and what follows from that is left out.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use triomphe::Arc;

use ordu_transport::core::NodeId;
use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::ser::{SerializeSeq, SerializeTuple};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::clock::Dot;
use super::delta::{Event, Key, Payload};

/// Most events for which room is made before they are there.
const TRUSTED_EVENTS: usize = 1024;

/// The events of a message.
///
/// On the wire a pair: the origins, and the events, each as `[origin, counter, key, value, covers]`, where `origin` is a
/// place in the list of origins and `covers` is a list of origin and counter by turns.
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

/// The origins of a message, in the order in which they come up. They are few, and mostly the same one as before.
#[derive(Default)]
struct Origins<'a>(Vec<&'a NodeId>);

impl<'a> Origins<'a> {
    fn note(&mut self, origin: &'a NodeId) {
        if self.0.last() != Some(&origin) && !self.0.contains(&origin) {
            self.0.push(origin);
        }
    }

    fn place(&self, origin: &NodeId) -> u64 {
        self.0.iter().position(|of| *of == origin).expect("all origins were noted") as u64
    }
}

impl<K: Key, V: Payload> Serialize for Events<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut origins = Origins::default();
        for event in &self.0 {
            origins.note(&event.dot.actor);
            event.covers.iter().for_each(|(origin, _)| origins.note(origin));
        }
        let mut pair = serializer.serialize_tuple(2)?;
        pair.serialize_element(&origins.0)?;
        pair.serialize_element(&Rows(&origins, &self.0))?;
        pair.end()
    }
}

struct Rows<'a, K: Key, V: Payload>(&'a Origins<'a>, &'a [Arc<Event<K, V>>]);

impl<K: Key, V: Payload> Serialize for Rows<'_, K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.1.len()))?;
        self.1.iter().try_for_each(|event| rows.serialize_element(&Row(self.0, event)))?;
        rows.end()
    }
}

struct Row<'a, K: Key, V: Payload>(&'a Origins<'a>, &'a Event<K, V>);

impl<K: Key, V: Payload> Serialize for Row<'_, K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Row(origins, Event { dot, key, value, covers }) = self;
        let mut row = serializer.serialize_tuple(5)?;
        row.serialize_element(&origins.place(&dot.actor))?;
        row.serialize_element(&dot.counter)?;
        row.serialize_element(key)?;
        row.serialize_element(&value.as_ref().map(|value| value.pack(&dot.actor)))?;
        row.serialize_element(&Slots(origins, covers))?;
        row.end()
    }
}

struct Slots<'a>(&'a Origins<'a>, &'a super::covers::Covers);

impl Serialize for Slots<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut slots = serializer.serialize_seq(Some(2 * self.1.len()))?;
        for (origin, counter) in self.1.iter() {
            slots.serialize_element(&self.0.place(origin))?;
            slots.serialize_element(&counter)?;
        }
        slots.end()
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
        f.write_str("origins and events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Self::Value, A::Error> {
        let origins: Vec<NodeId> = pair.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let rows = pair.next_element_seed(RowsSeed(&origins, PhantomData))?;
        rows.ok_or_else(|| A::Error::invalid_length(1, &self))
    }
}

struct RowsSeed<'a, K, V>(&'a [NodeId], PhantomData<(K, V)>);

impl<'de, K: Key, V: Payload> DeserializeSeed<'de> for RowsSeed<'_, K, V> {
    type Value = Vec<Arc<Event<K, V>>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, K: Key, V: Payload> Visitor<'de> for RowsSeed<'_, K, V> {
    type Value = Vec<Arc<Event<K, V>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Self::Value, A::Error> {
        let mut events = Vec::with_capacity(rows.size_hint().unwrap_or(0).min(TRUSTED_EVENTS));
        let origin_at = |place: u64| {
            let origin = usize::try_from(place).ok().and_then(|place| self.0.get(place));
            origin.ok_or_else(|| A::Error::custom(format_args!("an event of origin {place} of {}", self.0.len())))
        };
        type Packed<K, V> = (u64, u64, K, Option<<V as Payload>::Packed>, Vec<u64>);
        while let Some((origin, counter, key, value, slots)) = rows.next_element::<Packed<K, V>>()? {
            let origin = origin_at(origin)?;
            if slots.len() % 2 != 0 {
                return Err(A::Error::custom("an origin without its counter"));
            }
            let covers = slots.chunks_exact(2).map(|slot| Ok((origin_at(slot[0])?.clone(), slot[1])));
            let covers = covers.collect::<Result<Vec<_>, A::Error>>()?.into();
            let value = value.map(|value| V::unpack(value, origin));
            events.push(Arc::new(Event { dot: Dot::new(origin.clone(), counter), key, value, covers }));
        }
        Ok(events)
    }
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
        let origins = b"\x91\x93\xa1a\x01\x09";
        let value = b"\x97\x07\xc0\xce\x00\x05\x00\x00\xc0\xc0\xc4\x00\xc0";
        let expected = [&b"\x92"[..], origins, b"\x91\x95\x00\x03\xa3web", value, b"\x90"].concat();
        assert_eq!(bytes, expected, "{bytes:02x?}");
        assert_eq!(rmp_serde::from_slice::<NameEvents>(&bytes).expect("it decodes"), events);
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
        let value = b"\x97\x07\xc0\xce\x00\x05\x00\x00\xc0\xc0\xc4\x00\xc0";
        let head = b"\x92\x91\x93\xa1a\x01\x09\x91\x95\x00\x03\xa8*web*7.9";
        assert_eq!(bytes, [&head[..], value, b"\x90"].concat(), "{bytes:02x?}");
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
    fn a_place_beyond_the_origins_is_refused() {
        let a = (("a", 1, 9),);
        type Row<'a> = (u64, u64, &'a str, Option<()>, Vec<u64>);
        let read = |row: Row<'_>| {
            let bytes = rmp_serde::to_vec(&(a, [row])).expect("it encodes");
            rmp_serde::from_slice::<NameEvents>(&bytes).map_err(|error| error.to_string())
        };
        assert!(read((0, 1, "web", None, vec![0, 1])).is_ok());
        for (row, why) in [
            ((1, 1, "web", None, vec![]), "origin 1 of 1"),
            ((u64::MAX, 1, "web", None, vec![]), "origin 18446744073709551615 of 1"),
            ((0, 1, "web", None, vec![3, 1]), "origin 3 of 1"),
            ((0, 1, "web", None, vec![0]), "without its counter"),
            ((0, 1, "a web", None, vec![]), "' '"),
        ] {
            let error = read(row).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }
}
