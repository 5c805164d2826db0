//! Everything that knows the supervisor's runtime: starting it, running `exec` children under it, its calls, and its rows
//! as JSON.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use ordu_registry::core::reconcile::Progress;
use ordu_registry::core::{Entry, Fence};
use ordu_supervisor::core::{
    ChildId, ChildRow, ChildSpec, ChildStatus, Escalation, Event, EventKind, Expect, MemberRow, MemberStatus,
    Misplaced, Placement, Redistribution, Restart,
};
use ordu_supervisor::{
    Closed, Context, DrainError, Exit, Kind, Kinds, RemoveError, RestartError, StartError, Started, Store, Supervisor,
    SupervisorConfig, TerminateError, Watchdog,
};
use ordu_transport::core::NodeName;
use ordu_transport::{Cluster, ClusterConfig, TlsMaterial};
use tokio::sync::broadcast;

use crate::backend::{self, Answer, Answers, Backend, Refusal, Wish};
use crate::exec::{Activation, Exec, Hold, Host, KIND};
use crate::explain;
use crate::failure::Failure;
use crate::logs::{self, Logs, Output};
use crate::node::NodeConfig;
use crate::rows;
use crate::text::format_time;
use crate::wish;

/// A running node below its HTTP interface.
pub(crate) struct Node {
    supervisor: Supervisor,
    cluster_name: Arc<str>,
    logs: Logs,
}

/// Joins the cluster and starts to supervise.
///
/// # Errors
/// Exit 2, if the certificates or the address are not usable.
pub(crate) async fn start(
    config: &NodeConfig,
    tls: TlsMaterial,
    boot: u64,
    exec: Exec,
    store: Option<Store>,
) -> Result<Node, Failure> {
    let cluster_config = ClusterConfig {
        name: config.name.clone(),
        cluster: config.cluster.clone(),
        boot,
        listen: config.listen,
        advertise: config.advertise.clone(),
        join: config.join.clone(),
        tls,
    };
    let (cluster, events) = Cluster::start(cluster_config).await.map_err(|error| match error {
        ordu_transport::StartError::Tls(error) => Failure::usage(format!("--tls-dir: {error}")),
        error => Failure::usage(format!("--listen: {error}")),
    })?;
    let (members, timeout) = config.expect;
    let keeper = exec.keeper().clone();
    let supervisor_config = SupervisorConfig {
        expect: Expect { members, timeout },
        labels: config.labels.clone(),
        redistribution: if config.passive { Redistribution::Passive } else { Redistribution::Active },
        weight: config.weight,
        bounds: config.bounds,
        kinds: Kinds::new().with(KIND, ExecKind(exec.clone())),
        version: env!("CARGO_PKG_VERSION").into(),
        keep_done: config.keep_done,
        partition: config.partition,
        copies: config.checkpoint_copies,
        watchdog: Some(Watchdog::new(move |within| keeper.lease(within))),
        ..SupervisorConfig::default()
    };
    let requests = cluster.requests();
    let supervisor = match store {
        Some(store) => {
            tracing::info!(children = store.children(), "what should run was read from the data directory");
            Supervisor::start_durable(cluster, events, supervisor_config, store)
                .map_err(|error| Failure::usage(format!("no thread can be started: {error}")))?
        }
        None => Supervisor::start(cluster, events, supervisor_config),
    };
    let logs = Logs::new(supervisor.clone(), exec);
    tokio::spawn(logs::serve(logs.clone(), requests));
    Ok(Node { supervisor, cluster_name: config.cluster.as_str().into(), logs })
}

impl Node {
    pub(crate) fn backend(&self) -> Arc<dyn Backend> {
        let (supervisor, cluster_name) = (self.supervisor.clone(), self.cluster_name.clone());
        Arc::new(Face { supervisor, cluster_name, logs: self.logs.clone() })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.supervisor.cluster().local_addr()
    }

    pub(crate) fn boot(&self) -> u64 {
        self.supervisor.cluster().id().boot
    }

    /// Resolves once a child failed so often here that the node should not go on; why, for whoever started it.
    pub(crate) async fn escalated(&self) -> Failure {
        let Escalation { child, reason } = self.supervisor.escalated().await;
        Failure::refused(format!(
            "{child} failed too often here, which by its --escalate tells of this node: {reason}; it is in quarantine, \
             and the others have the rest"
        ))
    }

    /// Resolves when the cluster ends this node.
    pub(crate) async fn closed(&self) -> Result<(), Failure> {
        match self.supervisor.closed().await {
            Closed::Shutdown => Ok(()),
            Closed::NameTaken { holder } => Err(Failure::usage(format!(
                "another living node of the cluster, at {holder}, has the name {}; give another --name",
                self.supervisor.cluster().id().name
            ))),
        }
    }

    pub(crate) async fn shutdown(&self, drain_timeout: Duration) {
        self.supervisor.shutdown(drain_timeout).await;
    }
}

/// The kind `exec` as the supervisor runs it.
struct ExecKind(Exec);

impl Kind for ExecKind {
    fn run(&self, context: Context) -> Pin<Box<dyn Future<Output = Exit> + Send>> {
        let exec = self.0.clone();
        Box::pin(async move {
            let activation = Activation {
                id: context.id().to_string(),
                node: context.node().to_string(),
                pid: context.pid().to_string(),
                fence: context.fence().to_string(),
            };
            let args = context.args().clone();
            exec.run(activation, &args, ContextHost(context)).await
        })
    }
}

struct ContextHost(Context);

impl Host for ContextHost {
    fn hold(&self) -> Option<Hold> {
        self.0.hold().map(|hold| Box::new(hold) as Hold)
    }

    fn started(&self, os_pid: u32, log: &Path) {
        self.0.started(Started { os_pid: Some(os_pid), log: Some(log.to_string_lossy().into()) });
    }

    async fn stopping(&self) -> Duration {
        self.0.stopping().await;
        self.0.stop_timeout()
    }

    fn is_stopping(&self) -> bool {
        self.0.is_stopping()
    }

    async fn fence_raised(&self, known: &str) -> String {
        let fence = self.0.fence();
        if fence.to_string() != known {
            return fence.to_string();
        }
        self.0.fence_changed(fence).await.to_string()
    }

    fn handed_off(&self) -> Option<Bytes> {
        self.0.handed_off().cloned()
    }

    fn hand_off(&self, state: Vec<u8>) {
        if let Err(error) = self.0.hand_off(state) {
            tracing::warn!(child = %self.0.id(), %error, "a child's state is not handed on");
        }
    }

    fn checkpoint(&self, state: Vec<u8>) {
        if let Err(error) = self.0.checkpoint(state) {
            tracing::warn!(child = %self.0.id(), %error, "a child's checkpoint is not kept");
        }
    }

    async fn merged(&self) -> Bytes {
        self.0.merged().await.state
    }
}

/// The supervisor as the HTTP interface sees it.
struct Face {
    supervisor: Supervisor,
    cluster_name: Arc<str>,
    logs: Logs,
}

impl Backend for Face {
    fn status(&self) -> rows::Status {
        let id = self.supervisor.cluster().id();
        let status = self.supervisor.status();
        let quorum = status.quorum.map(|quorum| rows::Quorum {
            needed: quorum.needed as u64,
            vouching: quorum.vouching as u64,
            members: quorum.members as u64,
            held: quorum.is_held,
            waits_ms: u64::try_from(quorum.waits.as_millis()).unwrap_or(u64::MAX),
        });
        rows::Status {
            cluster: self.cluster_name.to_string(),
            name: id.name.to_string(),
            boot: id.boot,
            healthy: quorum.as_ref().is_none_or(|quorum| quorum.held),
            members_up: status.members_up as u64,
            members: status.members as u64,
            children: status.children as u64,
            running: status.running as u64,
            names: status.names as u64,
            conflicts_total: status.conflicts_total,
            checkpoints: status.checkpoints as u64,
            clock_hash: format!("{:016x}", status.clock_hash),
            converged: status.converged,
            progress: status.progress.map(|Progress { taken, expected }| rows::Progress { taken, expected }),
            quorum,
        }
    }

    fn members(&self) -> Vec<rows::Member> {
        let cluster = self.supervisor.cluster();
        let view = cluster.view();
        let rtt_ms = |name: &NodeName| {
            let rtt = cluster.rtt(&view.get(name)?.id)?;
            Some((rtt.as_secs_f64() * 1e6).round() / 1e3)
        };
        self.supervisor.members().iter().map(|row| member(row, rtt_ms(&row.name))).collect()
    }

    fn children(&self) -> Vec<rows::Child> {
        self.supervisor.children().into_iter().map(child).collect()
    }

    fn child(&self, id: &str) -> Option<rows::Child> {
        self.supervisor.child(&ChildId::new(id).ok()?).map(child)
    }

    fn explain(&self, id: &str) -> Option<rows::Explanation> {
        self.supervisor.explain(&ChildId::new(id).ok()?).map(explain::row)
    }

    fn spec(&self, id: &str) -> Option<rows::StartRequest> {
        self.supervisor.spec(&ChildId::new(id).ok()?).map(|spec| wish::request(&spec))
    }

    fn names(&self, prefix: &str) -> Vec<rows::Name> {
        self.supervisor.registry().entries(prefix).iter().map(name).collect()
    }

    fn name(&self, text: &str) -> Option<rows::Name> {
        self.supervisor.registry().lookup(text).map(|entry| name(&entry))
    }

    fn events(&self) -> (Vec<rows::Event>, BoxStream<'static, rows::Event>) {
        let (recent, further) = self.supervisor.recent_and_further_events();
        let live = stream::unfold(further, |mut events| async {
            match events.recv().await {
                Ok(found) => Some((event(found), events)),
                // A gap would not be seen, so a reader that is too slow is cut off; it may ask again.
                Err(broadcast::error::RecvError::Lagged(_) | broadcast::error::RecvError::Closed) => None,
            }
        });
        (recent.into_iter().map(event).collect(), live.boxed())
    }

    fn logs<'a>(&'a self, id: &'a str, lines: u64, follow: bool) -> Answer<'a, Output> {
        Box::pin(async move { self.logs.open(child_id(id)?, lines, follow).await })
    }

    fn start(&self, wish: Wish, ensure: bool, deadline: Duration) -> Answer<'_, rows::Child> {
        Box::pin(async move {
            let spec = spec(wish).map_err(Refusal::Invalid)?;
            let id = spec.id.clone();
            let started = match ensure {
                true => self.supervisor.ensure_child(spec, deadline).await,
                false => self.supervisor.start_child(spec, deadline).await,
            };
            answer(&id, ensure, started)
        })
    }

    fn start_many(&self, wishes: Vec<Wish>, ensure: bool, deadline: Duration) -> Answers<'_, rows::Child> {
        Box::pin(async move {
            let specs: Vec<Result<ChildSpec, String>> = wishes.into_iter().map(spec).collect();
            let good = specs.iter().flatten().cloned();
            let started = match ensure {
                true => self.supervisor.ensure_children(good, deadline).await,
                false => self.supervisor.start_children(good, deadline).await,
            };
            let mut started = started.into_iter();
            let answers = specs.into_iter().map(|spec| {
                let id = spec.map_err(Refusal::Invalid)?.id;
                answer(&id, ensure, started.next().unwrap_or(Err(StartError::Closed)))
            });
            answers.collect()
        })
    }

    fn stop<'a>(&'a self, id: &'a str, deadline: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            self.supervisor.terminate_child(&child_id(id)?, deadline).await.map_err(|error| match error {
                TerminateError::NotFound => no_child(id),
                TerminateError::Timeout => {
                    Refusal::Timeout(format!("{id} is to stop but has not ended yet; `ordu show {id}` tells"))
                }
                TerminateError::Busy => Refusal::Busy,
                TerminateError::Closed => Refusal::Closed,
            })
        })
    }

    fn restart<'a>(&'a self, id: &'a str, deadline: Duration) -> Answer<'a, rows::Child> {
        Box::pin(async move {
            let restarted = self.supervisor.restart_child(&child_id(id)?, deadline).await;
            restarted.map(child).map_err(|error| match error {
                RestartError::NotFound => no_child(id),
                RestartError::Timeout => {
                    Refusal::Timeout(format!("{id} does not run again yet; `ordu show {id}` tells"))
                }
                RestartError::Failed(why) => Refusal::InitFailed(why),
                RestartError::Busy => Refusal::Busy,
                RestartError::Closed => Refusal::Closed,
            })
        })
    }

    fn drain<'a>(&'a self, node: &'a str, deadline: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            let drained = self.supervisor.drain(&node_name(node)?, deadline).await;
            drained.map_err(|error| drain_refusal(node, &error))
        })
    }

    fn rebalance(&self, most: usize, dry_run: bool) -> rows::Moves {
        let found = match dry_run {
            true => self.supervisor.misplaced(most),
            false => self.supervisor.rebalance(most),
        };
        let row = |Misplaced { child, from, to }: Misplaced| rows::Move {
            child: child.to_string(),
            from: from.to_string(),
            to: to.to_string(),
        };
        rows::Moves { moves: found.into_iter().map(row).collect() }
    }

    fn remove<'a>(&'a self, node: &'a str, deadline: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            self.supervisor.remove(&node_name(node)?, deadline).await.map_err(|error| match error {
                RemoveError::UnknownNode => Refusal::NotFound(format!("there is no member {node}")),
                RemoveError::Living => Refusal::NodeIsUp(format!("{node} is up; stop it first")),
                RemoveError::Timeout => {
                    Refusal::Timeout(format!("{node} does not show as left yet; `ordu members` tells"))
                }
            })
        })
    }

    fn undrain<'a>(&'a self, node: &'a str, deadline: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            let undrained = self.supervisor.undrain(&node_name(node)?, deadline).await;
            undrained.map_err(|error| drain_refusal(node, &error))
        })
    }

    fn cordon<'a>(&'a self, node: &'a str, on: bool, deadline: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            let cordoned = self.supervisor.cordon(&node_name(node)?, on, deadline).await;
            cordoned.map_err(|error| drain_refusal(node, &error))
        })
    }
}

/// What whoever wanted a child started is told.
fn answer(id: &ChildId, ensure: bool, started: Result<ChildRow, StartError>) -> Result<rows::Child, Refusal> {
    match started {
        Ok(row) => Ok(child(row)),
        Err(StartError::AlreadyRunning(row)) if ensure => Ok(child(*row)),
        Err(StartError::AlreadyRunning(row)) => Err(Refusal::AlreadyThere(Box::new(child(*row)))),
        Err(StartError::NoEligibleNode(why)) => Err(Refusal::NoEligibleNode(why)),
        Err(error @ StartError::ClusterFull(_)) => Err(Refusal::ClusterFull(error.to_string())),
        Err(StartError::Failed(why)) => Err(Refusal::InitFailed(why)),
        Err(error @ StartError::Ended) => Err(Refusal::Ended(error.to_string())),
        Err(StartError::Invalid(why)) => Err(Refusal::Invalid(why)),
        Err(StartError::Timeout { accepted: true }) => Err(Refusal::Timeout(format!(
            "{id} is accepted but does not run yet; it will be tried on: `ordu show {id}`, `ordu stop {id}`"
        ))),
        Err(StartError::Timeout { accepted: false }) => {
            Err(Refusal::Timeout(format!("{id} was not started in time, and nothing is kept; asking again is safe")))
        }
        Err(StartError::Busy) => Err(Refusal::Busy),
        Err(StartError::Closed) => Err(Refusal::Closed),
    }
}

fn child_id(id: &str) -> Result<ChildId, Refusal> {
    ChildId::new(id).map_err(|error| Refusal::Invalid(format!("{id:?} is not a child's name: {error}")))
}

fn node_name(name: &str) -> Result<NodeName, Refusal> {
    NodeName::new(name).map_err(|error| Refusal::Invalid(format!("{name:?} is not a node's name: {error}")))
}

fn no_child(id: &str) -> Refusal {
    Refusal::NotFound(format!("there is no child {id}"))
}

fn drain_refusal(node: &str, error: &DrainError) -> Refusal {
    match error {
        DrainError::UnknownNode => Refusal::NotFound(format!("there is no member {node}")),
        DrainError::Unreachable => Refusal::NodeUnreachable(format!("{node} is not up, or not connected to this node")),
        DrainError::Timeout => Refusal::Timeout(format!("{node} has not said so in time; `ordu members` tells")),
        DrainError::Busy => Refusal::Busy,
        DrainError::Closed => Refusal::Closed,
    }
}

pub(crate) fn spec(wish: Wish) -> Result<ChildSpec, String> {
    let id = ChildId::new(&wish.id).map_err(|error| error.to_string())?;
    let placement = match (wish.node, wish.placed) {
        (Some(node), _) => Placement::Pinned(NodeName::new(&node).map_err(|error| error.to_string())?),
        (None, Some(placed)) => placed,
        (None, None) => Placement::Uniform,
    };
    let restart = match wish.restart {
        backend::Restart::Permanent => Restart::Permanent,
        backend::Restart::Transient => Restart::Transient,
        backend::Restart::Temporary => Restart::Temporary,
    };
    let Wish { kind, args, labels, affinity, intensity, stop_timeout, handover, .. } = wish;
    Ok(ChildSpec {
        restart,
        intensity,
        placement,
        affinity,
        stop_timeout,
        labels,
        handover,
        ..ChildSpec::new(id, &kind, args)
    })
}

fn child(row: ChildRow) -> rows::Child {
    rows::Child {
        id: row.id.to_string(),
        kind: row.kind.to_string(),
        node: row.node.map(|node| node.to_string()),
        pid: row.pid.map(|pid| pid.to_string()),
        os_pid: row.os_pid,
        status: child_status(row.status).into(),
        restarts: row.restarts,
        since: format_time(row.since_ms),
        fence: row.fence.map(|fence| fence.to_string()),
        reason: row.reason,
        labels: row.labels,
        log: row.log,
    }
}

pub(crate) fn child_status(status: ChildStatus) -> &'static str {
    match status {
        ChildStatus::Pending => "pending",
        ChildStatus::Starting => "starting",
        ChildStatus::Running => "running",
        ChildStatus::Stopping => "stopping",
        ChildStatus::Moving => "moving",
        ChildStatus::Backoff => "backoff",
        ChildStatus::Quarantined => "quarantined",
        ChildStatus::Suspended => "suspended",
        ChildStatus::Done => "done",
    }
}

pub(crate) fn member_status(status: MemberStatus) -> &'static str {
    match status {
        MemberStatus::Up => "up",
        MemberStatus::Suspect => "suspect",
        MemberStatus::Draining => "draining",
        MemberStatus::Down => "down",
        MemberStatus::Left => "left",
    }
}

fn member(row: &MemberRow, rtt_ms: Option<f64>) -> rows::Member {
    rows::Member {
        name: row.name.to_string(),
        boot: row.boot,
        addr: row.addr.to_string(),
        status: member_status(row.status).into(),
        children: row.children as u64,
        labels: row.labels.clone(),
        kinds: row.kinds.iter().map(|kind| kind.to_string()).collect(),
        version: row.version.to_string(),
        rtt_ms,
        cordoned: row.cordoned,
        full: row.full,
        max_children: row.max_children,
    }
}

fn name(entry: &Entry) -> rows::Name {
    let value = match std::str::from_utf8(entry.value()) {
        Ok("") => serde_json::Value::Null,
        Ok(text) => text.into(),
        Err(_) => {
            serde_json::json!({"hex": entry.value().iter().map(|byte| format!("{byte:02x}")).collect::<String>()})
        }
    };
    rows::Name {
        name: entry.name().to_string(),
        pid: entry.pid().to_string(),
        node: entry.pid().node.name.to_string(),
        since: format_time(entry.since().wall_ms()),
        fence: entry.fence().to_string(),
        value,
    }
}

fn event(event: Event) -> rows::Event {
    let about = |kind: &str| rows::Event {
        at: format_time(event.at_ms),
        node: event.node.to_string(),
        kind: kind.into(),
        ..rows::Event::default()
    };
    let of_member = |kind: &str, member: NodeName| rows::Event { member: Some(member.to_string()), ..about(kind) };
    let of_child = |kind: &str, child: ChildId| rows::Event { child: Some(child.to_string()), ..about(kind) };
    let with_fence = |kind: &str, child: ChildId, fence: Option<Fence>| rows::Event {
        fence: fence.map(|fence| fence.to_string()),
        ..of_child(kind, child)
    };
    match event.what {
        EventKind::MemberUp { member } => of_member("member_up", member),
        EventKind::MemberSuspect { member } => of_member("member_suspect", member),
        EventKind::MemberDown { member } => of_member("member_down", member),
        EventKind::MemberLeft { member } => of_member("member_left", member),
        EventKind::Draining { member } => of_member("draining", member),
        EventKind::ChildStarting { child, fence } => with_fence("child_starting", child, fence),
        EventKind::ChildRunning { child, fence } => with_fence("child_running", child, fence),
        EventKind::ChildExited { child, reason } => {
            rows::Event { reason: Some(reason), ..of_child("child_exited", child) }
        }
        EventKind::ChildMoved { child, to } => {
            rows::Event { to: Some(to.to_string()), ..of_child("child_moved", child) }
        }
        EventKind::ChildPending { child, reason } => {
            rows::Event { reason: Some(reason), ..of_child("child_pending", child) }
        }
        EventKind::ChildQuarantined { child } => of_child("child_quarantined", child),
        EventKind::ChildDone { child } => of_child("child_done", child),
        EventKind::NameRegistered { name, pid } => {
            rows::Event { name: Some(name.to_string()), pid: Some(pid.to_string()), ..about("name_registered") }
        }
        EventKind::NameReleased { name, pid } => {
            rows::Event { name: Some(name.to_string()), pid: Some(pid.to_string()), ..about("name_released") }
        }
        EventKind::QuorumLost => about("quorum_lost"),
        EventKind::QuorumRegained => about("quorum_regained"),
        EventKind::NameConflict { name, winner, loser, policy, since_ms } => rows::Event {
            name: Some(name.to_string()),
            winner: Some(winner.to_string()),
            loser: Some(loser.to_string()),
            policy: Some(policy.to_string()),
            since: Some(format_time(since_ms)),
            ..about("name_conflict")
        },
    }
}

#[cfg(test)]
mod tests {
    use ordu_transport::core::{NodeId, Pid};

    use super::*;

    #[test]
    fn rows_are_told_as_they_are() {
        let node = NodeId::new(NodeName::new("n2").unwrap(), 3, 9);
        let row = ChildRow {
            id: ChildId::new("web").unwrap(),
            kind: "exec".into(),
            node: Some(node.name.clone()),
            pid: Some(Pid::new(node.clone(), 7)),
            os_pid: Some(42),
            status: ChildStatus::Quarantined,
            restarts: 2,
            since_ms: 1_700_000_000_123,
            fence: None,
            reason: Some("exit status 3".into()),
            labels: Default::default(),
            log: None,
        };
        let told = serde_json::to_string(&child(row)).unwrap();
        let expected = r#"{"id":"web","kind":"exec","node":"n2","pid":"n2#3.7","os_pid":42,"status":"quarantined","restarts":2,"since":"2023-11-14T22:13:20.123Z","fence":null,"reason":"exit status 3","labels":{},"log":null}"#;
        assert_eq!(told, expected);
        let conflict = Event {
            at_ms: 0,
            node: node.name.clone(),
            what: EventKind::NameConflict {
                name: ordu_registry::core::Name::new("web").expect("a name"),
                winner: Pid::new(node.clone(), 1),
                loser: Pid::new(node, 2),
                policy: "longest_running",
                since_ms: 1_700_000_000_123,
            },
        };
        let told = serde_json::to_string(&event(conflict)).unwrap();
        let expected = r#"{"at":"1970-01-01T00:00:00.000Z","node":"n2","type":"name_conflict","name":"web","winner":"n2#3.1","loser":"n2#3.2","policy":"longest_running","since":"2023-11-14T22:13:20.123Z"}"#;
        assert_eq!(told, expected);
        let fence = "0123456789abcdef0123456789abcdef".parse().ok();
        let running = EventKind::ChildRunning { child: ChildId::new("web").expect("an id"), fence };
        let node = NodeName::new("n2").expect("a name");
        let told = serde_json::to_string(&event(Event { at_ms: 0, node, what: running })).unwrap();
        let expected = r#"{"at":"1970-01-01T00:00:00.000Z","node":"n2","type":"child_running","child":"web","fence":"0123456789abcdef0123456789abcdef"}"#;
        assert_eq!(told, expected);
    }
}
