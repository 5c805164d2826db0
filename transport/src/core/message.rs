//! What two nodes say to one another before anything else, and how a newcomer is judged.

use serde::{Deserialize, Serialize};

use super::id::NodeId;
use super::time::Hlc;
use super::view::Addr;

/// The first words of either side of a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hello {
    /// The name of the cluster; both must be of the same.
    pub cluster: String,
    /// Who speaks. Its name is also the name in its certificate.
    pub id: NodeId,
    /// Where others dial it.
    pub addr: Addr,
    /// When this incarnation started, by its own clock: of two living holders of a name the later one gives way.
    pub started: Hlc,
}

/// Why a session is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The peer is of another cluster.
    #[error("it is a node of cluster {0}")]
    Cluster(String),
    /// Another living node holds the name.
    #[error("the name is held by a living node at {0}")]
    NameTaken(Addr),
    /// A later incarnation of the name is known, which is not living: the peer shall come back above it.
    #[error("a later incarnation {0} of the name is known")]
    Superseded(NodeId),
    /// Another node of this name was up a moment ago; whether it lives is being found out. The peer shall ask again.
    #[error("whether the name's holder still lives is being found out")]
    Checking,
    /// The peer is reached by way of others: the session is needed no more.
    #[error("this node is reached by way of others")]
    Superfluous,
    /// The peer is held as down and was not heard over this session for a while; it shall dial anew.
    #[error("nothing was heard from this node for too long")]
    Silent,
}
