use ordu_registry::core::covers::Covers;
use ordu_registry::core::delta::{Event, Key, Payload};
use ordu_registry::core::wire::Events;
use ordu_transport::core::codec::{pack, unpack};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;

use super::*;

fn node(name: &str, boot: u64) -> NodeId {
    NodeId::new(NodeName::new(name).unwrap(), boot, 7 + boot)
}

/// The value of an event of `origin`, as a message carries it.
fn carry<V: Payload>(key: ChildId, value: V, origin: &NodeId) -> Vec<u8> {
    let dot = Dot::new(origin.clone(), 9);
    let event = Event { dot, key, value: Some(value), covers: Covers::default() };
    let mut bytes = Vec::new();
    pack(&Events::from(vec![event.into()]), &mut bytes);
    bytes
}

fn read<V: Payload>(bytes: &[u8]) -> Result<(ChildId, V), String> {
    let events: Events<ChildId, V> = unpack(bytes).map_err(|error| error.to_string())?;
    let event = events.first().ok_or("no event")?;
    Ok((event.key.clone(), event.value.clone().ok_or("it removes")?))
}

fn text() -> impl Strategy<Value = Arc<str>> {
    ".{0,12}".prop_map(Arc::from)
}

fn id() -> impl Strategy<Value = ChildId> {
    "[A-Za-z0-9._:-]{1,20}".prop_map(|text| ChildId::new(&text).unwrap())
}

fn a_node() -> impl Strategy<Value = NodeId> {
    ("[abc]", 1..3u64).prop_map(|(name, boot)| node(&name, boot))
}

fn dot() -> impl Strategy<Value = Dot> {
    (a_node(), any::<u64>()).prop_map(|(node, counter)| Dot::new(node, counter))
}

fn stamp() -> impl Strategy<Value = Hlc> {
    any::<u64>().prop_map(Hlc::from_u64)
}

fn duration() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0..1_000_000_000u32).prop_map(|(secs, nanos)| Duration::new(secs, nanos))
}

fn pairs() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(".{0,4}", ".{0,4}", 0..4)
}

fn wishes() -> impl Strategy<Value = Wishes> {
    btree_map(a_node(), stamp(), 0..3).prop_map(Wishes::from)
}

fn placement() -> impl Strategy<Value = Placement> {
    let over = prop_oneof![Just(Over::Node), ".{0,4}".prop_map(Over::Label)];
    let apart = (".{0,4}", ".{0,4}", over, any::<bool>());
    prop_oneof![
        Just(Placement::Uniform),
        Just(Placement::LeastLoaded),
        a_node().prop_map(|node| Placement::Pinned(node.name.clone())),
        apart.prop_map(|(key, value, over, required)| Placement::Apart(Apart { group: (key, value), over, required })),
    ]
}

fn spec() -> impl Strategy<Value = ChildSpec> {
    let restart = prop_oneof![Just(Restart::Permanent), Just(Restart::Transient), Just(Restart::Temporary)];
    let intensity = of((any::<u32>(), duration(), any::<bool>()));
    let affinity = (pairs(), pairs(), pairs(), any::<bool>());
    let about = (id(), text(), vec(any::<u8>(), 0..20), duration(), duration(), pairs());
    (about, restart, intensity, placement(), affinity).prop_map(|(about, restart, intensity, placement, affinity)| {
        let (id, kind, args, init_timeout, stop_timeout, labels) = about;
        let intensity = intensity.map(|(restarts, within, escalates)| Intensity { restarts, within, escalates });
        let (require, avoid, prefer, starts_first) = affinity;
        let handover = if starts_first { Handover::StartFirst } else { Handover::StopFirst };
        let affinity = Affinity { require, avoid, prefer };
        let args = args.into();
        ChildSpec {
            id,
            kind,
            args,
            restart,
            intensity,
            placement,
            affinity,
            init_timeout,
            stop_timeout,
            labels,
            handover,
        }
    })
}

fn desired() -> impl Strategy<Value = Desired> {
    (spec(), stamp(), a_node(), any::<u64>(), any::<u64>()).prop_map(|(spec, at, caller, wait_ms, request)| Desired {
        spec: spec.into(),
        at,
        caller,
        wait_ms,
        request,
    })
}

fn state() -> impl Strategy<Value = State> {
    let moving = (a_node(), any::<u64>(), any::<bool>(), any::<bool>(), any::<bool>());
    prop_oneof![
        Just(State::Starting),
        Just(State::Running),
        Just(State::Stopping),
        moving.prop_map(|(to, token, released, carries, ahead)| {
            State::Moving { to, token, released, carries, ahead }
        }),
        Just(State::Backoff),
        Just(State::Quarantined),
        Just(State::Failed),
        Just(State::Done),
    ]
}

fn actual() -> impl Strategy<Value = Actual> {
    let process =
        (of((a_node(), any::<u64>())), of((a_node(), stamp())), of(vec(any::<u8>(), 0..12)), of(any::<u32>()));
    let starts = (dot(), of(dot()), of(any::<u64>()), any::<u64>(), wishes());
    let texts = (text(), of(text()), of(text()));
    (process, starts, texts, state(), any::<bool>(), any::<bool>(), any::<u64>()).prop_map(
        |((pid, fence, rank, os_pid), (dot, begun, token, restarts, followed), texts, state, losing, ran, since_ms)| {
            let (kind, log, reason) = texts;
            let fence = fence.map(|(node, at)| Fence::new(at, &node));
            let rank = rank.map_or_else(|| usual_rank(fence.as_ref()), Rank::new);
            let pid = pid.map(|(node, serial)| Pid::new(node, serial));
            Actual {
                kind,
                dot,
                begun,
                pid,
                rank,
                fence,
                state,
                token,
                losing,
                ran,
                restarts,
                followed,
                since_ms,
                os_pid,
                log,
                reason,
            }
        },
    )
}

fn running(origin: &NodeId) -> Actual {
    let at = Hlc::from_wall_ms(5);
    Actual {
        kind: "k".into(),
        dot: Dot::new(node("b", 1), 3),
        begun: None,
        pid: Some(Pid::new(origin.clone(), 7)),
        rank: Rank::longest_running(at),
        fence: Some(Fence::new(at, origin)),
        state: State::Running,
        token: None,
        losing: false,
        ran: true,
        restarts: 0,
        followed: Wishes::default(),
        since_ms: 5,
        os_pid: None,
        log: None,
        reason: None,
    }
}

#[test]
fn golden_bytes() {
    let (a, web) = (node("a", 1), ChildId::new("web").unwrap());
    let nodes = b"\x92\x92\x93\xa1a\x01\x08\x93\xa1b\x01\x08";
    let row = b"\x04\x00\x12\x03web";
    let claim = b"\x07\x01k\x01\x06\x01\x0a\x80\x80\x28\x0e";
    let expected = [&nodes[..], b"\xc4\x12", row, claim].concat();
    assert_eq!(carry(web.clone(), running(&a), &a), expected);
    let spec = ChildSpec::new(web.clone(), "k", "x").into();
    let desired = Desired { spec, at: Hlc::from_wall_ms(5), caller: a.clone(), wait_ms: 6, request: 7 };
    let start = b"\x00\x80\x80\x28\x06\x07\x03web\x01k\x01x\x3c\x00\x0a\x00";
    let expected = [&b"\x92\x91\x93\xa1a\x01\x08\xc4\x19"[..], row, start].concat();
    assert_eq!(carry(web, desired, &a), expected);
}

/// Rows of an event of the one node `a`, under the key `w`, with this value.
fn rows(value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    pack(&([("a", 1, 8)], Bytes::from([b"\x04\x00\x12\x01w", value].concat())), &mut bytes);
    bytes
}

#[test]
fn what_no_start_and_no_claim_says_is_refused() {
    let start = b"\x00\x02\x06\x07\x01w\x01k\x01x\x3c\x00\x0a\x00";
    let claim = b"\x07\x01k\x00\x06\x01\x0a\x02\x0e";
    assert!(read::<Desired>(&rows(start)).is_ok() && read::<Actual>(&rows(claim)).is_ok());
    for end in 0..start.len() {
        assert!(read::<Desired>(&rows(&start[..end])).is_err(), "{end}");
    }
    for end in 0..claim.len() {
        assert!(read::<Actual>(&rows(&claim[..end])).is_err(), "{end}");
    }
    let head = |parts: u8| [&[parts][..], &start[1..]].concat();
    let more = |parts: u8, rest: &[u8]| [&head(parts)[..], rest].concat();
    for (value, why) in [
        ([b"\x80\x01", &start[1..]].concat(), "unknown parts 0x80"),
        (b"\x00\x02\x06\x07\x03a w\x01k\x01x\x3c\x00\x0a\x00".to_vec(), "' '"),
        (b"\x00\x02\x06\x07\x01w\x01\xff\x01x\x3c\x00\x0a\x00".to_vec(), "utf-8"),
        (b"\x00\x02\x06\x07\x01w\x01k\x01x\x3c\x80\x94\xeb\xdc\x03\x0a\x00".to_vec(), "fewer nanoseconds"),
        (b"\x00\x02\x06\x07\x01w\x01k\xff\xff\xff\xff\x0f".to_vec(), "too early"),
        (more(1, b"\x05"), "node 5 of 1"),
        (more(2, b"\x03"), "way to restart"),
        (more(4, b"\xff\xff\xff\xff\x1f\x01\x00\x00"), "out of range"),
        (more(4, b"\x01\x01\x00\x02"), "truth value"),
        (more(8, b"\x04"), "unknown placement"),
        (more(8, b"\x01\x00"), "empty"),
        (more(8, b"\x03\x01a\x01b\x00\x02"), "way to keep apart"),
        (more(0x20, b"\x02\x01b\x01x\x01a\x01x"), "out of order"),
        (more(0x20, b"\x02\x01b\x01x\x01b\x01x"), "out of order"),
        (more(0x20, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "too early"),
    ] {
        let error = read::<Desired>(&rows(&value)).expect_err(why);
        assert!(error.contains(why), "{error}");
    }
    for (value, why) in [
        (&b"\x80\x80\x01\x01k\x00\x06\x01\x0a"[..], "unknown parts 0x4000"),
        (b"\x00\x01k\x07\x06\x01\x0a", "node 7 of 1"),
        (b"\x00\x01k\x00\x06\x08\x0a", "unknown state"),
        (b"\x00\x01k\x00\x06\x03\x00\x05\x02\x00\x0a", "truth value"),
        (b"\x80\x02\x01k\x00\x06\x01\x0a\xff\xff\xff\xff\x1f", "out of range"),
        (b"\x80\x01\x01k\x00\x06\x01\x0a\x01\xc1", "malformed"),
    ] {
        let error = read::<Actual>(&rows(value)).expect_err(why);
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_child_belongs_to_the_place_of_its_id() {
    let id = ChildId::new("web").unwrap();
    let (read, _) = read::<Actual>(&carry(id.clone(), running(&node("a", 1)), &node("a", 1))).unwrap();
    assert_eq!((read.place(), &read), (id.place(), &id));
}

proptest! {
    #[test]
    fn starts_return_as_they_were(key in id(), desired in desired(), origin in a_node()) {
        prop_assert_eq!(read(&carry(key.clone(), desired.clone(), &origin)), Ok((key, desired)));
    }

    #[test]
    fn claims_return_as_they_were(key in id(), actual in actual(), origin in a_node()) {
        prop_assert_eq!(read(&carry(key.clone(), actual.clone(), &origin)), Ok((key, actual)));
    }

    #[test]
    fn any_bytes_are_a_start_or_an_error(value: Vec<u8>) {
        if let Ok((key, desired)) = read::<Desired>(&rows(&value)) {
            prop_assert_eq!(read(&carry(key.clone(), desired.clone(), &node("a", 1))), Ok((key, desired)));
        }
    }

    #[test]
    fn any_bytes_are_a_claim_or_an_error(value: Vec<u8>) {
        if let Ok((key, actual)) = read::<Actual>(&rows(&value)) {
            prop_assert_eq!(read(&carry(key.clone(), actual.clone(), &node("a", 1))), Ok((key, actual)));
        }
    }

    /// What was a start or a claim, but for one byte, is one too, or an error.
    #[test]
    fn a_byte_that_fell_over_is_read_or_refused(
        desired in desired(), actual in actual(), at: prop::sample::Index, byte: u8,
    ) {
        let (a, key) = (node("a", 1), ChildId::new("w").unwrap());
        for mut bytes in [carry(key.clone(), desired, &a), carry(key, actual, &a)] {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let (_, _) = (read::<Desired>(&bytes), read::<Actual>(&bytes));
        }
    }
}
