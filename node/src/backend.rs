//! What the HTTP interface needs of a node: a narrow face before the supervisor, so that the interface can be tested without
//! a cluster and the supervisor's types stay behind one file.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::BoxStream;
use ordu_supervisor::core::{Affinity, Handover, Intensity, Placement};

use crate::logs::Output;
use crate::rows::{Child, Event, Explanation, Member, Moves, Name, StartRequest, Status};

/// What becomes of an asked-for change, later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// What becomes of many of them.
pub type Answers<'a, T> = Pin<Box<dyn Future<Output = Vec<Result<T, Refusal>>> + Send + 'a>>;

/// When a child is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    Permanent,
    /// After an abnormal exit.
    Transient,
    /// Never.
    Temporary,
}

/// A checked wish for a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Its name.
    pub id: String,
    /// The kind of code.
    pub kind: String,
    /// What that code is given.
    pub args: Vec<u8>,
    /// When it is started again.
    pub restart: Restart,
    /// The only node where it may run.
    pub node: Option<String>,
    /// How long it may take to stop.
    pub stop_timeout: Duration,
    /// How often it may be restarted after failures.
    pub intensity: Option<Intensity>,
    /// Shown in its row.
    pub labels: BTreeMap<String, String>,
    /// Which labels of nodes it asks for.
    pub affinity: Affinity,
    /// How it goes by where other children are, if it does.
    pub placed: Option<Placement>,
    /// How it is moved.
    pub handover: Handover,
}

/// Why a request is not done.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The request is not a sensible one.
    Invalid(String),
    /// It asks for a feature of a later version.
    NotYet(String),
    /// It bears no token, or a wrong one.
    Unauthorized,
    /// It comes from a page of another site.
    Forbidden(String),
    /// There is nothing of that name.
    NotFound(String),
    /// The path does not take that method.
    Method,
    /// The child is desired already.
    AlreadyThere(Box<Child>),
    /// Its body is too long.
    TooLarge,
    /// The child could not be started; nothing was kept.
    InitFailed(String),
    /// The child finished, or somebody terminated it, before this node saw it run; nothing was kept.
    Ended(String),
    /// No node may run the child; nothing was kept.
    NoEligibleNode(String),
    /// As many children should run as the cluster may have; nothing was kept.
    ClusterFull(String),
    /// The node must not be up for that.
    NodeIsUp(String),
    /// Another node that is needed for it does not answer.
    NodeUnreachable(String),
    /// The deadline passed; the outcome is unknown.
    Timeout(String),
    /// Too many such requests wait on this node already.
    Busy,
    /// This node is on its way out.
    Closed,
}

/// A node as its HTTP interface sees it. Reads are local and immediate.
pub trait Backend: Send + Sync + 'static {
    /// The cluster.
    fn status(&self) -> Status;
    /// The members, by name.
    fn members(&self) -> Vec<Member>;
    /// The children, by id.
    fn children(&self) -> Vec<Child>;
    /// One child.
    fn child(&self, id: &str) -> Option<Child>;
    /// Why a child is where it is, and where it would go.
    fn explain(&self, id: &str) -> Option<Explanation>;
    /// The request that would start a child that is desired as it is now.
    fn spec(&self, id: &str) -> Option<StartRequest>;
    /// The names that begin with `prefix`, sorted.
    fn names(&self, prefix: &str) -> Vec<Name>;
    /// One name.
    fn name(&self, name: &str) -> Option<Name>;
    /// What happened lately, oldest first, and everything from then on, without a gap or a repetition between them. One
    /// that reads too slowly is told of the gap by the end of its stream.
    fn events(&self) -> (Vec<Event>, BoxStream<'static, Event>);
    /// The newest `lines` lines that a child printed, and with `follow` what it prints until it has ended.
    fn logs<'a>(&'a self, id: &'a str, lines: u64, follow: bool) -> Answer<'a, Output>;
    /// Starts a child and waits until it runs. With `ensure` one that is there already is fine.
    fn start(&self, wish: Wish, ensure: bool, deadline: Duration) -> Answer<'_, Child>;
    /// Starts many at once and waits until each runs or is refused: an answer for each, in their order.
    fn start_many(&self, wishes: Vec<Wish>, ensure: bool, deadline: Duration) -> Answers<'_, Child>;
    /// Ends a child for good.
    fn stop<'a>(&'a self, id: &'a str, deadline: Duration) -> Answer<'a, ()>;
    /// Ends a child and starts it again.
    fn restart<'a>(&'a self, id: &'a str, deadline: Duration) -> Answer<'a, Child>;
    /// Moves a node's children away and gives it no more.
    fn drain<'a>(&'a self, node: &'a str, deadline: Duration) -> Answer<'a, ()>;
    /// Has up to `most` children that run elsewhere than they belong moved; or says only which those are. Returns them.
    fn rebalance(&self, most: usize, dry_run: bool) -> Moves;
    /// Forgets a member that is down.
    fn remove<'a>(&'a self, node: &'a str, deadline: Duration) -> Answer<'a, ()>;
    /// Gives a node no more children, or some again; it keeps those that it has.
    fn cordon<'a>(&'a self, node: &'a str, on: bool, deadline: Duration) -> Answer<'a, ()>;
    /// Gives a drained node children again.
    fn undrain<'a>(&'a self, node: &'a str, deadline: Duration) -> Answer<'a, ()>;
}
