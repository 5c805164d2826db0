//! The rows that HTTP answers with and that the command line's `--json` prints: one shape for both.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Its name in the cluster.
    pub id: String,
    /// The kind of code it runs.
    pub kind: String,
    /// The node that holds it.
    pub node: Option<String>,
    /// Its process, as `NODE#BOOT.SERIAL`.
    pub pid: Option<String>,
    /// The operating system's process id, if it is an OS process.
    pub os_pid: Option<u32>,
    /// `pending | starting | running | stopping | moving | backoff | quarantined | suspended | done`.
    pub status: String,
    /// Restarts after an abnormal or permanent exit.
    pub restarts: u64,
    /// When it got this status, RFC 3339 in UTC.
    pub since: String,
    /// Its activation's fence, in hex.
    pub fence: Option<String>,
    /// Why it is pending, or how it ended last.
    pub reason: Option<String>,
    /// Free-form pairs.
    pub labels: BTreeMap<String, String>,
    /// Where its output is kept, on its node.
    pub log: Option<String>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its incarnation.
    pub boot: u64,
    /// Where others dial it.
    pub addr: String,
    /// `up | suspect | draining | down | left`.
    pub status: String,
    /// How many children it holds.
    pub children: u64,
    /// Free-form pairs.
    pub labels: BTreeMap<String, String>,
    /// The kinds it offers.
    pub kinds: Vec<String>,
    /// The version of its software.
    pub version: String,
    /// Round trip from the node that was asked; null for that node itself, and while there is no session.
    pub rtt_ms: Option<f64>,
    /// It takes no children and keeps those that it has.
    #[serde(default)]
    pub cordoned: bool,
    /// It holds as many children as it may: it takes no more and keeps those that it has.
    #[serde(default)]
    pub full: bool,
    /// Most children that it holds at once; null where there is no bound.
    #[serde(default)]
    pub max_children: Option<u32>,
}

/// What became of one of several children that were to be started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartResult {
    /// The child's name.
    pub id: String,
    /// Its row; absent if it was not started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<Child>,
    /// Why it was not, as the status that a request for it alone is answered with; absent if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The same, as one word for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same, as one sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Child {
    /// What is said of one that is desired already.
    pub fn already(&self) -> String {
        match (&self.node, &self.pid) {
            (Some(node), Some(pid)) if self.status == "running" => format!("already running on {node} ({pid})"),
            _ => format!("already {}", self.status),
        }
    }
}

impl Member {
    /// Its status, and what else keeps children from it.
    pub fn state(&self) -> String {
        let also = [(self.cordoned, ", cordoned"), (self.full, ", full")];
        also.iter().filter(|(is, _)| *is).fold(self.status.clone(), |state, (_, word)| state + word)
    }
}

/// One registered name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// The name.
    pub name: String,
    /// The process that holds it.
    pub pid: String,
    /// The node of that process.
    pub node: String,
    /// Since when, RFC 3339 in UTC.
    pub since: String,
    /// Its holder's fence, in hex.
    pub fence: String,
    /// What the holder put beside it: null if nothing, text, or `{"hex": …}` where it is not text.
    pub value: serde_json::Value,
}

/// The cluster, as the node that was asked sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// The name of the node that was asked.
    pub name: String,
    /// Its incarnation.
    pub boot: u64,
    /// Whether QUIC and HTTP serve.
    pub healthy: bool,
    /// Members that are up.
    pub members_up: u64,
    /// Members known.
    pub members: u64,
    /// Children that should run.
    pub children: u64,
    /// Children that run.
    pub running: u64,
    /// Names that lookups show.
    pub names: u64,
    /// Processes of this node that lost a name conflict since it started.
    pub conflicts_total: u64,
    /// Checkpoints that this node keeps for children of others.
    #[serde(default)]
    pub checkpoints: u64,
    /// Equal on two nodes exactly when their tables are; in hex.
    pub clock_hash: String,
    /// Whether every member that is up showed our own digests lately.
    pub converged: bool,
    /// While the node takes much that it lacks: how far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// How it stands with the node's quorum, where it needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<Quorum>,
}

/// How it stands with a node's quorum.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// How many members it takes.
    pub needed: u64,
    /// How many vouch for the node, itself included.
    pub vouching: u64,
    /// How many members there are.
    #[serde(default)]
    pub members: u64,
    /// Whether the node may run children.
    pub held: bool,
    /// For how long it takes no part at most, in milliseconds, because it has just begun.
    pub waits_ms: u64,
}

/// How far a node is that takes what it lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Entries of tables that came.
    pub taken: u64,
    /// Entries that are expected in all.
    pub expected: u64,
}

/// Something that happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// On which node.
    pub node: String,
    /// What.
    #[serde(rename = "type")]
    pub kind: String,
    /// The member it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The child it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<String>,
    /// The name it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Why, or how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The node that a child moved to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The fence of a child that starts or runs, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<String>,
    /// The process that a name was registered or released for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<String>,
    /// The process that keeps a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winner: Option<String>,
    /// The process that loses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loser: Option<String>,
    /// By which rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Since when the process that keeps a name runs, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// An error as HTTP answers it: RFC 9457, with a `code` for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Always `about:blank`: `code` says more.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// One sentence for people.
    pub detail: String,
    /// One word for programs.
    pub code: String,
}

/// What `POST /v1/children` takes, and what a child's spec is told as.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRequest {
    /// The child's name.
    pub id: String,
    /// The kind of code it runs.
    #[serde(default = "exec_kind")]
    pub kind: String,
    /// What that code is given, in its own format.
    #[serde(default)]
    pub args: serde_json::Value,
    /// `permanent | transient | temporary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// The only node where it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Free-form pairs, shown in its row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Labels that a node must have to run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<BTreeMap<String, String>>,
    /// Labels that a node must not have to run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avoid: Option<BTreeMap<String, String>>,
    /// Labels that it goes after, of the nodes that may run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefer: Option<BTreeMap<String, String>>,
    /// `uniform | least-loaded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<String>,
    /// The label, `K=V`, of children that it is never together with on one node; with `@LABEL`, on nodes with the same
    /// value of that label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apart: Option<String>,
    /// The label of children that it is spread with: it goes where fewest of them are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<String>,
    /// How often it may be restarted within `within`; when it ends once more it is in quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_restarts: Option<u32>,
    /// The window of `max_restarts`, such as `60s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// Whether its node gives its children away and ends once it was restarted too often there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub escalate: bool,
    /// Whether, when it is moved, it starts there before it stops here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub start_first: bool,
}

/// Why a child is where it is, and where it would go, as the node that was asked sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The child's name.
    pub id: String,
    /// As in its row.
    pub status: String,
    /// The node that has it.
    pub node: Option<String>,
    /// As in its row.
    pub reason: Option<String>,
    /// `uniform | pinned | least-loaded | apart | spread`; null, like the next two, where it should not run any more.
    pub placement: Option<String>,
    /// The only node where it may run.
    pub pinned_to: Option<String>,
    /// `permanent | transient | temporary`.
    pub restart: Option<String>,
    /// Labels that a node must have to run it.
    pub require: BTreeMap<String, String>,
    /// Labels that a node must not have to run it.
    pub avoid: BTreeMap<String, String>,
    /// Labels that it goes after, of the nodes that may run it.
    pub prefer: BTreeMap<String, String>,
    /// The children that it is kept apart from, or spread with, as `K=V` or `K=V@LABEL`.
    #[serde(default)]
    pub apart_from: Option<String>,
    /// The node where it belongs now.
    pub seat: Option<String>,
    /// The node that chooses one for it when none has it; null where that does not depend on other children.
    #[serde(default)]
    pub decider: Option<String>,
    /// Where it would go if the node that has it were gone.
    pub next: Option<String>,
    /// Whether it goes to another node by itself, now or as soon as that can take it.
    pub moves: bool,
    /// Why it stays, goes, or does not run: for people.
    pub why: String,
    /// The nodes: those that may run it, the best first, then those that may not; at most fifty of either, and the one that
    /// has it.
    pub nodes: Vec<Candidate>,
    /// How many may run it.
    pub eligible: u64,
    /// How many may not.
    pub ineligible: u64,
    /// How many of both `nodes` leaves out.
    pub left_out: u64,
}

/// What speaks for and against a node for a child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its name.
    pub node: String,
    /// As in its row.
    pub status: String,
    /// It takes no children and keeps those that it has.
    pub cordoned: bool,
    /// Its place among those that may run the child, from 1 on; null where it may not.
    pub order: Option<u64>,
    /// Its share of children relative to others.
    pub weight: u32,
    /// How many of the labels in `prefer` it has.
    pub preferred: u64,
    /// How many other children it has; null, like the next two, where that does not count.
    #[serde(default)]
    pub children: Option<u64>,
    /// How many of those that the child keeps apart from are here, or on nodes with the same value of its label.
    #[serde(default)]
    pub near: Option<u64>,
    /// How many of them are on this very node.
    #[serde(default)]
    pub beside: Option<u64>,
    /// Why it may not run the child: for people.
    pub reason: Option<String>,
}

/// A child that goes from one node to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The child's name.
    pub child: String,
    /// Where it runs.
    pub from: String,
    /// Where it belongs.
    pub to: String,
}

/// What a rebalancing moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moves {
    /// Child by child.
    pub moves: Vec<Move>,
}

fn exec_kind() -> String {
    crate::exec::KIND.into()
}
