//! What starting children takes of the pure half: three cores that say to one another what they would over a network,
//! encoded and decoded, in virtual time. Under callgrind (`--toggle-collect='*measured*'`) the counts are the same on a
//! busy machine; without it the time is told, and the frames and bytes in any case.
//!
//! ```text
//!   cargo bench -p ordu-supervisor --no-default-features --bench starts -- few 10000
//! ```

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark")]

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use ordu_registry::core::RankPolicy;
use ordu_supervisor::core::{
    Call, ChildId, ChildSpec, Config, Effect, Expect, Input, Message, Preference, Reply, StartedInfo, Supervisor,
};
use ordu_transport::core::codec::{self, Kind};
use ordu_transport::core::{Instant, Member, NodeId, NodeName, Now, Pid, Status};

/// How many callers `few` has.
const FEW: usize = 32;
/// How many starts one call of `bulk` makes.
const BULK: usize = 256;
const WAIT: Duration = Duration::from_secs(60);

/// Something that is on its way to a core.
enum Coming {
    Frame { from: NodeId, frame: Bytes },
    Started(Pid),
}

struct World {
    now_us: u64,
    cores: Vec<Supervisor>,
    coming: VecDeque<(usize, Coming)>,
    replied: usize,
    frames: usize,
    bytes: usize,
}

fn id_of(at: usize) -> NodeId {
    NodeId::new(NodeName::new(&format!("n{}", at + 1)).expect("a name"), 1, 7 + at as u64)
}

impl World {
    fn new(count: usize) -> Self {
        let core = |at: usize| {
            Supervisor::new(Config {
                id: id_of(at),
                policy: RankPolicy::LongestRunning,
                kinds: vec!["bench".into()],
                version: "1".into(),
                weight: 1,
                labels: Default::default(),
                preference: Preference::default(),
                redistribution: Default::default(),
                bounds: Default::default(),
                keep_done: Duration::from_secs(60),
                disk: None,
                expect: Expect::default(),
                partition: Default::default(),
                copies: 0,
                seed: at as u64,
            })
        };
        let mut world = World {
            now_us: 1_000_000,
            cores: (0..count).map(core).collect(),
            coming: VecDeque::new(),
            replied: 0,
            frames: 0,
            bytes: 0,
        };
        for at in 0..count {
            for other in 0..count {
                world.input(at, Input::Member(Member { id: id_of(other), addr: "x:1".into(), status: Status::Up }));
            }
        }
        for at in 0..count {
            for other in (0..count).filter(|other| *other != at) {
                world.input(at, Input::Connected(id_of(other)));
            }
        }
        world.pass(Duration::from_secs(5));
        world
    }

    fn now(&self) -> Now {
        Now { at: Instant::from_micros(self.now_us), wall_ms: 1_800_000_000_000 + self.now_us / 1_000 }
    }

    fn input(&mut self, at: usize, input: Input) {
        let (now, mut effects) = (self.now(), Vec::new());
        self.cores[at].handle(now, input, &mut effects);
        self.execute(at, effects);
    }

    fn execute(&mut self, at: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, message, .. } => {
                    let (from, frame) = (id_of(at), codec::encode(Kind::Replication, &message));
                    for to in to {
                        let place = (0..self.cores.len()).find(|place| id_of(*place) == to).expect("one of the nodes");
                        (self.frames, self.bytes) = (self.frames + 1, self.bytes + frame.len());
                        self.coming.push_back((place, Coming::Frame { from: from.clone(), frame: frame.clone() }));
                    }
                }
                Effect::Start { pid, .. } => self.coming.push_back((at, Coming::Started(pid))),
                Effect::Reply { reply, .. } => {
                    assert!(matches!(reply, Reply::Child(Ok(_))), "{reply:?}");
                    self.replied += 1;
                }
                effect => drop(black_box(effect)),
            }
        }
    }

    /// Takes the next of what is on its way.
    fn step(&mut self) -> bool {
        let Some((at, coming)) = self.coming.pop_front() else { return false };
        self.now_us += 10;
        self.input(
            at,
            match coming {
                Coming::Started(pid) => Input::Started { pid, info: StartedInfo::default() },
                Coming::Frame { from, frame } => {
                    let message: Message = codec::decode(Kind::Replication, &frame).expect("a message of ours");
                    Input::Message { from, message }
                }
            },
        );
        self.expire();
        true
    }

    fn expire(&mut self) {
        for at in 0..self.cores.len() {
            let now = self.now();
            if self.cores[at].poll_timeout().is_some_and(|due| due <= now.at) {
                let mut effects = Vec::new();
                self.cores[at].handle_timeout(now, &mut effects);
                self.execute(at, effects);
            }
        }
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) {
        let end = self.now_us + time.as_micros() as u64;
        while self.now_us < end {
            while self.step() {}
            self.now_us += 1_000;
            self.expire();
        }
    }

    /// The first node is asked for these at once.
    fn call(&mut self, numbers: std::ops::Range<usize>) {
        let spec = |number: usize| ChildSpec::new(ChildId::new(&format!("c{number:09}")).expect("an id"), "bench", "");
        let calls = numbers.map(|number| (number as u64 + 1, Call::Start { spec: spec(number), ensure: false }));
        let (now, mut effects) = (self.now(), Vec::new());
        self.cores[0].call_many(now, calls, WAIT, &mut effects);
        self.execute(0, effects);
    }

    /// Starts so many, in calls of `at_once`, of which not more than `waiting` children wait.
    fn start(&mut self, count: usize, at_once: usize, waiting: usize) {
        let (mut asked, before) = (0, self.replied);
        while self.replied - before < count {
            while asked < count && asked - (self.replied - before) < waiting {
                let until = (asked + at_once).min(count);
                self.call(asked..until);
                asked = until;
            }
            if !self.step() {
                self.now_us += 100;
                self.expire();
            }
        }
        while self.step() {}
    }
}

/// Callgrind knows this function by its name, and counts what happens in it and nowhere else.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
    black_box(());
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let count = args.get(1).map_or(2_000, |count| count.parse().expect("a number"));
    let ways = [("one", 1, 1), ("few", 1, FEW), ("bulk", BULK, usize::MAX)];
    for (way, at_once, waiting) in ways.into_iter().filter(|(way, ..)| args.first().is_none_or(|of| of == way)) {
        let mut world = World::new(3);
        let (frames, bytes, began) = (world.frames, world.bytes, std::time::Instant::now());
        measured(&mut || world.start(count, at_once, waiting));
        let taken = began.elapsed();
        let each = |number: usize| number as f64 / count as f64;
        println!(
            "{way}: {:.1} us, {:.2} frames, {:.0} bytes each",
            taken.as_secs_f64() * 1e6 / count as f64,
            each(world.frames - frames),
            each(world.bytes - bytes)
        );
    }
}
