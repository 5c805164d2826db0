//! Why a process is not shown any more: what a node can tell of it.

use super::claim::Entry;
use super::names::Registry;
use ordu_transport::core::Status;

/// Why lookups of a name, or reads of a group, do not show a process any more.
///
/// What a claim's own node knows best, others see as [`Gone::Dropped`]: how a process ended travels nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gone {
    /// The process, which runs on this node, gave it up.
    Released,
    /// The process, which ran on this node, has ended.
    Ended,
    /// Its node dropped the claim: the process gave it up, or has ended.
    Dropped,
    /// It is hidden: its node is held as down. It may be shown again.
    NodeDown,
    /// Its node has left, or came back as another incarnation.
    NodeLeft,
    /// It lost a conflict: a better-ranked process is shown, or it ended after it was told.
    ConflictLost,
}

impl Registry {
    /// Why what was shown is not any more. Asked after the table has changed.
    pub(super) fn why_gone(&self, was: &Entry) -> Gone {
        let node = was.node();
        if !self.is_shown(node) {
            let is_down = self.view().of(node).is_some_and(|member| member.status == Status::Down);
            return if is_down { Gone::NodeDown } else { Gone::NodeLeft };
        }
        let stays = self.names.table().live_of(was.name(), node).is_some_and(|claim| claim.pid == *was.pid());
        if stays || was.is_losing() {
            return Gone::ConflictLost;
        }
        if *node != self.id {
            return Gone::Dropped;
        }
        if self.processes.get(was.pid()).is_some() { Gone::Released } else { Gone::Ended }
    }
}
