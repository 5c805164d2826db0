//! Where children go: weighted rendezvous hashing. Pure, and the same on every machine.
//!
//! Each node gets a score for each child; the best one is the child's seat. A node that comes or goes moves only the
//! children that it gains or loses. Nodes score by name, so a restarted node gets the same children back. An application
//! can put a preference of its own before that: the hash then spreads children over the nodes that they like best.
//!
//! Sources: Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996; Schindelhauer and Schomaker,
//! "Weighted Distributed Hash Tables", 2005 (the logarithmic method), here in fixed point because floating-point
//! logarithms differ between machines.

use std::cmp::Ordering;
use std::sync::Arc;

use ordu_transport::core::hash::StableHasher;
use ordu_transport::core::{NodeId, NodeName};

use super::spec::{Apart, ChildId, ChildSpec, Placement, Refused};
use super::tables::Facts;

const PURPOSE_PLACEMENT: u64 = 3;

/// A living node and what it says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Who.
    pub id: &'a NodeId,
    /// Its facts, once they were heard.
    pub facts: Option<&'a Facts>,
}

/// Why a node may not run a child.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ineligible {
    /// It has not said yet what it can run.
    Unknown,
    /// It is draining.
    Draining,
    /// It waits for more members.
    Waiting,
    /// Its labels are not those that the child asks for; the text says which.
    Labels(String),
    /// It does not offer the kind.
    Kind(Arc<str>),
    /// It is cut off from most members.
    Powerless,
    /// The child is pinned to another node.
    Pinned(NodeName),
    /// It keeps what it has and takes nothing. Said only where nothing else speaks against it: a child that runs there may.
    Cordoned,
    /// It holds as many children as it may. Said only where nothing else speaks against it: a child that runs there may.
    Full,
}

/// Which nodes a child prefers: by default none, so that children are spread by weight alone.
///
/// Every node looks for the seat of every child by itself, over its own view, and starts the child if it finds itself.
/// Whatever the views are, of the nodes that live the one with the best score then finds itself, and no two nodes with
/// equal views both do. That rests on what the function must keep to:
///
/// * it gives the same on every node of the cluster, so all of them run the same one;
/// * it depends on nothing but its arguments: no clock, no load, no randomness. Facts change seldom, and a child moves
///   when its seat does;
/// * it is quick: it runs for every child and every node that may run it, inside the node's lock.
///
/// A rolling change of the function is sound, but children may move to and fro until all nodes have the new one.
#[derive(Clone, Default)]
pub struct Preference(Option<Arc<Score>>);

/// The lesser is the better.
type Score = dyn Fn(&ChildSpec, &NodeName, &Facts) -> u64 + Send + Sync;

impl Preference {
    /// Prefers the nodes for which `score` gives the least; children are spread by weight among equal ones. It is asked
    /// about nodes that may run the child only.
    pub fn by(score: impl Fn(&ChildSpec, &NodeName, &Facts) -> u64 + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(score)))
    }

    fn score(&self, spec: &ChildSpec, node: &NodeName, facts: &Facts) -> u64 {
        self.0.as_ref().map_or(0, |score| score(spec, node, facts))
    }
}

impl std::fmt::Debug for Preference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Preference::by(..)" } else { "Preference::default()" })
    }
}

/// Whether a node may run a child.
pub fn eligible(spec: &ChildSpec, candidate: Candidate<'_>) -> Result<u32, Ineligible> {
    if let Placement::Pinned(name) = &spec.placement
        && *name != candidate.id.name
    {
        return Err(Ineligible::Pinned(name.clone()));
    }
    let Some(facts) = candidate.facts else { return Err(Ineligible::Unknown) };
    if facts.draining || facts.weight == 0 {
        return Err(Ineligible::Draining);
    }
    if facts.waiting {
        return Err(Ineligible::Waiting);
    }
    if facts.powerless {
        return Err(Ineligible::Powerless);
    }
    if !facts.kinds.contains(&spec.kind) {
        return Err(Ineligible::Kind(spec.kind.clone()));
    }
    match spec.affinity.refuses(&facts.labels) {
        None if facts.cordoned => Err(Ineligible::Cordoned),
        None if facts.full => Err(Ineligible::Full),
        None => Ok(facts.weight),
        Some(Refused::Lacks(key, value)) => Err(Ineligible::Labels(format!("the label {key}={value}"))),
        Some(Refused::Has(key, value)) => Err(Ineligible::Labels(format!("another label than {key}={value}"))),
    }
}

/// A node's place among those that may run a child: the least is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Merit {
    /// What the application's preference gives.
    pub preference: u64,
    /// How many of the labels that the child prefers it lacks.
    pub lacking: u64,
    /// What the hash gives, by the node's weight.
    pub distance: u64,
}

/// How good a node is for a child, if it may run it.
///
/// # Errors
/// Why it may not.
pub fn merit(spec: &ChildSpec, preference: &Preference, candidate: Candidate<'_>) -> Result<Merit, Ineligible> {
    let weight = eligible(spec, candidate)?;
    let (name, Some(facts)) = (&candidate.id.name, candidate.facts) else { return Err(Ineligible::Unknown) };
    Ok(Merit {
        preference: preference.score(spec, name, facts),
        lacking: spec.affinity.dislikes(&facts.labels),
        distance: score(&[spec.id.as_str()], name, weight),
    })
}

/// The node that a child belongs on: the best of those that may run it. Where that depends on others it is the node that
/// decides, which is the same one for all that keep away from one group.
pub fn seat<'a>(
    spec: &ChildSpec,
    preference: &Preference,
    candidates: impl Iterator<Item = Candidate<'a>>,
) -> Option<&'a NodeId> {
    if let Placement::Apart(Apart { group: (key, value), .. }) = &spec.placement {
        let (preference, lacking) = (0, 0);
        let scored = candidates.filter_map(|candidate| {
            let distance = score(&[key, "=", value], &candidate.id.name, eligible(spec, candidate).ok()?);
            Some((Merit { preference, lacking, distance }, candidate.id))
        });
        return scored.min().map(|(_, id)| id);
    }
    let drawn = candidates.filter_map(|candidate| Drawn::new(spec, preference, candidate));
    drawn.reduce(|best, other| if other.beats(&best) { other } else { best }).map(|drawn| drawn.id)
}

/// A node that may run a child, before its distance is worked out: where weights are even hashes that are far from each
/// other tell as much, and the logarithm is most of the work.
struct Drawn<'a> {
    preference: u64,
    lacking: u64,
    hash: u64,
    weight: u32,
    id: &'a NodeId,
}

impl<'a> Drawn<'a> {
    fn new(spec: &ChildSpec, preference: &Preference, candidate: Candidate<'a>) -> Option<Self> {
        let (weight, facts) = (eligible(spec, candidate).ok()?, candidate.facts?);
        let name = &candidate.id.name;
        Some(Self {
            preference: preference.score(spec, name, facts),
            lacking: spec.affinity.dislikes(&facts.labels),
            hash: draw(&[spec.id.as_str()], name),
            weight,
            id: candidate.id,
        })
    }

    /// The order of merits, then of nodes.
    fn beats(&self, other: &Self) -> bool {
        /// Of two hashes that differ by more the logarithms differ by more than the greatest weight, and are not equal when
        /// divided by it.
        const FAR: u64 = 1 << 40;
        let without_hash = |of: &Self| (of.preference, of.lacking);
        match without_hash(self).cmp(&without_hash(other)) {
            Ordering::Equal if self.weight == other.weight && self.hash.abs_diff(other.hash) > FAR => {
                self.hash > other.hash
            }
            Ordering::Equal => {
                let distance = |of: &Self| distance(of.hash, of.weight);
                (distance(self), self.id) < (distance(other), other.id)
            }
            order => order.is_lt(),
        }
    }
}

/// Any of the candidates, the same for everybody: each gets the same share of children.
pub(super) fn first_of<'a>(id: &ChildId, candidates: impl Iterator<Item = Candidate<'a>>) -> Option<&'a NodeId> {
    candidates.min_by_key(|candidate| (score(&[id.as_str()], &candidate.id.name, 1), candidate.id)).map(|best| best.id)
}

/// Why none of the candidates may run a child, in one sentence.
pub fn why_nowhere<'a>(spec: &ChildSpec, candidates: impl Iterator<Item = Candidate<'a>>) -> String {
    let reasons: Vec<Ineligible> = candidates.filter_map(|candidate| eligible(spec, candidate).err()).collect();
    if let Placement::Pinned(name) = &spec.placement
        && reasons.iter().all(|reason| matches!(reason, Ineligible::Pinned(_)))
    {
        return format!("no eligible node: it is pinned to {name}, which is not up");
    }
    if reasons.contains(&Ineligible::Waiting) {
        return "no eligible node: a node that could run it waits until it has met as many members as it expects"
            .to_owned();
    }
    if reasons.contains(&Ineligible::Powerless) {
        return "no eligible node: a node that could run it has no quorum, that is, too few members answer it"
            .to_owned();
    }
    let withdrawn =
        [(Ineligible::Draining, "draining"), (Ineligible::Cordoned, "cordoned"), (Ineligible::Full, "full")];
    let withdrawn = withdrawn.iter().filter(|(reason, _)| reasons.contains(reason)).map(|(_, word)| *word);
    if let Some((last, others)) = withdrawn.collect::<Vec<_>>().split_last() {
        let others = if others.is_empty() { String::new() } else { format!("{} or ", others.join(", ")) };
        return format!("no eligible node: every node that could run it is {others}{last}");
    }
    if let Some(Ineligible::Labels(which)) = reasons.iter().find(|reason| matches!(reason, Ineligible::Labels(_))) {
        return format!("no eligible node: none that could run it has {which}");
    }
    if reasons.contains(&Ineligible::Kind(spec.kind.clone())) {
        return format!("no eligible node: none offers the kind {:?}", &*spec.kind);
    }
    "no eligible node: none has said yet what it can run".to_owned()
}

/// The lesser is the better: `-log2(u) / weight` for a hash `u` in (0, 1], in fixed point.
fn score(of: &[&str], node: &NodeName, weight: u32) -> u64 {
    distance(draw(of, node), weight)
}

fn draw(of: &[&str], node: &NodeName) -> u64 {
    let hasher = StableHasher::new(PURPOSE_PLACEMENT);
    let hasher = of.iter().chain([&node.as_str()]).fold(hasher, |hasher, text| hasher.bytes(text.as_bytes()));
    hasher.finish()
}

fn distance(hash: u64, weight: u32) -> u64 {
    neg_log2(hash) / u64::from(weight.max(1))
}

/// `-log2((hash + 1) / 2^64)` with 56 fractional bits.
fn neg_log2(hash: u64) -> u64 {
    const FRACTION_BITS: u32 = 56;
    let Some(value) = hash.checked_add(1) else { return 0 };
    let integer = 63 - value.leading_zeros();
    // The mantissa in [1, 2) with 63 fractional bits; each squaring yields one bit of the logarithm.
    let mut mantissa = u128::from(value) << (63 - integer);
    let mut fraction = 0u64;
    for _ in 0..FRACTION_BITS {
        mantissa = (mantissa * mantissa) >> 63;
        fraction <<= 1;
        if mantissa >> 64 != 0 {
            fraction |= 1;
            mantissa >>= 1;
        }
    }
    (64 << FRACTION_BITS) - ((u64::from(integer) << FRACTION_BITS) | fraction)
}

#[cfg(test)]
mod tests {
    use ordu_registry::core::{Name, Rank};
    use proptest::prelude::*;

    use super::*;
    use crate::core::spec::{Affinity, ChildId};
    use std::collections::BTreeMap;

    fn facts(weight: u32) -> Facts {
        Facts {
            draining: false,
            waiting: false,
            cordoned: false,
            passive: false,
            powerless: false,
            terms: None,
            max_children: None,
            full: false,
            crowded: false,
            weight,
            labels: BTreeMap::new(),
            kinds: vec!["k".into()],
            version: "1".into(),
        }
    }

    fn spread(weights: &[(&str, u32)]) -> BTreeMap<String, Vec<usize>> {
        spread_by(&Preference::default(), weights)
    }

    fn spread_by(preference: &Preference, weights: &[(&str, u32)]) -> BTreeMap<String, Vec<usize>> {
        let nodes: Vec<(NodeId, Facts)> = weights
            .iter()
            .map(|(name, weight)| (NodeId::new(NodeName::new(name).unwrap(), 1, 1), facts(*weight)))
            .collect();
        let mut spread: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for child in 0..3000 {
            let spec = ChildSpec::new(ChildId::new(&format!("c{child}")).unwrap(), "k", "");
            let candidates = nodes.iter().map(|(id, facts)| Candidate { id, facts: Some(facts) });
            spread.entry(seat(&spec, preference, candidates).unwrap().name.to_string()).or_default().push(child);
        }
        spread
    }

    #[test]
    fn logarithms_are_exact_where_they_are_whole() {
        assert_eq!(neg_log2(u64::MAX), 0);
        assert_eq!(neg_log2((1 << 63) - 1), 1 << 56);
        assert_eq!(neg_log2(0), 64 << 56);
        let third = neg_log2(u64::MAX / 3) as f64 / (1u64 << 56) as f64;
        assert!((third - 3f64.log2()).abs() < 1e-12, "{third}");
    }

    proptest! {
        /// However near their hashes are: by weights, by which the distances of nodes become alike too.
        #[test]
        fn the_seat_is_the_node_of_most_merit(
            weights in prop::collection::vec(prop_oneof![Just(1), 1..4u32, Just(u32::MAX)], 1..5),
            preferred in prop::collection::vec(0..2u64, 5),
            child: u16,
        ) {
            let name = |n: usize| NodeName::new(&format!("n{n}")).unwrap();
            let nodes: Vec<_> =
                weights.iter().enumerate().map(|(n, weight)| (NodeId::new(name(n), 1, 1), facts(*weight))).collect();
            let scores: BTreeMap<_, _> = preferred.iter().enumerate().map(|(n, score)| (name(n), *score)).collect();
            let preference = Preference::by(move |_, node, _| scores[node]);
            let spec = ChildSpec::new(ChildId::new(&format!("c{child}")).unwrap(), "k", "");
            let candidates = || nodes.iter().map(|(id, facts)| Candidate { id, facts: Some(facts) });
            let best = candidates().min_by_key(|candidate| (merit(&spec, &preference, *candidate).unwrap(), candidate.id));
            prop_assert_eq!(seat(&spec, &preference, candidates()), best.map(|candidate| candidate.id));
        }

        #[test]
        fn hashes_tell_as_much_as_distances(
            hash: u64, by in prop_oneof![0..4u64, (1u64 << 40) - 2..(1 << 40) + 3, any::<u64>()], weight: u32,
        ) {
            let nodes = ["a", "b"].map(|name| NodeId::new(NodeName::new(name).unwrap(), 1, 1));
            let drawn = |hash, id| Drawn { preference: 0, lacking: 0, hash, weight, id };
            let (one, other) = (drawn(hash, &nodes[0]), drawn(hash.wrapping_sub(by), &nodes[1]));
            let key = |of: &Drawn<'_>| (distance(of.hash, weight), of.id.clone());
            prop_assert_eq!(one.beats(&other), key(&one) < key(&other));
            prop_assert_eq!(other.beats(&one), key(&other) < key(&one));
        }
    }

    #[test]
    fn children_spread_by_weight() {
        let spread = spread(&[("a", 1), ("b", 1), ("c", 2)]);
        let share = |name: &str| spread[name].len() as f64 / 3000.0;
        assert!(
            (share("a") - 0.25).abs() < 0.03 && (share("b") - 0.25).abs() < 0.03 && (share("c") - 0.5).abs() < 0.03
        );
    }

    #[test]
    fn a_node_that_goes_moves_only_its_own_children() {
        let (before, after) = (spread(&[("a", 1), ("b", 1), ("c", 1)]), spread(&[("a", 1), ("b", 1)]));
        for name in ["a", "b"] {
            assert!(before[name].iter().all(|child| after[name].contains(child)));
        }
    }

    #[test]
    fn what_is_preferred_comes_first_and_the_hash_spreads_among_equals() {
        let even = Preference::by(|child, node, _| {
            let number: u64 = child.id.as_str()[1..].parse().unwrap();
            u64::from(number.is_multiple_of(2) == (node.as_str() == "a"))
        });
        let spread = spread_by(&even, &[("a", 1), ("b", 1), ("c", 1)]);
        assert!(spread["a"].iter().all(|child| child % 2 == 1) && spread["a"].len() == 1500);
        assert!(spread["b"].len() > 600 && spread["c"].len() > 600);
    }

    #[test]
    fn labels_keep_children_off_and_draw_them_on() {
        let label = |text: &str| BTreeMap::from([("zone".to_owned(), text.to_owned())]);
        let nodes: Vec<(NodeId, Facts)> = [("a", "east"), ("b", "west"), ("c", "west")]
            .iter()
            .map(|(name, zone)| {
                (NodeId::new(NodeName::new(name).unwrap(), 1, 1), Facts { labels: label(zone), ..facts(1) })
            })
            .collect();
        let seats = |affinity: Affinity| {
            let seat_of = |child: u32| {
                let id = ChildId::new(&format!("c{child}")).unwrap();
                let spec = ChildSpec { affinity: affinity.clone(), ..ChildSpec::new(id, "k", "") };
                let candidates = || nodes.iter().map(|(id, facts)| Candidate { id, facts: Some(facts) });
                let found = seat(&spec, &Preference::default(), candidates());
                found.map(|id| id.name.to_string()).ok_or_else(|| why_nowhere(&spec, candidates()))
            };
            (0..60).map(seat_of).collect::<std::collections::BTreeSet<_>>()
        };
        let on = |names: &[&str]| names.iter().map(|name| Ok((*name).to_owned())).collect();
        let (west, east) = (label("west"), label("east"));
        assert_eq!(seats(Affinity { require: west.clone(), ..Affinity::default() }), on(&["b", "c"]));
        assert_eq!(seats(Affinity { avoid: west.clone(), ..Affinity::default() }), on(&["a"]));
        assert_eq!(seats(Affinity { prefer: east.clone(), ..Affinity::default() }), on(&["a"]));
        assert_eq!(seats(Affinity { prefer: label("north"), ..Affinity::default() }), on(&["a", "b", "c"]));
        let nowhere = seats(Affinity { require: east.clone(), avoid: east, ..Affinity::default() });
        assert!(nowhere.iter().all(|seat| seat.as_ref().unwrap_err().contains("label than zone=east")), "{nowhere:?}");
    }

    /// Then the copy that stays by that policy need not move afterwards.
    #[test]
    fn the_seat_of_a_child_is_the_home_of_its_name_where_weights_are_even() {
        for (seat, children) in spread(&[("a", 1), ("b", 1), ("c", 1)]) {
            let home = |child: &usize| {
                let name = Name::new(&format!("c{child}")).unwrap();
                ["a", "b", "c"].into_iter().min_by_key(|node| Rank::home(&NodeName::new(node).unwrap(), &name))
            };
            assert!(children.iter().all(|child| home(child) == Some(&*seat)));
        }
    }

    #[test]
    fn golden_seats() {
        // Placement is compared between nodes of different builds: a change here moves every child of every cluster.
        let seats: Vec<String> = spread(&[("a", 1), ("b", 1), ("c", 1)])
            .iter()
            .map(|(name, children)| format!("{name}:{:?}", &children[..3]))
            .collect();
        assert_eq!(seats.join(" "), "a:[2, 3, 4] b:[5, 8, 9] c:[0, 1, 10]");
    }
}
