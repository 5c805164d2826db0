//! What a user plugs in is what runs: policies, behaviours and invariants of one's own.

use ordu_sim::{
    Behaviour, Broken, Character, Context, CustomRank, External, FaultKind, Hlc, Lab, Layer, Moment, Name, NodeName,
    Observation, OpKind, Options, Pid, Preference, Rank, RankPolicy, Scenario, Script,
};
use ordu_supervisor::core::{Placement, Restart};

/// Starts under cuts and crashes, and nobody drains a node.
fn starts() -> Options {
    let ops = vec![(OpKind::Start, 8), (OpKind::Terminate, 1), (OpKind::StartMany, 1)];
    let faults = vec![(FaultKind::Split, 2), (FaultKind::Isolate, 2), (FaultKind::CrashKeepDisk, 1)];
    let scenario = Scenario { layer: Layer::Children, ops: ops.into(), faults: faults.into(), ..Scenario::default() };
    Options { nodes: 4, ops: 40, scenario }
}

fn holds<E: External>(lab: &Lab<E>, options: &Options, seeds: u64) {
    lab.hunt(options, 1, seeds).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn every_rank_policy_keeps_the_promises() {
    let by_node = |pid: &Pid, _: Hlc| Rank::new(pid.node.name.as_str().to_owned().into_bytes());
    let constant = |_: &Pid, _: Hlc| Rank::default();
    let custom = |name, rank: fn(&Pid, Hlc) -> Rank| RankPolicy::Custom(CustomRank { name, rank });
    let own = [custom("by_node", by_node), custom("constant", constant)];
    for rank in [RankPolicy::Newest, RankPolicy::HomeNode, RankPolicy::Priority].into_iter().chain(own) {
        holds(&Lab::default().rank(rank), &Options { nodes: 4, ops: 80, ..Options::default() }, 8);
    }
}

#[test]
fn the_newest_copy_stays_if_the_policy_says_so() {
    // One child, started on both sides of a cut: the two policies keep different copies.
    let survivors = [RankPolicy::LongestRunning, RankPolicy::Newest].map(|rank| {
        let lab = Lab::default().rank(rank).children(|_| Character::Steady);
        (1..=12).map(|seed| lab.run(&Script::draw(seed, &starts())).digest).collect::<Vec<_>>()
    });
    assert_ne!(survivors[0], survivors[1]);
}

fn on_the_first_node(seen: &Observation<'_>) -> Option<Broken> {
    if seen.moment() == Moment::Any {
        return None;
    }
    let first = seen.nodes().into_iter().find(|node| node.is_up)?.node;
    let stray = seen.children().into_iter().find(|child| {
        let moves = child.spec.placement == Placement::Uniform && child.spec.restart != Restart::Temporary;
        moves && child.is_running && child.node != first
    })?;
    Some(Broken::NotYet(format!("{} is at n{}, not at n{first}", stray.id, stray.node)))
}

#[test]
fn children_go_where_the_preference_says() {
    let number = |node: &NodeName| node.as_str()[1..].parse().expect("nodes are named n0, n1, ..");
    let lab = Lab::default()
        .children(|_| Character::Steady)
        .preference(Preference::by(move |_, node, _| number(node)))
        .invariant("on-the-first-node", on_the_first_node);
    holds(&lab, &starts(), 12);
    let elsewhere = Lab::default().children(|_| Character::Steady).invariant("on-the-first-node", on_the_first_node);
    let failure = elsewhere.check(&Script::draw(1, &starts())).expect_err("by default children are spread");
    assert_eq!((failure.violation.invariant, failure.violation.liveness), ("on-the-first-node", true));
}

/// A child that wants to be the leader, gives that up after a while, and tries again.
struct Candidate {
    leads: bool,
}

impl Candidate {
    fn turn<E: External>(&mut self, context: &mut Context<'_, E>) {
        let leader = Name::new("leader").expect("a valid name");
        if self.leads {
            context.unregister(&leader);
            self.leads = false;
        } else {
            self.leads = context.register(&leader, context.id().as_str().to_owned()).is_ok();
            assert!(context.lookup(&leader).is_some(), "a name that was registered or refused is shown at once");
        }
        if !context.is_calm() {
            let after_us = context.draw(50_000..2_000_000);
            context.wake_in(after_us, 0);
        }
    }
}

impl Behaviour for Candidate {
    fn started(&mut self, context: &mut Context<'_>) {
        self.turn(context);
    }

    fn woken(&mut self, context: &mut Context<'_>, _timer: u64) {
        self.turn(context);
    }
}

fn one_leader(seen: &Observation<'_>) -> Option<Broken> {
    let name = Name::new("leader").expect("a valid name");
    let shown = |node: usize| seen.lookup(node, &name).map(|entry| entry.pid().clone());
    let up: Vec<usize> = seen.nodes().into_iter().filter(|node| node.is_up).map(|node| node.node).collect();
    let differs = up.windows(2).any(|pair| shown(pair[0]) != shown(pair[1]));
    (differs && seen.moment() == Moment::Quiet).then(|| Broken::NotYet("the nodes show different leaders".into()))
}

#[test]
fn children_may_use_the_registry_and_a_seed_decides_it() {
    let lab = Lab::default().children(|_| Candidate { leads: false }).invariant("one-leader", one_leader);
    holds(&lab, &starts(), 12);
    let script = Script::draw(3, &starts());
    assert_eq!(lab.run(&script), lab.clone().run(&script));
}

#[test]
fn what_an_invariant_says_first_is_what_a_run_ends_with() {
    let lab = Lab::default().invariant("no-child", |seen| {
        seen.children().first().map(|child| Broken::Safety(format!("{} lives", child.id)))
    });
    let failure = lab.hunt(&starts(), 1, 4).expect_err("children are started");
    assert_eq!(failure.violation.invariant, "no-child");
    assert_eq!(failure.script.steps.len(), 1, "{failure}");
}

#[test]
fn a_failure_can_be_looked_at() {
    let lab = Lab::default().invariant("no-child", |seen| {
        seen.children().first().map(|child| Broken::Safety(format!("{} lives", child.id)))
    });
    let failure = lab.hunt(&starts(), 1, 4).expect_err("children are started");
    assert_eq!(format!("{failure:?}"), failure.to_string());
    let trace = lab.trace(&failure.script);
    assert!(trace.starts_with('#') && trace.contains("VIOLATED no-child: "), "{trace}");
    let page = lab.page(&failure.script);
    assert!(page.starts_with("<!doctype html>") && page.contains("no-child"));
}
