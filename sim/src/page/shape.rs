//! What the notes of a run imply: who could reach whom when, and when one child or name was held twice.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::record::notes::{Notes, Span};

/// A time in which the nodes fell into several groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Grouping {
    at: Span,
    /// The group of each node.
    of: Vec<usize>,
}

/// A time in which one node did not hear another of its own group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Deaf {
    node: usize,
    peer: usize,
    at: Span,
}

/// A time in which several processes stood for one child or name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Overlap {
    id: String,
    at: Span,
    /// The processes, by their place in the list that was looked through.
    copies: Vec<usize>,
    /// When two of them could have known of each other.
    joined: Vec<Span>,
}

/// The times in which the nodes fell into groups, and the cuts that no group explains. Two nodes are in one group if there
/// is a way between them on which every step is open in both directions.
pub(super) fn reachability(notes: &Notes) -> (Vec<Grouping>, Vec<Deaf>) {
    let times: BTreeSet<u64> = notes.cuts.iter().flat_map(|cut| [cut.at.from, cut.at.until]).collect();
    let times: Vec<u64> = times.into_iter().collect();
    let (mut groupings, mut deaf): (Vec<Grouping>, Vec<Deaf>) = (Vec::new(), Vec::new());
    for pair in times.windows(2) {
        let at = Span { from: pair[0], until: pair[1] };
        let cut: BTreeSet<(usize, usize)> = notes
            .cuts
            .iter()
            .filter(|cut| cut.at.from <= at.from && at.until <= cut.at.until)
            .map(|cut| (cut.from, cut.to))
            .collect();
        let of = groups(notes.lanes.len(), &cut);
        for &(peer, node) in cut.iter().filter(|(from, to)| of[*from] == of[*to]) {
            match deaf.iter_mut().find(|d| (d.node, d.peer, d.at.until) == (node, peer, at.from)) {
                Some(before) => before.at.until = at.until,
                None => deaf.push(Deaf { node, peer, at }),
            }
        }
        if of.iter().all(|&group| group == 0) {
            continue;
        }
        match groupings.last_mut().filter(|last| last.at.until == at.from && last.of == of) {
            Some(last) => last.at.until = at.until,
            None => groupings.push(Grouping { at, of }),
        }
    }
    (groupings, deaf)
}

/// Groups are numbered by their first node, in order.
fn groups(nodes: usize, cut: &BTreeSet<(usize, usize)>) -> Vec<usize> {
    let mut of: Vec<Option<usize>> = vec![None; nodes];
    let mut next = 0;
    for first in 0..nodes {
        if of[first].is_some() {
            continue;
        }
        let mut ahead = vec![first];
        of[first] = Some(next);
        while let Some(node) = ahead.pop() {
            for (peer, group) in of.iter_mut().enumerate() {
                if group.is_none() && !cut.contains(&(node, peer)) && !cut.contains(&(peer, node)) {
                    *group = Some(next);
                    ahead.push(peer);
                }
            }
        }
        next += 1;
    }
    of.into_iter().flatten().collect()
}

/// The times in which one id was held more than once.
pub(super) fn overlaps<'a>(
    holds: impl Iterator<Item = (&'a str, usize, Span)>,
    notes: &Notes,
    groupings: &[Grouping],
) -> Vec<Overlap> {
    let mut by_id: BTreeMap<&str, Vec<(usize, usize, Span)>> = BTreeMap::new();
    for (number, (id, node, at)) in holds.enumerate() {
        by_id.entry(id).or_default().push((number, node, at));
    }
    let mut found = Vec::new();
    for (id, holds) in by_id {
        let times: BTreeSet<u64> = holds.iter().flat_map(|(_, _, at)| [at.from, at.until]).collect();
        let times: Vec<u64> = times.into_iter().collect();
        for pair in times.windows(2) {
            let at = Span { from: pair[0], until: pair[1] };
            let here: Vec<_> = holds.iter().filter(|(_, _, held)| covers(held, &at)).collect();
            if here.len() > 1 {
                let nodes: Vec<usize> = here.iter().map(|(_, node, _)| *node).collect();
                let copies = here.iter().map(|(number, _, _)| *number).collect();
                found.push(Overlap { id: id.to_owned(), at, copies, joined: joined(&nodes, at, notes, groupings) });
            }
        }
    }
    found
}

/// When two of these nodes could have known of each other: in one group, and neither standing still.
fn joined(nodes: &[usize], at: Span, notes: &Notes, groupings: &[Grouping]) -> Vec<Span> {
    let paused = |node: &usize| notes.lanes[*node].paused.iter();
    let changes = groupings.iter().map(|grouping| &grouping.at).chain(nodes.iter().flat_map(paused));
    let mut times: BTreeSet<u64> = changes.flat_map(|span| [span.from, span.until]).collect();
    times.retain(|time| at.from < *time && *time < at.until);
    times.extend([at.from, at.until]);
    let times: Vec<u64> = times.into_iter().collect();
    let mut found: Vec<Span> = Vec::new();
    for pair in times.windows(2) {
        let at = Span { from: pair[0], until: pair[1] };
        let grouping = groupings.iter().find(|grouping| covers(&grouping.at, &at));
        let awake = nodes.iter().filter(|node| !paused(node).any(|span| covers(span, &at)));
        let groups: Vec<usize> = awake.map(|node| grouping.map_or(0, |grouping| grouping.of[*node])).collect();
        if groups.iter().collect::<BTreeSet<_>>().len() == groups.len() {
            continue;
        }
        match found.last_mut().filter(|last| last.until == at.from) {
            Some(last) => last.until = at.until,
            None => found.push(at),
        }
    }
    found
}

fn covers(one: &Span, other: &Span) -> bool {
    one.from <= other.from && other.until <= one.until
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::notes::{Cut, Lane};

    fn notes(cuts: &[(usize, usize, u64, u64)]) -> Notes {
        let cuts = cuts.iter().map(|&(from, to, at, until)| Cut { from, to, at: Span { from: at, until } }).collect();
        Notes { lanes: vec![Lane::default(); 3], cuts, end_us: 100, ..Notes::default() }
    }

    #[test]
    fn groups_are_those_that_reach_each_other_both_ways() {
        let both = |a, b, at, until| [(a, b, at, until), (b, a, at, until)];
        let cuts = [both(0, 1, 10, 20), both(0, 2, 15, 30)].concat();
        let (groupings, deaf) = reachability(&notes(&cuts));
        assert_eq!(groupings, [Grouping { at: Span { from: 15, until: 20 }, of: vec![0, 1, 1] }]);
        let times: Vec<_> = deaf.iter().map(|d| (d.node, d.peer, d.at.from, d.at.until)).collect();
        assert_eq!(times, [(1, 0, 10, 15), (0, 1, 10, 15), (2, 0, 20, 30), (0, 2, 20, 30)]);
    }

    #[test]
    fn one_way_cuts_make_no_groups_while_there_is_a_way_around() {
        let (groupings, deaf) = reachability(&notes(&[(0, 1, 10, 20)]));
        assert_eq!(groupings, []);
        assert_eq!(deaf, [Deaf { node: 1, peer: 0, at: Span { from: 10, until: 20 } }]);
    }

    #[test]
    fn copies_overlap_with_and_without_a_way_between_them() {
        let grouping = Grouping { at: Span { from: 10, until: 20 }, of: vec![0, 1, 1] };
        let span = |from, until| Span { from, until };
        let mut notes = notes(&[]);
        notes.lanes[2].paused.push(span(22, 26));
        let holds = [("a", 0, span(0, 30)), ("b", 0, span(0, 30)), ("a", 2, span(12, 28)), ("a", 1, span(30, 40))];
        let found = overlaps(holds.into_iter(), &notes, &[grouping]);
        let joined = vec![span(20, 22), span(26, 28)];
        assert_eq!(found, [Overlap { id: "a".into(), at: span(12, 28), copies: vec![0, 2], joined }]);
    }
}
