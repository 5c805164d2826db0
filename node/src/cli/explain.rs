//! `ordu explain`: a sentence, what the child asks for, and a table of the nodes.

use super::children::pairs;
use super::table::{self, Table, or_dash};
use crate::failure::{Failure, one_line};
use crate::rows::{Candidate, Explanation};

/// Tells why a child is where it is.
pub(crate) fn print(told: Explanation) -> Result<(), Failure> {
    table::print(&sentences(&told))?;
    if !told.nodes.is_empty() {
        nodes_table(&told).print()?;
    }
    table::print(&rest(&told))
}

fn sentences(told: &Explanation) -> String {
    let place = told.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
    let mut text = one_line(&format!("{} is {}{place}: {}", told.id, told.status, told.why)) + "\n";
    let Some(restart) = &told.restart else { return text };
    let group = told.apart_from.as_deref().unwrap_or_default();
    let anywhere = match (&told.pinned_to, told.placement.as_deref()) {
        (Some(node), _) => format!("pinned to {node}"),
        (None, Some("least-loaded")) => "placed where fewest children are".to_owned(),
        (None, Some("apart")) => format!("kept apart from {group}"),
        (None, Some("spread")) => format!("spread with {group}"),
        (None, placement) => format!("placed {}ly", placement.unwrap_or("uniform")),
    };
    let asks = [("requires", &told.require), ("avoids", &told.avoid), ("prefers", &told.prefer)];
    let asks = asks.iter().filter(|(_, labels)| !labels.is_empty());
    let asks: String = asks.map(|(verb, labels)| format!(", {verb} {}", pairs(labels))).collect();
    let next = match (&told.node, &told.next) {
        (Some(node), Some(next)) => format!("; without {node} it would go to {next}"),
        (Some(node), None) if restart == "temporary" => format!("; without {node} it would be suspended"),
        (Some(node), None) => format!("; without {node} it would wait"),
        (None, _) => String::new(),
    };
    text += &one_line(&format!("it is {restart}, {anywhere}{asks}{next}"));
    text + "\n"
}

fn nodes_table(told: &Explanation) -> Table {
    let columns: &[_] = match &told.decider {
        None => &["ORDER", "NODE", "STATUS", "WEIGHT", "PREFERRED", "NOTE"],
        Some(_) => &["ORDER", "NODE", "STATUS", "WEIGHT", "PREFERRED", "CHILDREN", "NEAR", "NOTE"],
    };
    let mut table = Table::new(columns);
    for Candidate { node, status, cordoned, order, weight, preferred, children, near, beside, reason } in &told.nodes {
        let notes = [
            (told.node.as_ref() == Some(node)).then(|| "has it".to_owned()),
            (told.seat.as_ref() == Some(node)).then(|| "its seat".to_owned()),
            (told.decider.as_ref() == Some(node)).then(|| "chooses for it".to_owned()),
            reason.clone(),
        ];
        let notes: Vec<String> = notes.into_iter().flatten().collect();
        let mut row = vec![
            or_dash(*order),
            node.clone(),
            if *cordoned { format!("{status}, cordoned") } else { status.clone() },
            weight.to_string(),
            or_dash((!told.prefer.is_empty()).then(|| format!("{preferred} of {}", told.prefer.len()))),
            or_dash(Some(notes.join("; ")).filter(|notes| !notes.is_empty())),
        ];
        if told.decider.is_some() {
            let near = near.map(|near| format!("{near}, {} on it", beside.unwrap_or_default()));
            row.splice(5..5, [or_dash(*children), or_dash(near)]);
        }
        table.row(row);
    }
    table
}

fn rest(told: &Explanation) -> String {
    let Explanation { eligible, ineligible, left_out, .. } = told;
    match left_out {
        0 => String::new(),
        _ => format!("{left_out} nodes are left out; {eligible} may run it, {ineligible} may not\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Explanation {
        let candidate = |node: &str, order: Option<u64>, reason: Option<&str>| Candidate {
            node: node.into(),
            status: "up".into(),
            cordoned: node == "n3",
            order,
            weight: 1,
            preferred: 0,
            children: None,
            near: None,
            beside: None,
            reason: reason.map(str::to_owned),
        };
        Explanation {
            id: "web".into(),
            status: "running".into(),
            node: Some("n2".into()),
            reason: None,
            placement: Some("uniform".into()),
            pinned_to: None,
            restart: Some("permanent".into()),
            require: [("zone".into(), "east".into())].into(),
            avoid: Default::default(),
            prefer: Default::default(),
            apart_from: None,
            decider: None,
            seat: Some("n1".into()),
            next: Some("n1".into()),
            moves: true,
            why: "it belongs on n1".into(),
            nodes: vec![
                candidate("n1", Some(1), None),
                candidate("n2", Some(2), None),
                candidate("n3", None, Some("it is cordoned")),
            ],
            eligible: 2,
            ineligible: 1,
            left_out: 0,
        }
    }

    #[test]
    fn a_sentence_comes_first() {
        let first = "web is running on n2: it belongs on n1\n";
        let second = "it is permanent, placed uniformly, requires zone=east; without n2 it would go to n1\n";
        assert_eq!(sentences(&told()), format!("{first}{second}"));
        let once = Explanation { restart: Some("temporary".into()), next: None, ..told() };
        assert!(sentences(&once).ends_with("without n2 it would be suspended\n"));
        let alone = Explanation { next: None, pinned_to: Some("n2".into()), ..told() };
        assert!(sentences(&alone).contains("pinned to n2, requires zone=east; without n2 it would wait\n"));
        let apart_from = Some("app=web@zone".to_owned());
        let apart = Explanation { placement: Some("apart".into()), apart_from, ..told() };
        assert!(sentences(&apart).contains("permanent, kept apart from app=web@zone, requires zone=east;"));
        let over = Explanation { restart: None, node: None, why: "two\nlines".into(), ..told() };
        assert_eq!(sentences(&over), "web is running: two lines\n");
    }

    #[test]
    fn what_is_left_out_is_counted() {
        assert_eq!(rest(&told()), "");
        let many = Explanation { eligible: 900, ineligible: 101, left_out: 901, ..told() };
        assert_eq!(rest(&many), "901 nodes are left out; 900 may run it, 101 may not\n");
    }
}
