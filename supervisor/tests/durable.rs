//! What a node keeps on its disk, and what waits for that.

use std::time::Duration;

use ordu_registry::core::{Fence, RankPolicy};
use ordu_supervisor::core::durable::CLOCK_LEAD;
use ordu_supervisor::core::expect::RETURN_MAX;
use ordu_supervisor::core::{
    Call, CallError, ChildId, ChildSpec, Config, Effect, Exit, Expect, Input, Preference, Reply, Restart, StartedInfo,
    Stored, Supervisor,
};
use ordu_transport::core::{Hlc, Instant, NodeId, NodeName, Now};

const WAIT: Duration = Duration::from_secs(5);

fn config(name: &str, boot: u64, disk: Stored) -> Config {
    Config {
        id: NodeId::new(NodeName::new(name).unwrap(), boot, boot),
        policy: RankPolicy::LongestRunning,
        kinds: vec!["work".into()],
        version: "1".into(),
        weight: 1,
        labels: Default::default(),
        preference: Preference::default(),
        redistribution: Default::default(),
        bounds: Default::default(),
        keep_done: Duration::from_secs(60),
        disk: Some(disk),
        expect: Expect::default(),
        partition: Default::default(),
        copies: 2,
        seed: boot,
    }
}

/// One node, alone, and its disk, which writes when it is told to.
struct Node {
    core: Supervisor,
    disk: Stored,
    wanted: Vec<(u64, Stored)>,
    replies: Vec<(u64, Reply)>,
    started: Vec<ChildId>,
    now_us: u64,
}

impl Node {
    fn boot(boot: u64, disk: Stored, wall_ahead_us: u64) -> Self {
        let mut node = Self::begin(config("a", boot, disk), 1_000_000 + wall_ahead_us);
        node.wait(Duration::from_secs(3));
        node
    }

    fn begin(config: Config, now_us: u64) -> Self {
        let (wanted, replies, started) = Default::default();
        let disk = config.disk.clone().unwrap_or_default();
        Self { core: Supervisor::new(config), disk, wanted, replies, started, now_us }
    }

    fn now(&self) -> Now {
        Now { at: Instant::from_micros(self.now_us), wall_ms: self.now_us / 1_000 }
    }

    fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.core.handle(self.now(), input, &mut effects);
        self.follow(effects);
    }

    fn call(&mut self, request: u64, call: Call) {
        let mut effects = Vec::new();
        self.core.call(self.now(), request, call, WAIT, &mut effects);
        self.follow(effects);
    }

    fn start(&mut self, request: u64, id: &str, restart: Restart) {
        let spec = ChildSpec { restart, ..ChildSpec::new(ChildId::new(id).unwrap(), "work", "") };
        self.call(request, Call::Start { spec, ensure: false });
    }

    fn follow(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Save { number, stored } => self.wanted.push((number, *stored)),
                Effect::Reply { request, reply } => self.replies.push((request, reply)),
                Effect::Start { pid, spec, .. } => {
                    self.started.push(spec.id.clone());
                    self.input(Input::Started { pid, info: StartedInfo::default() });
                }
                Effect::Stop { pid, .. } => self.input(Input::Exited { pid, exit: Exit::Normal }),
                _ => {}
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = Instant::from_micros(self.now_us) + time;
        while let Some(next) = self.core.poll_timeout().filter(|next| *next <= end) {
            self.now_us = self.now_us.max(next.as_micros());
            let mut effects = Vec::new();
            self.core.handle_timeout(self.now(), &mut effects);
            self.follow(effects);
        }
        self.now_us = end.as_micros();
    }

    /// The disk does what it is asked for, once.
    fn write(&mut self) {
        for (number, stored) in std::mem::take(&mut self.wanted) {
            self.disk.apply(stored);
            self.input(Input::Saved { number });
        }
    }

    fn write_all(&mut self) {
        while !self.wanted.is_empty() {
            self.write();
        }
    }

    fn answered(&self, request: u64) -> Option<&Reply> {
        self.replies.iter().find(|(of, _)| *of == request).map(|(_, reply)| reply)
    }

    fn ids(&self) -> Vec<String> {
        self.core.rows().iter().map(|row| row.id.to_string()).collect()
    }
}

#[test]
fn who_starts_a_child_is_told_when_the_disk_has_it() {
    let mut node = Node::boot(1, Stored::default(), 0);
    node.start(1, "x", Restart::Permanent);
    // Nor is it certain for anybody else that it is there.
    node.start(9, "x", Restart::Permanent);
    assert_eq!((node.started.len(), node.answered(1), node.answered(9), node.wanted.len()), (1, None, None, 1));
    node.write();
    assert!(matches!(node.answered(1), Some(Reply::Child(Ok(_)))));
    assert!(matches!(node.answered(9), Some(Reply::Child(Err(CallError::AlreadyStarted(_))))));
    // A refusal changes nothing and waits for nothing.
    node.wanted.clear();
    node.start(2, "x", Restart::Permanent);
    assert!(matches!(node.answered(2), Some(Reply::Child(Err(CallError::AlreadyStarted(_))))));
    let mut again = Node::boot(2, node.disk, 0);
    assert_eq!((again.ids(), again.started.len()), (vec!["x".to_owned()], 1));
    again.write_all();
    again.call(3, Call::Terminate(ChildId::new("x").unwrap()));
    assert_eq!(again.answered(3), None);
    again.write();
    assert_eq!(again.answered(3), Some(&Reply::Done(Ok(()))));
    assert!(Node::boot(3, again.disk, 0).ids().is_empty());
}

#[test]
fn one_write_does_for_many_callers() {
    let mut node = Node::boot(1, Stored::default(), 0);
    for request in 0..100 {
        node.start(request, &format!("x{request}"), Restart::Permanent);
    }
    assert_eq!((node.wanted.len(), node.replies.len()), (1, 0));
    node.write();
    assert_eq!((node.wanted.len(), node.replies.len()), (1, 1));
    node.write();
    assert_eq!((node.wanted.len(), node.replies.len()), (0, 100));
    assert_eq!(Node::boot(2, node.disk, 0).ids().len(), 100);
}

#[test]
fn who_waits_for_a_disk_that_does_not_write_is_told_that_it_is_unknown() {
    let mut node = Node::boot(1, Stored::default(), 0);
    node.start(1, "x", Restart::Permanent);
    node.wait(WAIT);
    assert_eq!(node.answered(1), Some(&Reply::Child(Err(CallError::Timeout))));
    node.write_all();
    assert_eq!((node.replies.len(), node.core.calls_len()), (1, 0));
}

#[test]
fn what_runs_once_begins_when_the_disk_knows() {
    let mut node = Node::boot(1, Stored::default(), 0);
    node.start(1, "once", Restart::Temporary);
    assert!(node.started.is_empty());
    // Its node dies right after the write.
    let (_, stored) = node.wanted.pop().unwrap();
    node.disk.apply(stored);
    assert!(Node::boot(2, node.disk.clone(), 0).started.is_empty());
    node.input(Input::Saved { number: 1 });
    assert_eq!((node.started.len(), node.answered(1).is_some()), (1, true));
}

#[test]
fn fences_grow_although_the_clock_went_back() {
    let mut node = Node::boot(1, Stored::default(), 3_600_000_000);
    node.start(1, "x", Restart::Permanent);
    node.write_all();
    let before = node.core.row(&ChildId::new("x").unwrap()).unwrap().fence.unwrap();
    let again = Node::boot(2, node.disk.clone(), 0);
    let after = again.core.row(&ChildId::new("x").unwrap()).unwrap().fence.unwrap();
    assert!(after > before && after.at().wall_ms() < before.at().wall_ms() + 2 * CLOCK_LEAD.as_millis() as u64);
}

/// What a child was refused under is followed, and the disk has heard of that before the next one begins.
#[test]
fn a_clock_that_was_told_of_a_later_fence_is_saved_before_it_is_used() {
    let mut node = Node::boot(1, Stored::default(), 0);
    node.start(1, "x", Restart::Permanent);
    node.write_all();
    let row = |node: &Node| node.core.row(&ChildId::new("x").unwrap()).unwrap();
    let (pid, own) = (row(&node).pid.unwrap(), row(&node).fence.unwrap());
    let at = Hlc::from_wall_ms(own.at().wall_ms() + 300_000);
    let seen = Fence::new(at, &pid.node);
    node.input(Input::Exited { pid, exit: Exit::Fenced(seen) });
    assert_eq!((node.started.len(), node.wanted.len()), (1, 1), "it is saved while the child waits");
    node.write_all();
    // Its node dies, and comes back.
    let again = Node::boot(2, node.disk, 0);
    assert!(row(&again).fence > Some(seen));
}

#[test]
fn a_node_alone_takes_what_it_knows_once_it_has_waited_for_the_others() {
    let mut node = Node::boot(1, Stored::default(), 0);
    node.start(1, "x", Restart::Permanent);
    node.write_all();
    let expect = Expect { members: 3, timeout: Duration::from_secs(30) };
    let mut node = Node::begin(Config { expect, ..config("a", 2, node.disk) }, node.now_us);
    node.wait(Duration::from_secs(20));
    let row = node.core.row(&ChildId::new("x").unwrap()).unwrap();
    assert!(node.started.is_empty() && row.reason.as_deref().unwrap().contains("expects"), "{row:?}");
    node.start(2, "y", Restart::Permanent);
    assert!(matches!(node.answered(2), Some(Reply::Child(Err(CallError::NoEligibleNode(_))))));
    node.wait(Duration::from_secs(30));
    assert_eq!(node.started.len(), 1);
}

#[test]
fn who_comes_back_to_a_cluster_with_others_looks_for_them_first() {
    let mut known = Node::boot(1, Stored::default(), 0);
    known.start(1, "x", Restart::Permanent);
    known.write_all();
    // What another wrote is on this one's disk.
    let mut node = Node::begin(config("b", 2, known.disk), known.now_us);
    node.wait(RETURN_MAX / 2);
    assert!(node.started.is_empty() && node.ids() == ["x"]);
    node.wait(RETURN_MAX);
    assert_eq!(node.started.len(), 1);
}
