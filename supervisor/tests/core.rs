//! Supervisor cores that talk over a perfect network in virtual time: what a cluster does when nothing is lost. The
//! simulator covers the rest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ordu_registry::core::RankPolicy;
use ordu_supervisor::core::{
    Call, CallError, ChildId, ChildSpec, ChildStatus, Config, Effect, Event, EventKind, Exit, Input, Message,
    Placement, Reply, Restart, StartedInfo, Supervisor,
};
use ordu_transport::core::{Instant, Member, NodeId, NodeName, Now, Pid, Status};

struct Node {
    core: Supervisor,
    alive: bool,
    running: BTreeMap<Pid, ChildSpec>,
    stopping: bool,
}

struct World {
    now_us: u64,
    nodes: BTreeMap<NodeName, Node>,
    messages: VecDeque<(NodeId, NodeId, Message)>,
    replies: BTreeMap<u64, Reply>,
    events: Vec<(NodeName, Event)>,
    /// Children whose init fails, and children that finish by themselves as soon as they run.
    failing: Vec<String>,
    next_request: u64,
    doubles: Vec<String>,
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn id(text: &str) -> ChildId {
    ChildId::new(text).unwrap()
}

fn spec(text: &str) -> ChildSpec {
    ChildSpec::new(id(text), "work", "")
}

impl World {
    fn new(names: &[&str]) -> Self {
        let mut world = World {
            now_us: 1_000_000,
            nodes: BTreeMap::new(),
            messages: VecDeque::new(),
            replies: BTreeMap::new(),
            events: Vec::new(),
            failing: Vec::new(),
            next_request: 1,
            doubles: Vec::new(),
        };
        names.iter().for_each(|name| world.join(name, 1));
        world.run(Duration::from_secs(3));
        world
    }

    fn now(&self) -> Now {
        Now { at: Instant::from_micros(self.now_us), wall_ms: 1_700_000_000_000 + self.now_us / 1000 }
    }

    fn join(&mut self, text: &str, boot: u64) {
        let id = NodeId::new(name(text), boot, boot * 1000 + text.as_bytes()[0] as u64);
        let config = Config {
            id: id.clone(),
            policy: RankPolicy::LongestRunning,
            kinds: vec!["work".into()],
            version: "1".into(),
            weight: 1,
            keep_done: Duration::from_secs(60),
            seed: boot,
        };
        let node = Node { core: Supervisor::new(config), alive: true, running: BTreeMap::new(), stopping: false };
        self.nodes.insert(name(text), node);
        let member = |id: &NodeId| Member { id: id.clone(), addr: "x:1".into(), status: Status::Up };
        self.input(text, Input::Member(member(&id)));
        for other in self.alive_names() {
            if other.as_str() != text {
                let theirs = self.nodes[&other].core.id().clone();
                self.input(text, Input::Member(member(&theirs)));
                self.input(other.as_str(), Input::Member(member(&id)));
                self.input(text, Input::Connected(theirs));
                self.input(other.as_str(), Input::Connected(id.clone()));
            }
        }
    }

    fn kill(&mut self, text: &str) {
        let node = self.nodes.get_mut(&name(text)).unwrap();
        (node.alive, node.running) = (false, BTreeMap::new());
        let gone = node.core.id().clone();
        for other in self.alive_names() {
            self.input(other.as_str(), Input::Disconnected(gone.clone()));
            let member = Member { id: gone.clone(), addr: "x:1".into(), status: Status::Down };
            self.input(other.as_str(), Input::Member(member));
        }
    }

    fn split(&mut self, left: &[&str], status: Status) {
        for a in self.alive_names() {
            for b in self.alive_names() {
                if left.contains(&a.as_str()) != left.contains(&b.as_str()) {
                    let theirs = self.nodes[&b].core.id().clone();
                    let cut = status == Status::Down;
                    let member = Member { id: theirs.clone(), addr: "x:1".into(), status };
                    if cut {
                        self.input(a.as_str(), Input::Disconnected(theirs.clone()));
                    }
                    self.input(a.as_str(), Input::Member(member));
                    if !cut {
                        self.input(a.as_str(), Input::Connected(theirs));
                    }
                }
            }
        }
        let left: Vec<NodeName> = left.iter().map(|text| name(text)).collect();
        if status == Status::Down {
            self.messages.retain(|(from, to, _)| left.contains(&from.name) == left.contains(&to.name));
        }
    }

    fn alive_names(&self) -> Vec<NodeName> {
        self.nodes.iter().filter(|(_, node)| node.alive).map(|(name, _)| name.clone()).collect()
    }

    fn input(&mut self, text: &str, input: Input) {
        let (now, mut effects) = (self.now(), Vec::new());
        self.nodes.get_mut(&name(text)).unwrap().core.handle(now, input, &mut effects);
        self.execute(&name(text), effects);
    }

    fn call(&mut self, text: &str, call: Call) -> u64 {
        let (now, mut effects, request) = (self.now(), Vec::new(), self.next_request);
        self.next_request += 1;
        self.nodes.get_mut(&name(text)).unwrap().core.call(now, request, call, Duration::from_secs(10), &mut effects);
        self.execute(&name(text), effects);
        request
    }

    fn execute(&mut self, at: &NodeName, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, message, .. } => {
                    let from = self.nodes[at].core.id().clone();
                    self.messages.extend(to.into_iter().map(|to| (from.clone(), to, message.clone())));
                }
                Effect::Start { pid, spec, .. } => {
                    if self.failing.contains(&spec.id.to_string()) {
                        self.input(at.as_str(), Input::Exited { pid, exit: Exit::Abnormal("no such thing".into()) });
                    } else {
                        let others = self.nodes.values().flat_map(|node| node.running.values());
                        if others.filter(|running| running.id == spec.id).count() > 0 {
                            self.doubles.push(spec.id.to_string());
                        }
                        let node = self.nodes.get_mut(at).unwrap();
                        node.running.insert(pid.clone(), ChildSpec::clone(&spec));
                        self.input(at.as_str(), Input::Started { pid, info: StartedInfo::default() });
                    }
                }
                Effect::Stop { pid, .. } => {
                    self.nodes.get_mut(at).unwrap().running.remove(&pid);
                    self.input(at.as_str(), Input::Exited { pid, exit: Exit::Normal });
                }
                Effect::Reply { request, reply } => drop(self.replies.insert(request, reply)),
                Effect::Event(event) => self.events.push((at.clone(), event)),
                Effect::Drained => self.nodes.get_mut(at).unwrap().stopping = true,
                Effect::Fence { .. } | Effect::Exit { .. } | Effect::Visible { .. } => {}
                Effect::Superseded(by) => panic!("superseded by {by}"),
            }
        }
    }

    fn deliver(&mut self) {
        while let Some((from, to, message)) = self.messages.pop_front() {
            if self.nodes.get(&to.name).is_some_and(|node| node.alive && *node.core.id() == to) {
                self.input(to.name.clone().as_str(), Input::Message { from, message });
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now_us + time.as_micros() as u64;
        loop {
            self.deliver();
            let next = |node: &Node| node.core.poll_timeout().map(Instant::as_micros);
            let due =
                self.nodes.iter().filter(|(_, node)| node.alive).filter_map(|(name, node)| Some((next(node)?, name)));
            let Some((at, due)) = due.min().map(|(at, name)| (at, name.clone())) else { break };
            if at > end {
                break;
            }
            self.now_us = self.now_us.max(at);
            let (now, mut effects) = (self.now(), Vec::new());
            self.nodes.get_mut(&due).unwrap().core.handle_timeout(now, &mut effects);
            self.execute(&due, effects);
        }
        self.now_us = end;
    }

    fn start(&mut self, at: &str, spec: ChildSpec) -> u64 {
        self.call(at, Call::Start { spec, ensure: false })
    }

    fn copies(&self, text: &str) -> Vec<String> {
        let copies = |node: &Node| node.running.values().filter(|spec| spec.id.as_str() == text).count();
        self.nodes.iter().flat_map(|(name, node)| std::iter::repeat_n(name.to_string(), copies(node))).collect()
    }

    fn counts(&self) -> Vec<usize> {
        self.nodes.values().filter(|node| node.alive).map(|node| node.running.len()).collect()
    }

    fn assert_alike(&self) {
        let digests: Vec<u64> = self.nodes.values().filter(|node| node.alive).map(|node| node.core.digest()).collect();
        assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
        for node in self.nodes.values().filter(|node| node.alive) {
            assert!(node.core.is_converged(self.now()));
        }
    }

    fn status(&self, at: &str, text: &str) -> Option<ChildStatus> {
        self.nodes[&name(at)].core.row(&id(text)).map(|row| row.status)
    }

    fn started(&self, request: u64) -> bool {
        matches!(self.replies.get(&request), Some(Reply::Child(Ok(row))) if row.status == ChildStatus::Running)
    }
}

fn sixty(world: &mut World) {
    let requests: Vec<u64> = (0..60).map(|n| world.start("a", spec(&format!("c{n}")))).collect();
    world.run(Duration::from_secs(2));
    assert!(requests.iter().all(|&request| world.started(request)));
}

#[test]
fn children_spread_and_every_node_knows_them() {
    let mut world = World::new(&["a", "b", "c"]);
    sixty(&mut world);
    assert_eq!(world.counts().iter().sum::<usize>(), 60);
    assert!(world.counts().iter().all(|count| (8..=32).contains(count)), "{:?}", world.counts());
    world.run(Duration::from_secs(3));
    world.assert_alike();
    assert_eq!(world.doubles, Vec::<String>::new());
    for node in ["a", "b", "c"] {
        let core = &world.nodes[&name(node)].core;
        assert_eq!((core.rows().len(), core.registry().len()), (60, 60));
        assert_eq!(core.status_row(world.now()).running, 60);
    }
}

#[test]
fn a_dead_nodes_children_run_again_and_go_back_when_it_returns() {
    let mut world = World::new(&["a", "b", "c"]);
    sixty(&mut world);
    world.kill("b");
    world.run(Duration::from_secs(1));
    assert_eq!(world.counts().iter().sum::<usize>(), 60);
    world.join("b", 2);
    world.run(Duration::from_secs(20));
    assert_eq!(world.counts().iter().sum::<usize>(), 60);
    assert!(world.counts().iter().all(|count| (8..=32).contains(count)), "{:?}", world.counts());
    assert_eq!(world.doubles, Vec::<String>::new());
    world.assert_alike();
}

#[test]
fn a_split_heals_to_one_copy_of_each_and_the_originals_stay() {
    let mut world = World::new(&["a", "b", "c"]);
    sixty(&mut world);
    let before: Vec<Vec<String>> = (0..60).map(|n| world.copies(&format!("c{n}"))).collect();
    world.split(&["c"], Status::Down);
    world.run(Duration::from_secs(5));
    assert_eq!(world.counts().iter().sum::<usize>(), 120);
    for n in 0..10 {
        world.start("a", spec(&format!("new{n}")));
        world.start("c", spec(&format!("new{n}")));
    }
    let stopped = world.call("a", Call::Terminate(id("c7")));
    world.run(Duration::from_secs(5));
    assert_eq!(world.replies.get(&stopped), Some(&Reply::Done(Ok(()))));
    world.events.clear();
    world.split(&["c"], Status::Up);
    world.run(Duration::from_secs(5));
    for n in (0..60).filter(|n| *n != 7) {
        assert_eq!(world.copies(&format!("c{n}")), before[n as usize], "c{n}");
    }
    assert_eq!(world.copies("c7"), Vec::<String>::new());
    for n in 0..10 {
        assert_eq!(world.copies(&format!("new{n}")).len(), 1);
    }
    world.assert_alike();
    let conflicts = world.events.iter().filter(|(_, event)| matches!(event.what, EventKind::NameConflict { .. }));
    // Every child but the stopped one ran twice, and every loser is told once, by its own node.
    let mut losers: Vec<String> = conflicts.map(|(at, event)| format!("{at} {:?}", event.what)).collect();
    losers.sort();
    assert_eq!(losers.len(), 69, "{losers:#?}");
}

#[test]
fn starting_twice_is_refused_and_ensuring_is_not() {
    let mut world = World::new(&["a", "b"]);
    let first = world.start("a", spec("x"));
    world.run(Duration::from_secs(1));
    let (second, ensured) =
        (world.start("b", spec("x")), world.call("b", Call::Start { spec: spec("x"), ensure: true }));
    world.run(Duration::from_secs(1));
    assert!(world.started(first) && world.started(ensured));
    assert!(matches!(&world.replies[&second], Reply::Child(Err(CallError::AlreadyStarted(_)))));
    assert_eq!(world.copies("x").len(), 1);
}

#[test]
fn a_failing_init_is_told_to_its_caller_and_leaves_nothing() {
    let mut world = World::new(&["a", "b", "c"]);
    world.failing = (0..9).map(|n| format!("f{n}")).collect();
    let requests: Vec<u64> = (0..9).map(|n| world.start("a", spec(&format!("f{n}")))).collect();
    world.run(Duration::from_secs(4));
    for request in requests {
        assert_eq!(world.replies[&request], Reply::Child(Err(CallError::Failed("no such thing".into()))));
    }
    for node in world.nodes.values() {
        assert_eq!((node.core.rows(), node.core.registry().len()), (Vec::new(), 0));
        assert_eq!(node.core.desired().table().removals_len(), 0);
    }
    world.assert_alike();
}

#[test]
fn nobody_offers_the_kind() {
    let mut world = World::new(&["a", "b"]);
    let request = world.start("a", ChildSpec::new(id("x"), "other", ""));
    assert!(matches!(&world.replies[&request], Reply::Child(Err(CallError::NoEligibleNode(_)))));
    assert_eq!(world.status("a", "x"), None);
}

#[test]
fn terminating_what_is_not_there_is_not_found() {
    let mut world = World::new(&["a"]);
    let request = world.call("a", Call::Terminate(id("x")));
    assert_eq!(world.replies[&request], Reply::Done(Err(CallError::NotFound)));
}

#[test]
fn a_child_is_restarted_by_its_kind_of_restart() {
    let mut world = World::new(&["a"]);
    for (text, restart) in
        [("p", Restart::Permanent), ("t", Restart::Transient), ("n", Restart::Transient), ("o", Restart::Temporary)]
    {
        world.start("a", ChildSpec { restart, ..spec(text) });
    }
    world.run(Duration::from_secs(1));
    let exit = |world: &mut World, text: &str, exit: Exit| {
        let node = world.nodes.get_mut(&name("a")).unwrap();
        let pid = node.running.iter().find(|(_, spec)| spec.id.as_str() == text).map(|(pid, _)| pid.clone()).unwrap();
        node.running.remove(&pid);
        world.input("a", Input::Exited { pid, exit });
    };
    exit(&mut world, "p", Exit::Normal);
    exit(&mut world, "t", Exit::Abnormal("boom".into()));
    exit(&mut world, "n", Exit::Normal);
    exit(&mut world, "o", Exit::Abnormal("boom".into()));
    assert_eq!(world.status("a", "t"), Some(ChildStatus::Backoff));
    world.run(Duration::from_secs(1));
    for (text, status, restarts) in [
        ("p", ChildStatus::Running, 1),
        ("t", ChildStatus::Running, 1),
        ("n", ChildStatus::Done, 0),
        ("o", ChildStatus::Done, 0),
    ] {
        let row = world.nodes[&name("a")].core.row(&id(text)).unwrap();
        assert_eq!((row.status, row.restarts), (status, restarts), "{text}");
    }
    world.run(Duration::from_secs(90));
    assert_eq!(world.status("a", "n"), None);
}

#[test]
fn a_temporary_child_is_suspended_with_its_node_and_ends_when_that_is_over() {
    let mut world = World::new(&["a", "b"]);
    let pinned = ChildSpec { restart: Restart::Temporary, placement: Placement::Uniform, ..spec("x") };
    world.start("a", pinned);
    world.run(Duration::from_secs(1));
    let holder = world.copies("x").remove(0);
    let other = if holder == "a" { "b" } else { "a" };
    world.kill(&holder);
    world.run(Duration::from_secs(5));
    assert_eq!(world.status(other, "x"), Some(ChildStatus::Suspended));
    world.join(&holder, 2);
    world.run(Duration::from_secs(5));
    assert_eq!((world.status("a", "x"), world.status("b", "x")), (None, None));
    assert_eq!(world.copies("x"), Vec::<String>::new());
}

#[test]
fn restarting_gives_a_new_process_with_a_higher_fence() {
    let mut world = World::new(&["a", "b"]);
    world.start("a", spec("x"));
    world.run(Duration::from_secs(1));
    let before = world.nodes[&name("b")].core.row(&id("x")).unwrap();
    let request = world.call("b", Call::Restart(id("x")));
    world.run(Duration::from_secs(1));
    assert!(world.started(request));
    let after = world.nodes[&name("b")].core.row(&id("x")).unwrap();
    assert!(after.fence > before.fence && after.pid != before.pid && after.restarts == before.restarts);
    assert_eq!(world.copies("x").len(), 1);
}

#[test]
fn a_draining_node_gives_its_children_away_and_the_last_one_stops_them() {
    let mut world = World::new(&["a", "b"]);
    sixty(&mut world);
    world.input("a", Input::Shutdown);
    world.run(Duration::from_secs(10));
    assert!(world.nodes[&name("a")].stopping);
    assert_eq!((world.counts(), world.doubles.len()), (vec![0, 60], 0));
    world.kill("a");
    world.input("b", Input::Shutdown);
    world.run(Duration::from_secs(5));
    assert!(world.nodes[&name("b")].stopping);
    assert_eq!(world.counts(), vec![0]);
    assert_eq!(world.nodes[&name("b")].core.desired().table().keys().count(), 60);
}

#[test]
fn a_destination_that_is_silent_does_not_keep_a_node_from_leaving() {
    let mut world = World::new(&["a", "b"]);
    sixty(&mut world);
    // It hangs, and nobody has noticed yet.
    world.nodes.get_mut(&name("b")).unwrap().alive = false;
    world.input("a", Input::Shutdown);
    world.run(Duration::from_secs(60));
    assert_eq!(world.counts(), vec![0]);
    assert!(world.nodes[&name("a")].stopping);
}

#[test]
fn draining_another_node_is_a_request_to_it() {
    let mut world = World::new(&["a", "b"]);
    sixty(&mut world);
    let request = world.call("a", Call::Drain { node: name("b"), on: true });
    world.run(Duration::from_secs(10));
    assert_eq!(world.replies[&request], Reply::Done(Ok(())));
    assert_eq!(world.counts(), vec![60, 0]);
    let request = world.call("a", Call::Drain { node: name("b"), on: false });
    world.run(Duration::from_secs(10));
    assert_eq!(world.replies[&request], Reply::Done(Ok(())));
    assert!(world.counts()[1] > 8);
    let request = world.call("a", Call::Drain { node: name("z"), on: true });
    assert_eq!(world.replies[&request], Reply::Done(Err(CallError::NotFound)));
}

#[test]
fn a_pinned_child_waits_for_its_node() {
    let mut world = World::new(&["a", "b"]);
    let pinned = ChildSpec { placement: Placement::Pinned(name("b")), ..spec("x") };
    world.start("a", pinned);
    world.run(Duration::from_secs(1));
    assert_eq!(world.copies("x"), vec!["b"]);
    world.kill("b");
    world.run(Duration::from_secs(5));
    let row = world.nodes[&name("a")].core.row(&id("x")).unwrap();
    assert_eq!(
        (row.status, row.reason.as_deref()),
        (ChildStatus::Pending, Some("no eligible node: it is pinned to b, which is not up"),)
    );
}

#[test]
fn a_spec_of_an_unknown_node_does_not_start_without_its_facts() {
    let world = World::new(&["a"]);
    let rows = world.nodes[&name("a")].core.member_rows();
    assert_eq!((rows.len(), rows[0].kinds.clone()), (1, vec![Arc::from("work")]));
}
