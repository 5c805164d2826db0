//! The core by itself: one call and all that came of it; then several cores in a small world of virtual time.

mod among_many;
mod world;

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use self::world::{World, id, ms};
use super::*;
use crate::core::overlay::Mesh;

fn membership(name: &str, seeds: &[&str]) -> Membership {
    let id = id(name, 1, 7);
    Membership::new(MembershipConfig {
        addr: format!("{name}:1").into(),
        started: Hlc::from_wall_ms(1000),
        cluster: "test".into(),
        seeds: seeds.iter().map(|seed| Addr::from(*seed)).collect(),
        seed: id.nonce,
        timings: Timings::default(),
        mesh: Mesh::default(),
        id,
    })
}

fn now(at_ms: u64) -> Now {
    Now { at: ms(at_ms), wall_ms: 1000 + at_ms }
}

fn hello(name: &str, boot: u64, addr: &str, started_ms: u64) -> Hello {
    let started = Hlc::from_wall_ms(started_ms);
    Hello { cluster: "test".into(), id: id(name, boot, 7), addr: addr.into(), started }
}

fn row(name: &str, boot: u64, status: Status) -> Member {
    Member { id: id(name, boot, 7), addr: format!("{name}:1").into(), status }
}

fn handle(core: &mut Membership, at_ms: u64, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    core.handle(now(at_ms), input, &mut effects);
    effects
}

fn timeout(core: &mut Membership, at_ms: u64) -> Vec<Effect> {
    let mut effects = Vec::new();
    core.handle_timeout(now(at_ms), &mut effects);
    effects
}

fn refused(name: &str) -> Input {
    Input::Unreachable { peer: id(name, 5, 7), rtt: Duration::ZERO }
}

/// A core that knows `b` at boot 5 as down.
fn with_b_down() -> Membership {
    let mut core = membership("a", &[]);
    timeout(&mut core, 0);
    handle(&mut core, 0, Input::Connected { hello: hello("b", 5, "b:1", 10), dialled: None });
    handle(&mut core, 0, Input::Disconnected { peer: id("b", 5, 7) });
    handle(&mut core, 0, refused("b"));
    for at in (0..2000).step_by(10) {
        timeout(&mut core, at);
    }
    assert_eq!(core.view().get(&id("b", 5, 7).name), Some(&row("b", 5, Status::Down)));
    core
}

#[test]
fn starts_by_showing_itself_and_dialling_the_seeds_but_itself() {
    let mut core = membership("b", &["c:1", "b:1", "a:1"]);
    assert_eq!(core.poll_timeout(), Some(Instant::default()));
    assert_eq!(timeout(&mut core, 5), [Effect::Member(row("b", 1, Status::Up)), Effect::Dial { addr: "c:1".into() }]);
    // The lower address has the first turn to dial.
    assert_eq!(core.poll_timeout(), Some(ms(55)));
    assert_eq!(timeout(&mut core, 55), [Effect::Dial { addr: "a:1".into() }]);
    let next = core.poll_timeout().expect("the seeds are dialled again");
    assert!(ms(505) <= next && next <= ms(1005));
}

#[test]
fn a_peer_is_a_member_at_once() {
    let mut core = membership("a", &["b:1"]);
    timeout(&mut core, 0);
    let effects = handle(&mut core, 1, Input::Connected { hello: hello("b", 5, "b:1", 10), dialled: None });
    // An announce: version, renewal, incarnation, the receiver's nonce and renewal, the message.
    let announce = Bytes::from_static(b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\0\x07");
    assert_eq!(
        effects,
        [Effect::Datagram { to: id("b", 5, 7), bytes: announce }, Effect::Member(row("b", 5, Status::Up)),]
    );
    assert_eq!(core.dials.first(), None);
}

/// Members `b`, and `c` if there shall be somebody else to ask; the port of `b` refused at 10 ms.
fn with_b_refused(others: &[&str]) -> (Membership, Vec<Effect>) {
    let mut core = membership("a", &[]);
    timeout(&mut core, 0);
    for name in ["b"].iter().chain(others) {
        handle(&mut core, 0, Input::Connected { hello: hello(name, 5, &format!("{name}:1"), 10), dialled: None });
    }
    let effects = handle(&mut core, 10, refused("b"));
    assert!(effects.contains(&Effect::Member(row("b", 5, Status::Suspect))), "{effects:?}");
    // It is told, so that it can contradict at once.
    assert!(matches!(&effects[0], Effect::Datagram { to, .. } if *to == id("b", 5, 7)), "{effects:?}");
    (core, effects)
}

/// When `b` is down, if it is until `end_ms`; the kernel refuses whenever it is asked, while `refuses`.
fn down_at(core: &mut Membership, end_ms: u64, refuses: bool) -> Option<u64> {
    (10..end_ms).step_by(5).find(|at| {
        let effects = timeout(core, *at);
        let is_asked = effects.contains(&Effect::CheckPort { peer: id("b", 5, 7) });
        if is_asked && refuses {
            handle(core, *at, refused("b"));
        }
        effects.contains(&Effect::Member(row("b", 5, Status::Down)))
    })
}

#[test]
fn a_port_that_refuses_twice_is_enough_where_nobody_can_be_asked() {
    let (mut core, _) = with_b_refused(&[]);
    assert_eq!(down_at(&mut core, 2000, true), Some(90));
    let (mut core, _) = with_b_refused(&[]);
    assert_eq!(down_at(&mut core, 1200, false), None);
}

#[test]
fn a_refused_port_needs_a_second_node_that_says_so() {
    let (mut core, effects) = with_b_refused(&["c"]);
    let asked = effects.iter().find_map(|effect| match effect {
        Effect::Datagram { to, bytes } if *to == id("c", 5, 7) && bytes[19] == 10 => Some(bytes.clone()),
        _ => None,
    });
    let asked = asked.expect("the other is asked");
    assert_eq!(down_at(&mut core, 1200, true), None, "nobody else was refused");
    let (mut core, _) = with_b_refused(&["c"]);
    // What we said is what the other one says.
    handle(&mut core, 20, Input::Datagram { from: id("c", 5, 7), bytes: asked });
    assert_eq!(down_at(&mut core, 2000, false), Some(90));
}

#[test]
fn who_contradicted_a_refused_port_is_believed_for_a_while() {
    let (mut core, _) = with_b_refused(&[]);
    // A ping, of a higher incarnation.
    let ping = Bytes::from_static(b"\x01\0\0\0\0\0\x01\0\0\0\0\0\0\0\x07\0\0\0\0\x01\x01");
    let effects = handle(&mut core, 20, Input::Datagram { from: id("b", 5, 7), bytes: ping });
    assert!(effects.contains(&Effect::Member(row("b", 5, Status::Up))), "{effects:?}");
    assert_eq!(handle(&mut core, 30, refused("b")), []);
    let later = 30 + u64::try_from(REFUSALS_IGNORED.as_millis()).expect("short");
    assert_ne!(handle(&mut core, later, refused("b")), []);
}

#[test]
fn a_living_node_contradicts_a_refused_port() {
    let mut world = World::new(5, 3);
    world.run(Duration::from_secs(1));
    world.unreachable(0, 1);
    assert_eq!(world.status(0, 1), Some(Status::Suspect));
    world.run(Duration::from_millis(10));
    assert_eq!(world.status(0, 1), Some(Status::Up));
    world.run(Duration::from_secs(3));
    world.assert_all_up(&[0, 1, 2]);
    assert_eq!([0, 1, 2].map(|node| world.downs(node)), [0; 3]);
}

#[test]
fn leaving_tells_everybody_and_ends() {
    let mut core = membership("a", &[]);
    timeout(&mut core, 0);
    handle(&mut core, 0, Input::Connected { hello: hello("b", 5, "b:1", 10), dialled: None });
    handle(&mut core, 0, Input::Connected { hello: hello("c", 5, "c:1", 10), dialled: None });
    let effects = handle(&mut core, 1, Input::Leave);
    let told: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Datagram { to, .. } => Some(to.name.as_str().to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["b", "c"]);
    assert_eq!(effects[2..], [Effect::Member(row("a", 1, Status::Left))]);
    assert_eq!((core.poll_timeout(), timeout(&mut core, 9000)), (None, vec![]));
    assert_eq!(core.judge(now(2), &hello("b", 5, "b:1", 10)), Err(Refusal::Checking));
}

#[test]
fn another_cluster_is_refused() {
    let mut core = membership("a", &[]);
    let stranger = Hello { cluster: "other".into(), ..hello("b", 1, "b:1", 10) };
    assert_eq!(core.judge(now(0), &stranger), Err(Refusal::Cluster("test".into())));
}

#[test]
fn a_restart_is_accepted_and_an_older_incarnation_superseded() {
    let mut core = membership("a", &[]);
    timeout(&mut core, 0);
    handle(&mut core, 0, Input::Connected { hello: hello("b", 5, "b:1", 10), dialled: None });
    assert_eq!(core.judge(now(1), &hello("b", 6, "b:1", 20)), Ok(()));
    assert_eq!(core.judge(now(1), &hello("b", 4, "b:1", 20)), Err(Refusal::Superseded(id("b", 5, 7))));
    let mut core = with_b_down();
    assert_eq!(core.judge(now(1000), &hello("b", 5, "b:1", 10)), Ok(()));
    assert_eq!(core.judge(now(1000), &hello("b", 6, "x:1", 20)), Ok(()));
    assert_eq!(core.judge(now(1000), &hello("b", 4, "x:1", 20)), Err(Refusal::Superseded(id("b", 5, 7))));
}

#[test]
fn of_two_living_holders_the_later_gives_way() {
    for (started, expected) in [(20, Err(Refusal::NameTaken("b:1".into()))), (5, Ok(()))] {
        let mut core = membership("a", &[]);
        timeout(&mut core, 0);
        handle(&mut core, 0, Input::Connected { hello: hello("b", 5, "b:1", 10), dialled: None });
        let newcomer = hello("b", 6, "x:1", started);
        assert_eq!(core.judge(now(1), &newcomer), Err(Refusal::Checking));
        // The holder is spoken to, and once it answers the matter is clear.
        let effects = timeout(&mut core, 1);
        let spoken_to = |effect: &Effect| matches!(effect, Effect::Datagram { to, .. } if *to == id("b", 5, 7));
        assert!(effects.iter().any(spoken_to), "{effects:?}");
        assert_eq!(core.judge(now(2), &newcomer), Err(Refusal::Checking));
        let ping = Bytes::from_static(b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\0\x01\x01");
        handle(&mut core, 3, Input::Datagram { from: id("b", 5, 7), bytes: ping });
        assert_eq!(core.judge(now(4), &newcomer), expected);
        let closed = Effect::Close { peer: id("b", 5, 7), refusal: Refusal::NameTaken("x:1".into()) };
        assert_eq!(timeout(&mut core, 4).contains(&closed), expected.is_ok());
    }
}

#[test]
fn our_own_name_goes_to_who_started_first() {
    let mut core = membership("a", &[]);
    timeout(&mut core, 0);
    assert_eq!(core.judge(now(1), &hello("a", 9, "x:1", 2000)), Err(Refusal::NameTaken("a:1".into())));
    assert_eq!(core.judge(now(1), &hello("a", 9, "x:1", 500)), Err(Refusal::Checking));
    assert!(timeout(&mut core, 1).contains(&Effect::NameTaken { holder: "x:1".into() }));
}

#[test]
fn superseded_is_reborn_above() {
    let mut core = membership("a", &["b:1"]);
    timeout(&mut core, 0);
    handle(&mut core, 0, Input::Connected { hello: hello("b", 5, "b:1", 10), dialled: None });
    let refusal = Some(Refusal::Superseded(id("a", 6, 1)));
    let effects = handle(&mut core, 1, Input::DialFailed { addr: "b:1".into(), refusal: refusal.clone() });
    let new = core.id().clone();
    assert_eq!((new.boot, new.nonce == 7), (7, false));
    let up = Member { id: new.clone(), addr: "a:1".into(), status: Status::Up };
    assert_eq!(effects, [Effect::Reborn { id: new.clone() }, Effect::Member(up)]);
    // What was said to the former incarnation does not concern the new one.
    assert_eq!(handle(&mut core, 2, Input::DialFailed { addr: "b:1".into(), refusal }), []);
    assert_eq!(core.id(), &new);
}

#[test]
fn a_removed_member_has_left() {
    let mut core = with_b_down();
    let name = id("b", 5, 7).name.clone();
    assert_eq!(
        handle(&mut core, 1000, Input::Remove { name: name.clone() }),
        [Effect::Member(row("b", 5, Status::Left))]
    );
    assert_eq!(core.dials.first(), None);
    assert_eq!(core.judge(now(1000), &hello("b", 5, "b:1", 10)), Err(Refusal::Superseded(id("b", 5, 7))));
    assert_eq!(core.judge(now(1000), &hello("b", 6, "b:1", 10)), Ok(()));
}

proptest! {
    #[test]
    fn garbage_changes_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..1300)) {
        let mut core = membership("a", &[]);
        timeout(&mut core, 0);
        handle(&mut core, 0, Input::Connected { hello: hello("b", 5, "b:1", 10), dialled: None });
        let before = core.view().clone();
        prop_assert_eq!(handle(&mut core, 1, Input::Datagram { from: id("b", 5, 7), bytes: bytes.into() }), []);
        prop_assert_eq!(core.view(), &before);
    }

    /// What a peer of ours may say goes far, but never to a panic, and never to our own row.
    #[test]
    fn a_peer_cannot_make_us_panic(body in proptest::collection::vec(any::<u8>(), 0..200), kind in 1u8..12, flips: u8) {
        let mut core = membership("a", &[]);
        timeout(&mut core, 0);
        handle(&mut core, 0, Input::Connected { hello: hello("b", 5, "b:1", 10), dialled: None });
        let mut update = vec![1u8];
        update.extend_from_slice(b"z");
        update.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, flips, 3]);
        update.extend_from_slice(b"z:1");
        update.extend_from_slice(&[0, 0, 0, flips % 3]);
        let mut bytes = b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\0".to_vec();
        bytes.push(kind);
        if kind <= 6 {
            bytes.push(flips);
        }
        if (3..=6).contains(&kind) {
            bytes.extend_from_slice(&update[..update.len() - 3]);
        }
        bytes.extend_from_slice(&update);
        bytes.extend_from_slice(&body);
        handle(&mut core, 1, Input::Datagram { from: id("b", 5, 7), bytes: bytes.into() });
        for at in (0..2000).step_by(10) {
            timeout(&mut core, at);
        }
        prop_assert_eq!(core.view().get(&core.id().name).map(|row| row.status), Some(Status::Up));
    }
}

#[test]
fn three_converge() {
    let mut world = World::new(1, 3);
    world.run(Duration::from_millis(400));
    world.assert_all_up(&[0, 1, 2]);
}

/// How long it takes until both survivors hold a killed one for down, in milliseconds, on average and at worst.
fn times_to_down(hosts_answer: bool) -> (u64, u64) {
    let (mut worst, mut sum) = (0, 0);
    for seed in 0..100 {
        let mut world = World::new(seed, 3);
        world.hosts_answer = hosts_answer;
        world.run(Duration::from_millis(3000 + seed * 17));
        world.kill(2);
        let taken = world.run_until(Duration::from_secs(5), |world| {
            [0, 1].iter().all(|node| world.status(*node, 2) == Some(Status::Down))
        });
        let taken = u64::try_from(taken.expect("it is found out").as_millis()).expect("short");
        assert_eq!(world.status(0, 1), Some(Status::Up));
        (worst, sum) = (worst.max(taken), sum + taken);
    }
    (sum / 100, worst)
}

#[test]
fn a_killed_node_whose_host_answers_is_down_within_300_ms() {
    let (mean, worst) = times_to_down(true);
    println!("down after {mean} ms on average, {worst} ms at worst");
    assert!(worst <= 300, "{worst} ms");
}

#[test]
fn a_silent_host_is_down_after_a_second_and_a_half_or_so() {
    let (mean, worst) = times_to_down(false);
    println!("down after {mean} ms on average, {worst} ms at worst");
    assert!((1250..=1700).contains(&mean) && worst <= 2600, "{mean} ms on average, {worst} at worst");
}

/// How often somebody who stands still for a second is held as down.
fn buried_while_still(seeds: u64) -> usize {
    let mut downs = 0;
    for seed in 0..seeds {
        let nodes = 2 + (seed % 4) as usize;
        let mut world = World::new(seed, nodes);
        world.hosts_answer = true;
        world.run(Duration::from_millis(2000 + seed * 7));
        for node in 0..nodes {
            world.pause(node, Duration::from_secs(1));
            world.run(Duration::from_millis(3000 + seed * 3));
        }
        downs += (0..nodes).map(|node| world.downs(node)).sum::<usize>();
    }
    downs
}

/// How often two between whom a firewall says that ports are closed hold each other as down.
fn buried_by_a_firewall(seeds: u64) -> usize {
    let mut downs = 0;
    for seed in 0..seeds {
        let mut world = World::new(seed, 3 + (seed % 3) as usize);
        world.cuts_refuse = true;
        world.run(Duration::from_millis(2000 + seed * 7));
        world.cut(&[0], &[1]);
        world.run(Duration::from_millis(2500));
        downs += world.downs(0) + world.downs(1);
    }
    downs
}

#[test]
fn who_stands_still_for_a_second_is_not_down() {
    assert_eq!(buried_while_still(300), 0);
}

#[test]
fn a_firewall_between_two_is_no_death() {
    assert_eq!(buried_by_a_firewall(100), 0);
}

/// Whoever is refused by everybody for a moment has lost its own network, not everybody else.
#[test]
fn a_node_that_is_refused_by_all_decides_about_nobody() {
    for seed in 0..100 {
        let nodes = 3 + (seed % 3) as usize;
        let mut world = World::new(seed, nodes);
        world.cuts_refuse = true;
        world.run(Duration::from_millis(2000 + seed * 7));
        world.cut(&[0], &(1..nodes).collect::<Vec<_>>());
        world.run(Duration::from_millis(300));
        world.heal();
        world.run(Duration::from_secs(10));
        assert_eq!(world.downs(0), 0, "seed {seed}");
        world.assert_all_up(&(0..nodes).collect::<Vec<_>>());
    }
}

#[cfg(feature = "defects")]
#[test]
fn the_defects_of_detection_are_caught() {
    use crate::core::defects::put_back;
    put_back(Some(Defect::HintUnheard));
    assert!(times_to_down(true).1 > 300);
    put_back(Some(Defect::HintIsProof));
    assert!(buried_by_a_firewall(20) > 0);
    put_back(Some(Defect::StarvedIsDead));
    assert!(buried_while_still(20) > 0);
    put_back(None);
}

#[test]
fn a_restarted_node_is_up_at_once_and_its_former_incarnation_never_again() {
    let mut world = World::new(2, 3);
    world.run(Duration::from_secs(2));
    world.kill(2);
    let new = world.restart(2, 2);
    world.run(Duration::from_millis(300));
    world.assert_all_up(&[0, 1, new]);
    // Also much later.
    world.kill(new);
    world.run(Duration::from_secs(60));
    assert_eq!(world.status(0, new), Some(Status::Down));
    let new = world.restart(new, 3);
    let taken = world.run_until(Duration::from_secs(5), |world| world.all_up(&[0, 1, new])).expect("it comes back");
    assert!(taken < Duration::from_millis(300), "{taken:?}");
}

#[test]
fn a_lost_disk_makes_a_new_incarnation_above_the_known_one() {
    let mut world = World::new(3, 3);
    world.run(Duration::from_secs(1));
    let second = {
        world.kill(2);
        world.restart(2, 2)
    };
    world.run(Duration::from_secs(10));
    world.kill(second);
    world.run(Duration::from_secs(10));
    let new = world.restart(second, 1);
    world.run(Duration::from_secs(2));
    world.assert_all_up(&[0, 1, new]);
    assert_eq!(world.id(new).boot, 3);
}

#[test]
fn a_cut_is_found_out_and_healed_soon_after_the_link_returns() {
    for (seed, cut_ms) in (0..20).flat_map(|seed| [400, 1500, 2500, 4000, 30_000].map(|cut| (seed, cut))) {
        let mut world = World::new(seed, 4);
        world.run(Duration::from_millis(2000 + seed * 13));
        world.cut(&[0, 1], &[2, 3]);
        world.run(Duration::from_millis(cut_ms));
        if cut_ms >= 4000 {
            assert_eq!((world.status(0, 2), world.status(3, 1)), (Some(Status::Down), Some(Status::Down)));
        }
        assert_eq!((world.status(0, 1), world.status(2, 3)), (Some(Status::Up), Some(Status::Up)));
        world.heal();
        let taken = world.run_until(Duration::from_secs(10), |world| world.all_up(&[0, 1, 2, 3]));
        let taken = taken.unwrap_or_else(|| panic!("seed {seed}, cut {cut_ms} ms: never met again"));
        assert!(taken <= Duration::from_millis(1500), "seed {seed}, cut {cut_ms} ms: healed after {taken:?}");
    }
}

#[test]
fn a_paused_node_does_not_declare_the_world_dead() {
    for seed in 0..50 {
        let mut world = World::new(seed, 3);
        world.run(Duration::from_millis(2000 + seed * 13));
        world.pause(2, Duration::from_secs(30));
        world.run(Duration::from_secs(10));
        assert_eq!(world.status(0, 2), Some(Status::Down));
        world.run(Duration::from_secs(20));
        let taken = world.run_until(Duration::from_secs(10), |world| world.all_up(&[0, 1, 2]));
        assert!(taken.is_some_and(|taken| taken < Duration::from_secs(2)), "seed {seed}: {taken:?}");
        world.run(Duration::from_secs(5));
        assert_eq!(world.downs(2), 0, "seed {seed}");
        world.assert_all_up(&[0, 1, 2]);
    }
}

#[test]
fn short_pauses_do_not_flap() {
    for seed in 0..20 {
        let mut world = World::new(seed, 3);
        world.run(Duration::from_secs(2));
        for node in 0..30 {
            world.pause(node % 3, Duration::from_millis(250));
            world.run(Duration::from_millis(700));
        }
        assert_eq!([0, 1, 2].map(|node| world.downs(node)), [0, 0, 0], "seed {seed}");
    }
}

#[test]
fn who_leaves_has_left_everywhere_and_is_not_dialled() {
    let mut world = World::new(4, 3);
    world.start("n3", 1, "n3:1", &[0]);
    world.run(Duration::from_secs(1));
    world.assert_all_up(&[0, 1, 2, 3]);
    world.leave(3);
    world.run(Duration::from_millis(300));
    for node in 0..3 {
        assert_eq!(world.status(node, 3), Some(Status::Left));
    }
    let dials = world.dials;
    world.run(Duration::from_secs(20));
    assert_eq!(world.dials, dials);
    let new = world.restart(3, 2);
    world.run(Duration::from_millis(300));
    world.assert_all_up(&[0, 1, 2, new]);
}

#[test]
fn of_two_nodes_of_one_name_the_newcomer_ends() {
    for seed in 0..20 {
        let mut world = World::new(seed, 3);
        world.run(Duration::from_secs(2));
        let second = world.start("n1", 9, "elsewhere:1", &[0, 2]);
        world.run(Duration::from_secs(5));
        assert_eq!(world.name_taken(second), Some("n1:1".into()), "seed {seed}");
        world.kill(second);
        world.run(Duration::from_secs(5));
        world.assert_all_up(&[0, 1, 2]);
        assert_eq!(world.name_taken(1), None);
    }
}

#[test]
fn a_node_that_moved_is_accepted_once_its_former_place_is_down() {
    let mut world = World::new(6, 3);
    world.run(Duration::from_secs(2));
    world.kill(1);
    let moved = world.start("n1", 2, "elsewhere:1", &[0, 2]);
    let taken = world.run_until(Duration::from_secs(5), |world| world.all_up(&[0, 2, moved])).expect("it is accepted");
    assert!(taken < Duration::from_millis(2000), "{taken:?}");
}

#[test]
fn two_of_one_name_from_two_sides_of_a_cut() {
    for seed in 0..20 {
        let mut world = World::new(seed, 2);
        world.cut(&[0], &[1]);
        let first = world.start("twin", 5, "here:1", &[0]);
        world.cut(&[0, first], &[1]);
        world.run(Duration::from_secs(3));
        let second = world.start("twin", 9, "there:1", &[1]);
        world.cut(&[0, first], &[1, second]);
        world.run(Duration::from_secs(3));
        world.heal();
        world.run_until(Duration::from_secs(10), |world| world.name_taken(second).is_some());
        assert_eq!(world.name_taken(second), Some("here:1".into()), "seed {seed}");
        world.kill(second);
        world.run(Duration::from_secs(10));
        assert_eq!(world.name_taken(first), None);
        world.assert_all_up(&[0, 1, first]);
    }
}

#[test]
fn most_double_dials_never_happen() {
    let mut sessions = 0;
    let mut doubles = 0;
    for seed in 0..50 {
        let mut world = World::new(seed, 5);
        world.run(Duration::from_secs(3));
        world.assert_all_up(&[0, 1, 2, 3, 4]);
        sessions += world.sessions_made;
        doubles += world.doubles;
    }
    println!("{doubles} double dials for {sessions} sessions");
    assert!(doubles * 20 < sessions);
}

#[test]
fn a_lossy_network_does_not_flap() {
    for seed in 0..5 {
        let mut world = World::new(seed, 4);
        world.run(Duration::from_secs(2));
        world.loss_percent = 20;
        world.run(Duration::from_secs(60));
        assert_eq!([0, 1, 2, 3].map(|node| world.downs(node)), [0; 4], "seed {seed}");
    }
}
