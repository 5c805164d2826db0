//! Where a child's output is, by its row.

use ordu_supervisor::Supervisor;
use ordu_supervisor::core::{ChildId, ChildRow, ChildStatus};
use ordu_transport::core::{NodeId, NodeName};

use super::Logs;
use crate::backend::Refusal;
use crate::exec::KIND;

/// The node that has the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) node: NodeName,
    /// Its incarnation, if the child has a process there.
    pub(super) id: Option<NodeId>,
}

/// Where an output goes on that has ended at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// There.
    There(Place),
    /// Nowhere: the child has ended.
    Over,
}

impl Logs {
    /// Where the output of a child is now.
    pub(super) fn place(&self, id: &ChildId) -> Result<Place, Refusal> {
        let row = self.supervisor.child(id).ok_or_else(|| Refusal::NotFound(format!("there is no child {id}")))?;
        if &*row.kind != KIND {
            return Err(Refusal::NotFound(format!(
                "{id} has no log: what children of kind {} print is not kept, only what those of kind {KIND} do",
                row.kind
            )));
        }
        place_of(&row).ok_or_else(|| {
            let why = row.reason.as_deref().unwrap_or("no node runs it");
            Refusal::NotFound(format!("{id} has no log to read, because it runs nowhere now: {why}"))
        })
    }

    /// Waits until the child is at another place than this one, or has ended.
    pub(super) async fn next(&self, id: &ChildId, place: &Place) -> Next {
        let look = |supervisor: &Supervisor| match supervisor.child(id) {
            None => Some(Next::Over),
            Some(row) => match executed_at(&row) {
                Some(other) if other.node != place.node || is_other(&other, place) => Some(Next::There(other)),
                _ if row.status == ChildStatus::Done => Some(Next::Over),
                _ => None,
            },
        };
        wait(&self.supervisor, look).await
    }

    /// Waits until the child is anywhere; `None` once it has ended.
    pub(super) async fn somewhere(&self, id: &ChildId) -> Option<Place> {
        let look = |supervisor: &Supervisor| match supervisor.child(id) {
            None => Some(None),
            Some(row) if row.status == ChildStatus::Done => Some(None),
            Some(row) => executed_at(&row).map(Some),
        };
        wait(&self.supervisor, look).await
    }
}

/// A later incarnation of the node, whose files are the same.
fn is_other(other: &Place, place: &Place) -> bool {
    matches!((&other.id, &place.id), (Some(other), Some(place)) if other != place)
}

fn place_of(row: &ChildRow) -> Option<Place> {
    let node = row.node.clone()?;
    // Another's process may be shown for a moment; the row's node is the one that has the output.
    let id = row.pid.as_ref().map(|pid| pid.node.clone()).filter(|id| id.name == node);
    Some(Place { node, id })
}

/// The same once the child was executed there: before, what lies there is of an earlier stay.
fn executed_at(row: &ChildRow) -> Option<Place> {
    row.log.as_ref().and_then(|_| place_of(row))
}

async fn wait<T>(supervisor: &Supervisor, look: impl Fn(&Supervisor) -> Option<T>) -> T {
    loop {
        supervisor.wait_until(|supervisor| look(supervisor).is_some()).await;
        if let Some(found) = look(supervisor) {
            return found;
        }
    }
}
