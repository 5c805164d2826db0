//! What the supervisor says of a child's place, as JSON.

use ordu_supervisor::core::{ChildSpec, Considered, Explanation, Placement, Restart};

use crate::adapter::{child_status, member_status};
use crate::{placed, rows};

pub(crate) fn row(told: Explanation) -> rows::Explanation {
    let left_out = told.left_out() as u64;
    let spec = told.spec.as_deref();
    let affinity = spec.map(|spec| spec.affinity.clone()).unwrap_or_default();
    let (placement, apart_from) = spec.map(|spec| placed::told(&spec.placement)).unzip();
    let pinned_to = spec.and_then(|spec| match &spec.placement {
        Placement::Pinned(node) => Some(node.to_string()),
        Placement::Uniform | Placement::LeastLoaded | Placement::Apart(_) => None,
    });
    rows::Explanation {
        id: told.row.id.to_string(),
        status: child_status(told.row.status).into(),
        node: told.row.node.map(|node| node.to_string()),
        reason: told.row.reason,
        placement: placement.map(str::to_owned),
        pinned_to,
        restart: spec.map(|spec| restart(spec).to_owned()),
        require: affinity.require,
        avoid: affinity.avoid,
        prefer: affinity.prefer,
        apart_from: apart_from.flatten(),
        seat: told.seat.map(|node| node.to_string()),
        decider: told.decider.map(|node| node.to_string()),
        next: told.next.map(|node| node.to_string()),
        moves: told.moves,
        why: told.why,
        nodes: told.nodes.into_iter().map(candidate).collect(),
        eligible: told.eligible as u64,
        ineligible: told.ineligible as u64,
        left_out,
    }
}

fn restart(spec: &ChildSpec) -> &'static str {
    match spec.restart {
        Restart::Permanent => "permanent",
        Restart::Transient => "transient",
        Restart::Temporary => "temporary",
    }
}

/// Without what an application's own preference gives: these nodes have none.
fn candidate(node: Considered) -> rows::Candidate {
    rows::Candidate {
        node: node.node.to_string(),
        status: member_status(node.status).into(),
        cordoned: node.cordoned,
        order: node.order.map(|order| order as u64),
        weight: node.weight,
        preferred: node.preferred as u64,
        children: node.children,
        near: node.apart.map(|(near, _)| near),
        beside: node.apart.map(|(_, beside)| beside),
        reason: node.reason,
    }
}
