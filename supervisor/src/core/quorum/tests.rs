//! One node that needs a quorum, among members whose words the tests make.

use ordu_registry::core::RankPolicy;
use ordu_transport::core::{Member, Pid, Status};

use super::testing::{at, node};
use super::*;
use crate::core::spec::ChildSpec;
use crate::core::words::{Config, Input, StartedInfo};
use crate::core::{Call, Exit, Expect, Preference};

/// Node a, which needs two of at most three.
struct World {
    core: Supervisor,
    at_ms: u64,
    /// Those that answer.
    others: Vec<&'static str>,
    started: Vec<Pid>,
    stopped: Vec<Pid>,
}

impl World {
    fn new(others: &[&'static str]) -> Self {
        let core = Supervisor::new(Config {
            id: node("a"),
            policy: RankPolicy::LongestRunning,
            kinds: vec!["work".into()],
            version: "1".into(),
            weight: 1,
            labels: BTreeMap::new(),
            preference: Preference::default(),
            redistribution: Default::default(),
            bounds: Default::default(),
            keep_done: Duration::from_secs(60),
            disk: None,
            expect: Expect::default(),
            partition: Partition::Quorum(Quorum::of(2)),
            copies: 0,
            seed: 1,
        });
        let mut world = Self { core, at_ms: 1_000, others: others.to_vec(), started: Vec::new(), stopped: Vec::new() };
        world.see("a", Status::Up);
        for other in others {
            world.see(other, Status::Up);
            world.input(Input::Connected(node(other)));
        }
        world
    }

    fn now(&self) -> Now {
        Now { at: at(self.at_ms), wall_ms: 1_700_000_000_000 + self.at_ms }
    }

    fn see(&mut self, name: &str, status: Status) {
        self.input(Input::Member(Member { id: node(name), addr: "x:1".into(), status }));
    }

    fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.core.handle(self.now(), input, &mut effects);
        self.execute(effects);
    }

    /// The others vouch and grant whatever they are asked for.
    fn execute(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Start { pid, .. } => {
                    self.started.push(pid.clone());
                    self.input(Input::Started { pid, info: StartedInfo::default() });
                }
                Effect::Stop { pid, .. } => self.stopped.push(pid),
                Effect::Send { to, message, .. } => {
                    let Message::Control(Control::Quorum(word)) = *message else { continue };
                    let to = to.into_iter().filter(|to| self.others.contains(&to.name.as_str()));
                    for from in to.collect::<Vec<_>>() {
                        let (life, epoch, is_first) = (7, 1, true);
                        match word.clone() {
                            Word::Beat { number, members, .. } => {
                                self.word(&from, Word::Vouch { life, epoch, number, is_first, members });
                            }
                            Word::Ask { number, children, .. } => {
                                let no = Vec::new();
                                self.word(&from, Word::Grant { life, epoch, number, yes: children, no });
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn word(&mut self, from: &NodeId, word: Word) {
        self.input(Input::Message { from: from.clone(), message: Message::Control(Control::Quorum(word)) });
    }

    fn run(&mut self, ms: u64) {
        let end = self.at_ms + ms;
        while let Some(due) = self.core.poll_timeout().filter(|due| *due <= at(end)) {
            self.at_ms = self.at_ms.max(due.as_micros().div_ceil(1_000));
            let mut effects = Vec::new();
            self.core.handle_timeout(self.now(), &mut effects);
            self.execute(effects);
        }
        self.at_ms = end;
    }

    fn start(&mut self, request: u64, id: &str) {
        let spec = ChildSpec::new(ChildId::new(id).unwrap(), "work", "");
        let mut effects = Vec::new();
        let call = Call::Start { spec, ensure: false };
        self.core.call(self.now(), request, call, Duration::from_secs(60), &mut effects);
        self.execute(effects);
    }
}

#[test]
fn of_members_that_have_left_nothing_is_kept() {
    let mut world = World::new(&[]);
    for life in 0..20 {
        let name = format!("n{life}");
        world.see(&name, Status::Up);
        let (number, is_first, members) = (1, true, vec![node("a").name.clone(), node(&name).name.clone()]);
        world.word(&node(&name), Word::Vouch { life, epoch: 1, number, is_first, members });
        let votes = world.core.votes.as_ref().unwrap();
        assert!(votes.lives.contains_key(&node(&name).name), "{name} is a member");
        assert_eq!((votes.members.len(), votes.lives.len()), (2, 1), "with {name}");
        world.see(&name, Status::Left);
        world.run(Quorum::of(2).void_after().as_millis() as u64 + 1_000);
    }
}

/// Its clock goes on while a node's host sleeps, or its process is paused: what it was granted before is void.
#[test]
fn a_node_that_stood_still_starts_nothing_by_what_it_was_granted_before() {
    let mut world = World::new(&["b", "c"]);
    world.run(2_000);
    assert!(world.core.quorum(world.now()).is_some_and(|quorum| quorum.is_held));
    world.start(1, "x");
    world.start(2, "y");
    world.run(2_000);
    let [x, y] = &world.started[..] else { panic!("{:?}", world.started) };
    let (x, y) = (x.clone(), y.clone());
    world.others.clear();
    world.at_ms += 60_000;
    world.input(Input::Exited { pid: x, exit: Exit::Abnormal("it failed".into()) });
    assert_eq!((world.started.len(), &world.stopped[..]), (2, &[y.clone()][..]));
    assert!(world.core.quorum(world.now()).is_some_and(|quorum| !quorum.is_held));
    world.input(Input::Exited { pid: y, exit: Exit::Normal });
    world.run(60_000);
    assert_eq!(world.started.len(), 2, "alone it runs nothing");
    world.others = vec!["b", "c"];
    world.run(5_000);
    assert_eq!(world.started.len(), 4);
}
