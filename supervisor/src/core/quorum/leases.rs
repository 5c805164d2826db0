//! A node that asks: who vouches for it and until when, and who granted it which child.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ordu_transport::core::{Instant, NodeId, NodeName};

use super::{ASK_CHILDREN_MAX, LEASE};
use crate::core::spec::ChildId;

/// Most beats whose answers are waited for.
const BEATS_MAX: usize = 16;
/// The first pause after a refusal, before the child is asked for again; it doubles with each.
const PAUSE_MIN: Duration = Duration::from_millis(40);
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_millis(640);

/// A set of supporters, by place.
type Places = u64;
/// This node itself.
const OWN: Places = 1;

/// Who vouches for this node, and who granted it what.
#[derive(Debug, Clone)]
pub(super) struct Leases {
    /// How many must grant a child, this node included.
    quorum: usize,
    /// The last number of an ask or a release.
    number: u64,
    beat: u64,
    /// When the last beats were sent.
    sent: VecDeque<(u64, Instant)>,
    /// The others, each at a place of its own from 1 on.
    supporters: BTreeMap<NodeName, Supporter>,
    /// Until when this node counts itself: who was paused does not know what it granted meanwhile.
    own_until: Instant,
    wishes: BTreeMap<ChildId, Wish>,
    /// Those that are given up, and until when.
    pauses: BTreeSet<(Instant, ChildId)>,
    /// Those to ask for at the next flush.
    unasked: Vec<ChildId>,
}

#[derive(Debug, Clone)]
struct Supporter {
    place: Places,
    node: NodeId,
    life: u64,
    epoch: u64,
    until: Instant,
}

/// A child that this node has, or wants to have.
#[derive(Debug, Clone)]
struct Wish {
    /// The number of the first ask: answers to earlier ones are late.
    since: u64,
    yes: Places,
    no: Places,
    refusals: u32,
    /// After too many refusals it is given up until then.
    again: Option<Instant>,
}

/// One message's worth of children each.
type Batches = Vec<Vec<ChildId>>;

/// What is to be asked.
pub(super) struct Asks {
    pub(super) number: u64,
    /// Those that this node has not granted itself.
    pub(super) own: Vec<ChildId>,
    /// Each of the others, with those that it has not granted.
    pub(super) others: Vec<(NodeId, Batches)>,
}

impl Leases {
    pub(super) fn new(quorum: usize) -> Self {
        Self {
            quorum,
            number: 0,
            beat: 0,
            sent: VecDeque::new(),
            supporters: BTreeMap::new(),
            own_until: Instant::default(),
            wishes: BTreeMap::new(),
            pauses: BTreeSet::new(),
            unasked: Vec::new(),
        }
    }

    // ---- who vouches for us

    /// The number of a beat that is sent now.
    pub(super) fn beat(&mut self, now: Instant) -> u64 {
        self.beat += 1;
        if self.sent.len() >= BEATS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((self.beat, now));
        self.beat
    }

    /// Somebody vouches for us, as of one of our beats. Returns whether he did not before, or what he granted is void.
    pub(super) fn vouched(&mut self, number: u64, from: &NodeId, life: u64, epoch: u64) -> bool {
        let Some(&(_, sent)) = self.sent.iter().find(|(beat, _)| *beat == number) else { return false };
        let until = sent + LEASE;
        if let Some(known) = self.supporters.get_mut(&from.name) {
            (known.until, known.node) = (known.until.max(until), from.clone());
            if (known.life, known.epoch) == (life, epoch) {
                return false;
            }
            (known.life, known.epoch, known.until) = (life, epoch, until);
            let place = known.place;
            self.forget_word_of(place);
            return true;
        }
        let taken = self.supporters.values().fold(OWN, |taken, supporter| taken | supporter.place);
        let Some(place) = (1..u64::BITS).map(|bit| 1 << bit).find(|place| taken & place == 0) else { return false };
        self.supporters.insert(from.name.clone(), Supporter { place, node: from.clone(), life, epoch, until });
        true
    }

    /// This node vouches for itself; whether in the same epoch as before.
    pub(super) fn own_vouch(&mut self, now: Instant, is_same: bool) {
        self.own_until = now + LEASE;
        if !is_same {
            self.forget_word_of(OWN);
        }
    }

    /// A member is none any more.
    pub(super) fn forget(&mut self, name: &NodeName) {
        if let Some(gone) = self.supporters.remove(name) {
            self.forget_word_of(gone.place);
        }
    }

    fn forget_word_of(&mut self, place: Places) {
        for wish in self.wishes.values_mut() {
            wish.yes &= !place;
            wish.no &= !place;
        }
    }

    /// Until when as many of these vouch for us as it takes; `None` if they are too few.
    fn lasts(&self, places: Places) -> Option<Instant> {
        let own = (places & OWN != 0).then_some(self.own_until);
        let others = self.supporters.values().filter(|supporter| places & supporter.place != 0);
        let mut until: Vec<Instant> = own.into_iter().chain(others.map(|supporter| supporter.until)).collect();
        until.sort_unstable_by(|a, b| b.cmp(a));
        until.get(self.quorum.checked_sub(1)?).copied()
    }

    /// Until when this node is one of a quorum.
    pub(super) fn holds_until(&self) -> Option<Instant> {
        self.lasts(Places::MAX)
    }

    /// How many vouch for us now, ourselves included.
    pub(super) fn supporters(&self, now: Instant) -> usize {
        1 + self.supporters.values().filter(|supporter| supporter.until > now).count()
    }

    // ---- what is granted to us

    /// Wants a child, if it is not wanted already.
    pub(super) fn want(&mut self, id: &ChildId) {
        if !self.wishes.contains_key(id) {
            self.number += 1;
            let wish = Wish { since: self.number, yes: 0, no: 0, refusals: 0, again: None };
            self.wishes.insert(id.clone(), wish);
            self.unasked.push(id.clone());
        }
    }

    pub(super) fn wants(&self, id: &ChildId) -> bool {
        self.wishes.contains_key(id)
    }

    /// Wants a child no more: the number of its release, if it was wanted.
    pub(super) fn give_up(&mut self, id: &ChildId) -> Option<u64> {
        if let Some(again) = self.wishes.remove(id)?.again {
            self.pauses.remove(&(again, id.clone()));
        }
        self.number += 1;
        Some(self.number)
    }

    /// The number of a release of something that is not wanted.
    pub(super) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Until when a child is ours.
    pub(super) fn ours_until(&self, id: &ChildId) -> Option<Instant> {
        self.lasts(self.wishes.get(id)?.yes)
    }

    /// Until when the children that are ours are so, the same of many being computed once.
    pub(super) fn all_until(&self) -> impl Iterator<Item = (&ChildId, Option<Instant>)> {
        let mut known: BTreeMap<Places, Option<Instant>> = BTreeMap::new();
        self.wishes.iter().map(move |(id, wish)| {
            let until = *known.entry(wish.yes).or_insert_with(|| self.lasts(wish.yes));
            (id, until)
        })
    }

    /// This node's own word.
    pub(super) fn own_word(&mut self, id: &ChildId, is_yes: bool) {
        if let Some(wish) = self.wishes.get_mut(id) {
            (wish.yes, wish.no) =
                if is_yes { (wish.yes | OWN, wish.no & !OWN) } else { (wish.yes & !OWN, wish.no | OWN) };
        }
    }

    /// The word of another on one of our asks. Returns the children that it is about, and those about which he says yes
    /// and that are not wanted any more: he has to be told.
    pub(super) fn answered(
        &mut self,
        from: &NodeId,
        (life, epoch, number): (u64, u64, u64),
        yes: Vec<ChildId>,
        no: Vec<ChildId>,
    ) -> (Vec<ChildId>, Vec<ChildId>) {
        let supporter = self.supporters.get(&from.name).filter(|known| (known.life, known.epoch) == (life, epoch));
        let Some(place) = supporter.map(|supporter| supporter.place) else { return Default::default() };
        let (mut changed, mut unwanted) = (Vec::new(), Vec::new());
        for id in yes {
            match self.wishes.get_mut(&id) {
                Some(wish) if wish.since <= number => {
                    (wish.yes, wish.no) = (wish.yes | place, wish.no & !place);
                    changed.push(id);
                }
                Some(_) => {}
                None => unwanted.push(id),
            }
        }
        for id in no {
            if let Some(wish) = self.wishes.get_mut(&id).filter(|wish| wish.since <= number) {
                (wish.yes, wish.no) = (wish.yes & !place, wish.no | place);
                changed.push(id);
            }
        }
        (changed, unwanted)
    }

    /// Whether so many refused a child that it cannot be granted in a cluster of `members`, and it is not given up already.
    pub(super) fn is_refused(&self, id: &ChildId, members: usize) -> bool {
        let refused = |wish: &Wish| members.saturating_sub(wish.no.count_ones() as usize) < self.quorum;
        self.wishes.get(id).is_some_and(|wish| wish.again.is_none() && refused(wish))
    }

    /// Gives a child up for a moment. Returns the number of its release and when it is asked for again.
    pub(super) fn pause(&mut self, now: Instant, id: &ChildId, jitter: f64) -> Option<(u64, Instant)> {
        let wish = self.wishes.get_mut(id)?;
        self.number += 1;
        let pause = PAUSE_MIN.saturating_mul(1 << wish.refusals.min(8)).min(PAUSE_MAX);
        let again = now + pause.mul_f64(0.5 + jitter);
        self.pauses.insert((again, id.clone()));
        *wish = Wish { since: u64::MAX, yes: 0, no: 0, refusals: wish.refusals + 1, again: Some(again) };
        Some((self.number, again))
    }

    /// The earliest end of such a pause.
    pub(super) fn next_again(&self) -> Option<Instant> {
        self.pauses.first().map(|(again, _)| *again)
    }

    /// Asks again for what was given up for long enough, and, with `all`, for what is not granted by everybody.
    pub(super) fn ask_again(&mut self, now: Instant, all: bool) {
        while self.pauses.first().is_some_and(|(again, _)| *again <= now) {
            let Some((_, id)) = self.pauses.pop_first() else { break };
            if let Some(wish) = self.wishes.get_mut(&id) {
                self.number += 1;
                (wish.since, wish.again) = (self.number, None);
                self.unasked.push(id);
            }
        }
        if all {
            let living = self.supporters.values().filter(|supporter| supporter.until > now);
            let everybody = living.fold(OWN, |places, supporter| places | supporter.place);
            let lacks = |wish: &Wish| wish.again.is_none() && wish.yes & everybody != everybody;
            let lacking = self.wishes.iter().filter(|(_, wish)| lacks(wish));
            self.unasked.extend(lacking.map(|(id, _)| id.clone()));
        }
    }

    /// What is to be asked since the last time, if anything is.
    pub(super) fn take_unasked(&mut self, now: Instant) -> Option<Asks> {
        let mut unasked = std::mem::take(&mut self.unasked);
        unasked.sort_unstable();
        unasked.dedup();
        unasked.retain(|id| self.wishes.get(id).is_some_and(|wish| wish.again.is_none()));
        if unasked.is_empty() {
            return None;
        }
        self.number += 1;
        let living = self.supporters.values().filter(|supporter| supporter.until > now);
        let asks = living.filter_map(|supporter| {
            let lacks = |id: &&ChildId| self.wishes.get(*id).is_some_and(|wish| wish.yes & supporter.place == 0);
            let lacking: Vec<ChildId> = unasked.iter().filter(lacks).cloned().collect();
            let batches: Batches = lacking.chunks(ASK_CHILDREN_MAX).map(<[ChildId]>::to_vec).collect();
            (!batches.is_empty()).then(|| (supporter.node.clone(), batches))
        });
        let others = asks.collect();
        let own =
            unasked.into_iter().filter(|id| self.wishes.get(id).is_some_and(|wish| wish.yes & OWN == 0)).collect();
        Some(Asks { number: self.number, own, others })
    }

    /// Everybody who vouches for us, for a release.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.supporters.values().map(|supporter| supporter.node.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::quorum::testing::{at, child, node};

    /// Three of five: this node, and b and c that vouched as of a beat that was sent at 100 ms.
    fn leases() -> Leases {
        let mut leases = Leases::new(3);
        leases.own_vouch(at(100), true);
        let beat = leases.beat(at(100));
        assert!(leases.vouched(beat, &node("b"), 7, 1) && leases.vouched(beat, &node("c"), 8, 1));
        leases
    }

    /// Grants a child by these, and returns the number of the ask.
    fn granted(leases: &mut Leases, id: &ChildId, by: &[(&str, u64)]) -> u64 {
        leases.want(id);
        let number = leases.take_unasked(at(100)).expect("it is asked for").number;
        leases.own_word(id, true);
        for (name, life) in by {
            leases.answered(&node(name), (*life, 1, number), vec![id.clone()], Vec::new());
        }
        number
    }

    #[test]
    fn it_counts_from_when_it_was_asked_and_by_the_weakest_of_a_quorum() {
        let mut leases = leases();
        assert_eq!(leases.holds_until(), Some(at(2_100)));
        let x = child("x");
        granted(&mut leases, &x, &[("b", 7)]);
        assert_eq!(leases.ours_until(&x), None, "two of three");
        granted(&mut leases, &child("y"), &[("b", 7), ("c", 8)]);
        assert_eq!(leases.ours_until(&child("y")), Some(at(2_100)));
        leases.own_vouch(at(1_000), true);
        let beat = leases.beat(at(1_000));
        assert!(!leases.vouched(beat, &node("b"), 7, 1), "nothing new");
        assert_eq!(leases.ours_until(&child("y")), Some(at(2_100)), "c has not answered since");
        assert!(!leases.vouched(99, &node("c"), 8, 1), "nobody asked by that beat");
    }

    #[test]
    fn what_was_granted_in_another_epoch_or_life_is_void() {
        let mut leases = leases();
        let x = child("x");
        let number = granted(&mut leases, &x, &[("b", 7), ("c", 8)]);
        let beat = leases.beat(at(200));
        assert!(leases.vouched(beat, &node("b"), 7, 2));
        assert_eq!(leases.ours_until(&x), None);
        leases.answered(&node("b"), (7, 1, number), vec![x.clone()], Vec::new());
        assert_eq!(leases.ours_until(&x), None, "said in the epoch before");
        leases.answered(&node("b"), (7, 2, number), vec![x.clone()], Vec::new());
        assert!(leases.ours_until(&x).is_some());
        leases.own_vouch(at(300), false);
        assert_eq!(leases.ours_until(&x), None, "its own word is void too");
    }

    #[test]
    fn a_word_on_an_ask_from_before_the_release_does_not_count() {
        let mut leases = leases();
        let x = child("x");
        let number = granted(&mut leases, &x, &[("b", 7)]);
        assert!(leases.give_up(&x).is_some_and(|release| release > number));
        let told = leases.answered(&node("c"), (8, 1, number), vec![x.clone()], Vec::new());
        assert_eq!(told, (Vec::new(), vec![x.clone()]), "he has to be told");
        leases.want(&x);
        leases.own_word(&x, true);
        leases.answered(&node("b"), (7, 1, number), vec![x.clone()], Vec::new());
        leases.answered(&node("c"), (8, 1, number), vec![x.clone()], Vec::new());
        assert_eq!(leases.ours_until(&x), None);
    }

    #[test]
    fn what_is_refused_is_asked_for_again_after_longer_and_longer_pauses() {
        let mut leases = leases();
        let x = child("x");
        let number = granted(&mut leases, &x, &[]);
        let refuse = |leases: &mut Leases, number| {
            for (name, life) in [("b", 7), ("c", 8)] {
                leases.answered(&node(name), (life, 1, number), Vec::new(), vec![child("x")]);
            }
        };
        refuse(&mut leases, number);
        assert!(!leases.is_refused(&x, 5) && leases.is_refused(&x, 4));
        let (_, first) = leases.pause(at(100), &x, 0.0).unwrap();
        assert_eq!((leases.next_again(), leases.is_refused(&x, 4)), (Some(first), false));
        leases.ask_again(first, false);
        let number = leases.take_unasked(first).expect("it is asked for again").number;
        refuse(&mut leases, number);
        let (_, second) = leases.pause(first, &x, 0.0).unwrap();
        assert!(second.saturating_since(first) > first.saturating_since(at(100)));
        assert_eq!(leases.give_up(&x).map(|_| leases.next_again()), Some(None));
    }
}
