//! Why a child is where it is, and where it would go: what placement and moves decide of it, in words. It changes nothing.

use std::sync::Arc;

use ordu_transport::core::{Member, NodeId, NodeName, Now};

use super::choice::{Standing, Weighing};
use super::placement::{self, Candidate, Ineligible, Merit};
use super::row::{ChildRow, ChildStatus, MemberStatus};
use super::show::member_status;
use super::spec::{ChildId, ChildSpec, Placement, Refused, Restart};
use super::supervisor::Supervisor;
use super::tables::{Facts, State};

/// Most nodes that may run a child that are told of, and most that may not; beside them the one that has it.
pub const EXPLAINED_MAX: usize = 50;

/// Why a child is where it is, as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The child.
    pub row: ChildRow,
    /// What should run; `None` where nothing should any more.
    pub spec: Option<Arc<ChildSpec>>,
    /// Where it belongs now.
    pub seat: Option<NodeName>,
    /// Who chooses a node for it when nobody has it; `None` where its seat is that node.
    pub decider: Option<NodeName>,
    /// Where it would go if the node that has it were gone; if nobody has it, its seat.
    pub next: Option<NodeName>,
    /// Whether it goes to another node by itself, now or as soon as that can take it.
    pub moves: bool,
    /// Why it stays, goes, or does not run.
    pub why: String,
    /// The nodes: those that may run it, the best first, then those that may not.
    pub nodes: Vec<Considered>,
    /// How many may run it.
    pub eligible: usize,
    /// How many may not.
    pub ineligible: usize,
}

impl Explanation {
    /// How many nodes are not told of, because there are more than [`EXPLAINED_MAX`].
    pub fn left_out(&self) -> usize {
        (self.eligible + self.ineligible).saturating_sub(self.nodes.len())
    }
}

/// What speaks for and against a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered {
    /// Its name.
    pub node: NodeName,
    /// What is believed of it.
    pub status: MemberStatus,
    /// It takes no children and keeps those that it has.
    pub cordoned: bool,
    /// Its place among those that may run the child, from 1 on; `None` where it may not.
    pub order: Option<usize>,
    /// Its share of children relative to others; 0 while it is not known.
    pub weight: u32,
    /// How many of the labels that the child prefers it has.
    pub preferred: usize,
    /// What the application's preference gives, the least being the best; `None` where it was not asked.
    pub preference: Option<u64>,
    /// How many other children it has; `None` where that does not count.
    pub children: Option<u64>,
    /// How many others of the group that the child keeps away from are in the same place, and how many of them on the
    /// node itself; `None` where there is no such group.
    pub apart: Option<(u64, u64)>,
    /// Why it may not run the child.
    pub reason: Option<String>,
}

/// A node before it is known whether it is told of.
struct Weighed<'a> {
    id: &'a NodeId,
    status: MemberStatus,
    facts: Option<&'a Facts>,
    /// What it is worth, or why it may not run the child, and whether that is merely that the child is pinned elsewhere.
    merit: Result<Merit, (bool, String)>,
    /// How good it is by where others are, if that counts.
    standing: Option<Standing>,
}

impl Supervisor {
    /// Why a child is where it is, and where it would go. `None` if there is no such child.
    ///
    /// That another node did not take it lately is known to the node that has it only.
    pub fn explain(&self, now: Now, id: &ChildId) -> Option<Explanation> {
        let row = self.row(id)?;
        let spec = self.spec(id).filter(|_| row.status != ChildStatus::Done).cloned();
        let Some(spec) = spec else {
            let how = row.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let why = if row.status == ChildStatus::Done {
                format!("it has ended for good{how}")
            } else {
                "it was terminated, and is on its way out".to_owned()
            };
            let (nodes, seat, next, decider) = (Vec::new(), None, None, None);
            return Some(Explanation {
                row,
                spec: None,
                seat,
                decider,
                next,
                moves: false,
                why,
                nodes,
                eligible: 0,
                ineligible: 0,
            });
        };
        let (may, may_not) = self.weigh(&spec);
        let seat = may.first().map(|best| best.id.clone());
        let chooses = spec.placement.chooses();
        let decider = self.seat(&spec).filter(|_| chooses).map(|seat| seat.name.clone());
        let holder = self.shown_claim(id).map(|(holder, _)| holder).filter(|_| chooses && row.node.is_some());
        let seat = holder.map_or(seat, |holder| self.home(now, holder, &spec));
        let seat = seat.as_ref();
        let (moves, why) = self.verdict(now, &row, &spec, seat);
        let next = match spec.restart {
            // It is suspended then.
            Restart::Temporary if row.node.is_some() => None,
            Restart::Permanent | Restart::Transient | Restart::Temporary => {
                may.iter().map(|other| &other.id.name).find(|name| row.node.as_ref() != Some(name))
            }
        };
        let is_told = |at: usize, node: &Weighed<'_>| at < EXPLAINED_MAX || row.node.as_ref() == Some(&node.id.name);
        let told = |nodes: &[Weighed<'_>]| -> Vec<Considered> {
            let nodes = nodes.iter().enumerate().filter(|(at, node)| is_told(*at, node));
            nodes.map(|(at, node)| node.considered(&spec, at + 1)).collect()
        };
        let nodes = [told(&may), told(&may_not)].concat();
        let (seat, next) = (seat.map(|seat| seat.name.clone()), next.cloned());
        let (eligible, ineligible) = (may.len(), may_not.len());
        Some(Explanation { row, spec: Some(spec), seat, decider, next, moves, why, nodes, eligible, ineligible })
    }

    /// The nodes that may run a child, the best first, and those that may not.
    fn weigh(&self, spec: &ChildSpec) -> (Vec<Weighed<'_>>, Vec<Weighed<'_>>) {
        let others = self.registry.view().members().filter(|member| member.id.name != self.id().name);
        let own = self.registry.view().of(self.id());
        let own_status = own.map_or(MemberStatus::Up, |own| member_status(own, self.facts_of(self.id())));
        let others = others.map(|member| self.weigh_member(spec, member));
        let own = self.weigh_node(spec, self.id(), own_status);
        let mut nodes: Vec<Weighed<'_>> = others.chain([own]).collect();
        if spec.placement.chooses() {
            self.weigh_by(spec, |by| nodes.iter_mut().for_each(|node| node.weigh_by(spec, by)));
        }
        let (mut may, mut may_not): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| node.merit.is_ok());
        may.sort_by_key(|node| (node.standing, node.merit.clone().ok(), node.id));
        may_not.sort_by_key(|node| {
            (node.merit.as_ref().err().is_some_and(|(elsewhere, _)| *elsewhere), node.status, node.id)
        });
        (may, may_not)
    }

    fn weigh_member<'a>(&'a self, spec: &ChildSpec, member: &'a Member) -> Weighed<'a> {
        let facts = self.facts_of(&member.id);
        let status = member_status(member, facts);
        match status {
            MemberStatus::Up | MemberStatus::Suspect | MemberStatus::Draining => {
                self.weigh_node(spec, &member.id, status)
            }
            MemberStatus::Down => Weighed::out(&member.id, status, facts, "it is down"),
            MemberStatus::Left => Weighed::out(&member.id, status, facts, "it has left"),
        }
    }

    fn weigh_node<'a>(&'a self, spec: &ChildSpec, id: &'a NodeId, status: MemberStatus) -> Weighed<'a> {
        let facts = self.facts_of(id);
        let merit = placement::merit(spec, &self.preference, Candidate { id, facts });
        let merit = merit.map_err(|why| (matches!(why, Ineligible::Pinned(_)), refusal(spec, facts, &why)));
        Weighed { id, status, facts, merit, standing: None }
    }

    /// Whether a child goes elsewhere by itself, and why it stays, goes, or does not run.
    fn verdict(&self, now: Now, row: &ChildRow, spec: &ChildSpec, seat: Option<&NodeId>) -> (bool, String) {
        let reason = || row.reason.clone().unwrap_or_default();
        let Some((holder, claim)) = self.shown_claim(&row.id).filter(|_| row.node.is_some()) else {
            let is_left_alone = row.status == ChildStatus::Quarantined;
            return (false, if is_left_alone { left_alone(&reason()) } else { reason() });
        };
        match &claim.state {
            State::Starting => {
                let (moves, why) = self.verdict_on_running(now, spec, holder, seat);
                (moves, format!("its init runs; after that, {why}"))
            }
            State::Running => self.verdict_on_running(now, spec, holder, seat),
            State::Stopping => (false, "it was asked to stop; what follows is decided when it has".to_owned()),
            State::Moving { to, .. } => (true, format!("it is on its way to {}", to.name)),
            State::Failed => (false, format!("its init failed, and whoever asked for it is told: {}", reason())),
            State::Backoff => {
                let seat = seat.filter(|seat| *seat != holder && self.would_give(holder, spec, Some(seat)).is_ok());
                let place = seat.map_or(&holder.name, |seat| &seat.name);
                (seat.is_some(), format!("it is started again after a pause, on {place}: {}", reason()))
            }
            State::Quarantined => (false, left_alone(&reason())),
            State::Done => (false, format!("it has ended for good: {}", reason())),
        }
    }

    fn verdict_on_running(&self, now: Now, spec: &ChildSpec, holder: &NodeId, seat: Option<&NodeId>) -> (bool, String) {
        let has_it = &holder.name;
        match (seat, self.would_give(holder, spec, seat)) {
            (Some(seat), _) if seat == holder && spec.placement.chooses() => {
                let to = self.evener(&self.counts(), holder, spec, |_| true);
                let evener = to.filter(|_| spec.restart != Restart::Temporary && !self.keeps(holder, spec));
                let evener = evener.map(|to| format!("; a rebalance would move it to {}", to.name)).unwrap_or_default();
                (false, format!("{has_it} was chosen for it, and keeps it as long as it may run it{evener}"))
            }
            (Some(seat), _) if seat == holder => (false, format!("{has_it} is where it belongs")),
            (Some(seat), _) if spec.restart == Restart::Temporary => {
                (false, format!("it belongs on {}, but it runs once at most and so is not moved", seat.name))
            }
            (Some(seat), Err(why)) => (false, format!("it would belong on {}, but {why}", seat.name)),
            (None, Err(why)) => (false, format!("{why}, and no other node may run it")),
            (None, Ok(_)) => (false, format!("it stays where it is: {}", self.why_nowhere(spec))),
            (Some(seat), Ok(why)) => {
                let hindered = if self.is_refused_by(now, &spec.id, seat) {
                    format!("; {} did not take it a while ago, and is offered it again later", seat.name)
                } else if !self.is_up(seat) && seat != self.id() {
                    format!("; it waits until {} answers", seat.name)
                } else {
                    String::new()
                };
                (true, format!("it belongs on {}, and {why}{hindered}", seat.name))
            }
        }
    }

    /// Why a node gives away a child that it has and that belongs elsewhere; or, as the error, why it does not.
    fn would_give(&self, holder: &NodeId, spec: &ChildSpec, seat: Option<&NodeId>) -> Result<String, String> {
        let (has_it, facts) = (&holder.name, self.facts_of(holder));
        match placement::eligible(spec, Candidate { id: holder, facts }) {
            Ok(_) if facts.is_some_and(|facts| facts.passive) => Err(format!(
                "{has_it} gives children away only when it drains, or is asked to (passive redistribution)"
            )),
            Ok(_) if seat.is_some_and(|seat| self.has_few_places(seat)) => {
                Err("that was full, and takes none that runs elsewhere before more of its places are free".to_owned())
            }
            Ok(_) => Ok(format!("{has_it} gives it away as soon as that can take it, a few at a time")),
            Err(Ineligible::Cordoned) => Err(format!("{has_it} is cordoned and keeps what it has")),
            Err(Ineligible::Full) => Err(format!("{has_it} is full and keeps what it has")),
            Err(why) => Ok(format!("{has_it} gives it away, for {}", refusal(spec, facts, &why))),
        }
    }
}

impl<'a> Weighed<'a> {
    /// A node that takes nothing.
    fn out(id: &'a NodeId, status: MemberStatus, facts: Option<&'a Facts>, why: &str) -> Self {
        Self { id, status, facts, merit: Err((false, why.to_owned())), standing: None }
    }

    /// Takes into account where others are.
    fn weigh_by(&mut self, spec: &ChildSpec, by: &Weighing<'_>) {
        let Ok(merit) = &self.merit else { return };
        let standing = by.standing(Candidate { id: self.id, facts: self.facts }, *merit);
        self.standing = Some(standing);
        if !by.allows(&standing)
            && let Some(apart) = spec.placement.required_apart()
        {
            let (key, value) = &apart.group;
            self.merit = Err((false, format!("it would not be apart from {} with {key}={value}", standing.near)));
        }
    }

    fn considered(&self, spec: &ChildSpec, order: usize) -> Considered {
        let living = !matches!(self.status, MemberStatus::Down | MemberStatus::Left);
        let prefer = &spec.affinity.prefer;
        let is_apart = matches!(spec.placement, Placement::Apart(_));
        let lacking = self.facts.map_or(prefer.len(), |facts| spec.affinity.dislikes(&facts.labels) as usize);
        Considered {
            node: self.id.name.clone(),
            status: self.status,
            cordoned: living && self.facts.is_some_and(|facts| facts.cordoned),
            order: self.merit.as_ref().ok().map(|_| order),
            weight: self.facts.map_or(0, |facts| facts.weight),
            preferred: prefer.len() - lacking,
            preference: self.merit.as_ref().ok().map(|merit| merit.preference),
            children: self.standing.map(|standing| standing.children),
            apart: self.standing.filter(|_| is_apart).map(|standing| (standing.near, standing.beside)),
            reason: self.merit.as_ref().err().map(|(_, why)| why.clone()),
        }
    }
}

fn left_alone(reason: &str) -> String {
    format!("it is left alone until somebody restarts or terminates it: {reason}")
}

/// Why a node may not run a child, of that node.
fn refusal(spec: &ChildSpec, facts: Option<&Facts>, why: &Ineligible) -> String {
    match why {
        Ineligible::Unknown => "it has not said yet what it can run".to_owned(),
        Ineligible::Draining if facts.is_some_and(|facts| !facts.draining) => "its weight is 0".to_owned(),
        Ineligible::Draining => "it is draining".to_owned(),
        Ineligible::Waiting => "it waits until it has met as many members as it expects".to_owned(),
        Ineligible::Powerless => "it has no quorum: too few members answer it".to_owned(),
        Ineligible::Labels(which) => match facts.and_then(|facts| spec.affinity.refuses(&facts.labels)) {
            Some(Refused::Lacks(key, value)) => format!("it lacks the label {key}={value}"),
            Some(Refused::Has(key, value)) => format!("it has the label {key}={value}, which the child avoids"),
            None => format!("it does not have {which}"),
        },
        Ineligible::Kind(kind) => format!("it does not offer the kind {kind:?}"),
        Ineligible::Pinned(node) => format!("the child is pinned to {node}"),
        Ineligible::Cordoned => "it is cordoned".to_owned(),
        Ineligible::Full => match facts.and_then(|facts| facts.max_children) {
            Some(max) => format!("it is full: it holds {max} children at most"),
            None => "it is full".to_owned(),
        },
    }
}
