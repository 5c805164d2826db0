//! Reconciliation with a peer that lacks more than one answer carries, or that is below our horizon, where we cannot tell
//! it every removal.
//!
//! ```text
//!   who lacks                                             whom it asks
//!     Pull{context}            ->      every event after that context, part by part, by origin and counter
//!     More{after}              ->      … until one part holds all that is new: then both have the same events, but for
//!                              <-      dots that the asker still holds live. roots: a hash of the live dots an origin
//!     More{spans that differ}  ->      hashes of their parts, or their live dots; and whatever is new meanwhile
//!     adopts: what was told as not live goes, and what the peer had seen when it sent the roots counts as seen
//! ```
//!
//! Whom it asks keeps nothing about it. What is taken before the end are early dots, so a reconciliation that is cut off
//! has removed nothing, and the next begins where it ended.

use std::collections::BTreeMap;

use crdts::{CmRDT, CvRDT};
use ordu_transport::core::NodeId;
use ordu_transport::core::defects::{Defect, is_present};
use serde::{Deserialize, Serialize};

use super::clock::{Clock, Context, Dot};
use super::delta::{Key, Payload};
use super::log::{Log, PAGE};
use super::span::{Found, Span};
use super::table::{Kind, Shared, Table};
use super::wire::Events;

/// Most spans that one message asks for.
pub const SPANS_MAX: usize = 4_096;

/// A place in a log: an event's origin and counter.
pub type Position = (NodeId, u64);
/// Spans, by origin.
pub type Spans = BTreeMap<NodeId, Vec<Span>>;

/// What is asked for in one turn of a reconciliation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Ask {
    /// Which pull of the asker's began it.
    pub number: u64,
    /// Which turn it is.
    pub turn: u64,
    /// What need not be told.
    pub seen: Context,
    /// The last event that was taken; `None` to begin at the first.
    pub after: Option<Position>,
    /// The spans that differ.
    pub spans: Spans,
}

impl Ask {
    /// Whether its spans are disjoint and in order: then looking into them costs no more than a look at everything.
    fn is_sound(&self) -> bool {
        self.spans.values().all(|spans| spans.windows(2).all(|pair| pair[0].1 < pair[1].0))
    }
}

/// What is said in one turn of a reconciliation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(bound(deserialize = ""))]
pub struct Answer<K: Key, V: Payload> {
    /// Of the question.
    pub number: u64,
    /// Of the question.
    pub turn: u64,
    /// What the sender has seen.
    pub now: Context,
    /// The next events.
    pub events: Events<K, V>,
    /// The last of them, if there are more.
    pub upto: Option<Position>,
    /// How many there are from here on, these included; told with the first.
    pub left: u64,
    /// Where these are all the events and no spans were asked for: the hash of the live dots of each origin within the
    /// clock.
    pub roots: Vec<(NodeId, u64)>,
    /// And below which clock the sender cannot tell every removal.
    pub horizon: Clock,
    /// Where these are all the events: what is in the spans that were asked for, in their order.
    pub found: Vec<Found>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next question is [`Incoming::ask`].
    Ask,
    /// It is complete: [`Table::adopt`].
    Adopt,
    /// The answer is to another question, or to none.
    Stale,
    /// The answer makes no sense.
    Refused,
}

/// How far a replica is that takes much which it lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Progress {
    /// How many events came.
    pub taken: u64,
    /// How many are expected in all, as far as is known: it may turn out that more differs.
    pub expected: u64,
}

impl Progress {
    /// Of two tables together.
    pub fn and(self, other: Self) -> Self {
        // What is expected is a peer's word.
        Self { taken: self.taken.saturating_add(other.taken), expected: self.expected.saturating_add(other.expected) }
    }
}

/// A reconciliation under way, at the one who lacks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Incoming {
    ask: Ask,
    /// What the peer had seen when the present pass over its events began.
    pass: Context,
    /// What it had seen when it sent the roots: what is adopted in the end.
    goal: Context,
    horizon: Clock,
    /// What we had seen when we held the roots against ours.
    known: Context,
    /// Spans that are still to be asked for.
    differing: Spans,
    /// The dots that are live here and not there, as bits of pages.
    gone: Gone,
    taken: u64,
    left: u64,
}

type Gone = BTreeMap<NodeId, BTreeMap<u64, u64>>;

impl Incoming {
    /// Begins, where a pull of this number was asked.
    pub fn new(number: u64, seen: Context) -> Self {
        let ask = Ask { number, seen, ..Ask::default() };
        let (pass, goal, horizon, known, differing, gone) = Default::default();
        Self { ask, pass, goal, horizon, known, differing, gone, taken: 0, left: 0 }
    }

    /// What is asked, and not answered yet.
    pub fn ask(&self) -> &Ask {
        &self.ask
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress { taken: self.taken, expected: self.taken.max(self.left) }
    }

    /// Asks for the next of the spans that differ.
    fn ask_spans(&mut self) -> Next {
        let mut room = SPANS_MAX;
        while let Some(mut entry) = self.differing.first_entry().filter(|_| room > 0) {
            let spans = entry.get_mut();
            // Parts of what was looked into came behind what was not asked for yet.
            spans.sort_unstable();
            let rest = spans.split_off(spans.len().min(room));
            let now = std::mem::replace(spans, rest);
            room -= now.len();
            let origin = entry.key().clone();
            if entry.get().is_empty() {
                entry.remove();
            }
            self.ask.spans.insert(origin, now);
        }
        if self.ask.spans.is_empty() { Next::Adopt } else { Next::Ask }
    }
}

impl<K: Key, V: Payload> Table<K, V> {
    // ---- who is asked

    /// Answers a question with about `bytes_max` of events.
    pub fn answer(&self, ask: &Ask, bytes_max: usize) -> Answer<K, V> {
        let (events, upto) = self.part_after(&ask.seen, ask.after.as_ref(), bytes_max);
        let left = if ask.after.is_none() { self.unseen(&ask.seen, None).count() as u64 } else { 0 };
        let whole = ask.after.is_none() && upto.is_none();
        let (mut roots, mut horizon, mut found) = (Vec::new(), Clock::default(), Vec::new());
        if whole && ask.spans.is_empty() {
            let clock = self.context.clock().dots.iter();
            roots = clock.map(|(of, &last)| (of.clone(), self.live_hash(of, Span::up_to(last), None))).collect();
            horizon = self.horizon.clone();
        } else if whole && ask.is_sound() {
            let spans = ask.spans.iter().flat_map(|(of, spans)| spans.iter().map(move |span| (of, *span)));
            found = spans.take(SPANS_MAX).map(|(of, span)| self.find(of, span)).collect();
        }
        let (now, events) = (self.context.clone(), events.into());
        Answer { number: ask.number, turn: ask.turn, now, events, upto, left, roots, horizon, found }
    }

    fn unseen<'a>(&'a self, seen: &'a Context, after: Option<&'a Position>) -> impl Iterator<Item = &'a Shared<K, V>> {
        let logs = match after {
            Some((origin, _)) => self.log.range(origin..),
            None => self.log.range::<NodeId, _>(..),
        };
        logs.flat_map(move |(origin, log)| {
            let taken = after.filter(|(of, _)| of == origin).map_or(0, |&(_, counter)| counter);
            let events = log.after(taken.max(seen.clock().get(origin)));
            events.filter(|event| !seen.contains(&event.dot.actor, event.dot.counter))
        })
    }

    /// The events that were not seen, from a place on: about `bytes_max` of them, and the last one if there are more.
    fn part_after(
        &self,
        seen: &Context,
        after: Option<&Position>,
        bytes_max: usize,
    ) -> (Vec<Shared<K, V>>, Option<Position>) {
        let (mut part, mut bytes) = (Vec::<Shared<K, V>>::new(), 0);
        for event in self.unseen(seen, after) {
            if let Some(last) = part.last().filter(|_| bytes >= bytes_max) {
                let upto = (last.dot.actor.clone(), last.dot.counter);
                return (part, Some(upto));
            }
            bytes += event.size_bytes();
            part.push(event.clone());
        }
        (part, None)
    }

    fn find(&self, origin: &NodeId, span: Span) -> Found {
        match self.log.get(origin) {
            log if span.is_leaf() => Found::Live(log.map(|log| log.live_bits(span)).unwrap_or_default().into()),
            _ => Found::Parts(span.parts().map(|part| self.live_hash(origin, part, None)).collect()),
        }
    }

    fn live_hash(&self, origin: &NodeId, span: Span, without: Option<&BTreeMap<u64, u64>>) -> u64 {
        self.log.get(origin).map_or(0, |log| log.live_hash(span, without))
    }

    // ---- who lacks

    /// Takes an answer: its events come here, and what is not live there is noted, to go with [`Self::adopt`]. Adds the keys
    /// whose live values may have changed to `touched`.
    pub fn take_answer(&mut self, incoming: &mut Incoming, answer: Answer<K, V>, touched: &mut Vec<K>) -> Next {
        let Answer { number, turn, now, events, upto, left, roots, horizon, found } = answer;
        if (number, turn) != (incoming.ask.number, incoming.ask.turn) {
            return Next::Stale;
        }
        if turn == 0 {
            incoming.left = left;
        }
        for event in Vec::from(events) {
            incoming.taken += 1;
            let key = event.key.clone();
            let stale = is_present(Defect::StaleSnapshot) && !self.events_of(&key).any(|held| held.dot == event.dot);
            if if stale { self.insert(event) } else { self.apply(event) } {
                touched.push(key);
            }
        }
        let first = incoming.ask.after.is_none();
        let asked = std::mem::take(&mut incoming.ask.spans);
        incoming.ask.turn += 1;
        incoming.ask.after = upto;
        if !first || incoming.ask.after.is_some() {
            // What was being compared is compared anew once one part holds all that is new.
            incoming.differing.clear();
            if first {
                incoming.pass = now;
            } else if incoming.ask.after.is_none() {
                incoming.ask.seen = std::mem::take(&mut incoming.pass);
            }
            return Next::Ask;
        }
        if asked.is_empty() {
            incoming.differing = self.differing(&roots, &now, &incoming.gone);
            (incoming.goal, incoming.horizon, incoming.known) = (now.clone(), horizon, self.context.clone());
        } else if !self.look_into(incoming, &asked, &found) {
            return Next::Refused;
        }
        incoming.ask.seen = now;
        match incoming.ask_spans() {
            // The roots are to be told anew.
            Next::Adopt if self.came_late(incoming) || self.went_on(incoming) => Next::Ask,
            next => next,
        }
    }

    /// Whether something came from elsewhere, since the roots were compared, that the peer had seen and may not hold.
    fn came_late(&self, incoming: &Incoming) -> bool {
        let Incoming { goal, known, .. } = incoming;
        let since = |(origin, log): (&NodeId, &Log<K, V>)| {
            let mut events = log.after(known.clock().get(origin)).filter(|event| !event.is_remove());
            let is_late = |counter| !known.contains(origin, counter) && goal.contains(origin, counter);
            events.any(|event| is_late(event.dot.counter))
        };
        self.log.iter().filter(|(origin, _)| self.may_go(origin)).any(since)
    }

    /// Whether the peer, since it sent the roots, saw removals that it cannot tell: it found them by state itself. What it
    /// does not hold may have gone by those then, and the goal does not cover them.
    fn went_on(&self, incoming: &Incoming) -> bool {
        let mut covered = incoming.goal.clone();
        covered.merge(self.context.clone());
        !covered.contains_all(&self.wanted(incoming.ask.seen.clone()))
    }

    /// Whether what a peer does not hold may go from here.
    fn may_go(&self, origin: &NodeId) -> bool {
        !self.is_dropped(origin) && (self.kind == Kind::Shared || *origin != self.origin)
    }

    fn differing(&self, roots: &[(NodeId, u64)], now: &Context, gone: &Gone) -> Spans {
        let mut differing = Spans::new();
        for (origin, hash) in roots.iter().filter(|(origin, _)| self.may_go(origin)) {
            let span = Span::up_to(now.clock().get(origin));
            if self.differs(origin, span, *hash, gone) {
                differing.insert(origin.clone(), vec![span]);
            }
        }
        differing
    }

    /// Whether there are live dots here that may not be there.
    fn differs(&self, origin: &NodeId, span: Span, hash: u64, gone: &Gone) -> bool {
        let ours = self.live_hash(origin, span, gone.get(origin));
        ours != 0 && ours != hash
    }

    /// Takes what was found in the spans that were asked for. Returns false if it makes no sense.
    fn look_into(&self, incoming: &mut Incoming, asked: &Spans, found: &[Found]) -> bool {
        let asked = asked.iter().flat_map(|(origin, spans)| spans.iter().map(move |span| (origin, *span)));
        let mut found = found.iter();
        for (origin, span) in asked {
            match found.next() {
                Some(Found::Parts(hashes)) if !span.is_leaf() => {
                    let mut hashes = hashes.iter();
                    for part in span.parts() {
                        let Some(hash) = hashes.next() else { return false };
                        if self.differs(origin, part, *hash, &incoming.gone) {
                            incoming.differing.entry(origin.clone()).or_default().push(part);
                        }
                    }
                }
                Some(Found::Live(live)) if span.is_leaf() => {
                    let ours = self.log.get(origin).into_iter().flat_map(|log| log.live_within(span));
                    let gone = ours.filter(|counter| !span.is_told(live, *counter));
                    for counter in gone.filter(|_| !is_present(Defect::UnfoundRemovals)) {
                        let pages = incoming.gone.entry(origin.clone()).or_default();
                        *pages.entry(counter / PAGE).or_default() |= 1 << (counter % PAGE);
                    }
                }
                _ => return false,
            }
        }
        found.next().is_none()
    }

    /// After the last answer: what the peer had removed goes, and what it had seen is taken as seen here. Returns the keys
    /// whose live values may have changed.
    pub fn adopt(&mut self, incoming: Incoming) -> Vec<K> {
        self.changed();
        let mut touched = Vec::new();
        for (origin, pages) in &incoming.gone {
            let bits = |(page, bits): (&u64, &u64)| {
                let (page, bits) = (*page, *bits);
                (0..PAGE).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| page * PAGE + bit)
            };
            for counter in pages.iter().flat_map(bits) {
                // It may have come to an end here, and its slot have been retired, since it was looked at.
                if let Some(event) = self.drop_event(origin, counter) {
                    self.horizon.apply(Dot::new(origin.clone(), counter));
                    touched.push(event.key.clone());
                }
            }
        }
        let mut goal = self.wanted(incoming.goal);
        goal.forget(&self.origin);
        let mut horizon = incoming.horizon;
        horizon.dots.retain(|origin, _| !self.is_dropped(origin));
        self.horizon.merge(horizon);
        if is_present(Defect::ClearedContext) {
            let others: Vec<NodeId> = self.context.origins().filter(|of| **of != self.origin).cloned().collect();
            others.iter().for_each(|origin| self.context.forget(origin));
        }
        self.kin.take();
        self.context.merge(goal);
        touched
    }
}

impl<K: Key, V: Payload> Log<K, V> {
    /// The hash of the live dots of a span, but for some, as bits of pages.
    fn live_hash(&self, span: Span, without: Option<&BTreeMap<u64, u64>>) -> u64 {
        let without = |page: u64| without.and_then(|pages| pages.get(&page)).copied().unwrap_or(0);
        let pages = self.live_pages(span).map(|(page, live)| super::span::page_hash(page, live & !without(page)));
        pages.fold(0, u64::wrapping_add)
    }

    /// The live counters of a span.
    fn live_within(&self, span: Span) -> impl Iterator<Item = u64> {
        let bits = |live: u64| (0..PAGE).filter(move |bit| live >> bit & 1 == 1);
        self.live_pages(span).flat_map(move |(page, live)| bits(live).map(move |bit| page * PAGE + bit))
    }

    /// The live dots of a leaf, as [`Found::Live`] tells them.
    fn live_bits(&self, span: Span) -> Vec<u8> {
        let mut told = Vec::new();
        for (page, live) in self.live_pages(span) {
            let at = usize::try_from((page - span.0 / PAGE) * (PAGE / 8)).expect("a leaf is short");
            told.resize(at, 0);
            told.extend(live.to_le_bytes());
        }
        while told.last() == Some(&0) {
            told.pop();
        }
        told
    }
}
