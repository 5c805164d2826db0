//! The nodes of one piece of work, as the control room has them: OS processes of their own, which end with their handle.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::protocol::{Answer, Task};
use super::relay::Relays;
use super::worker::{AwaitConverged, AwaitMembers, Up};
use crate::failure::Failure;
use crate::text::format_duration;

/// How long nodes may take to start and to find one another.
const START_MAX: Duration = Duration::from_secs(30);
/// How long a node may take for any one thing, at least.
const TASK_MAX: Duration = Duration::from_secs(60);
/// How long a node's process may take to be gone once it has hung up.
const END_MAX: Duration = Duration::from_secs(1);
/// How much longer than [`TASK_MAX`] it may take for each name or child that it has to do with.
const EACH_MAX: Duration = Duration::from_millis(1);

/// What is waited for, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    what: &'static str,
    max: Duration,
}

impl Patience {
    /// Waits for `max`.
    pub(super) fn new(what: &'static str, max: Duration) -> Self {
        Self { what, max }
    }

    /// Waits as long as anything may take that has to do with `count` names or children.
    pub(super) fn of_many(what: &'static str, count: u32) -> Self {
        Self { what, max: TASK_MAX + EACH_MAX * count }
    }
}

/// What nodes stand on.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    /// Holds their certificates and gets their logs.
    pub(super) directory: PathBuf,
    /// Whether they keep on the disk what should run.
    pub(super) durable: bool,
}

/// The nodes of one piece of work, in order. Dropping it kills them.
pub(super) struct Fleet {
    ground: Ground,
    nodes: Vec<Node>,
}

/// One node's process. Dropping it kills it.
pub(super) struct Node {
    pub(super) name: String,
    process: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
    /// Where it keeps what should run, if it does.
    store: Option<PathBuf>,
    /// What others dial, once it is in a cluster.
    dialled: Option<String>,
}

/// The name of the node at this place, counted from 0.
pub(super) fn node_name(index: usize) -> String {
    format!("n{}", index + 1)
}

impl Fleet {
    /// Starts so many processes, which are in no cluster yet.
    ///
    /// # Errors
    /// If one cannot be executed.
    pub(super) fn start(ground: &Ground, count: usize) -> Result<Self, Failure> {
        let nodes = (0..count).map(|index| Node::start(ground, index)).collect::<Result<_, _>>()?;
        Ok(Self { ground: ground.clone(), nodes })
    }

    /// Starts so many nodes, joins them to a cluster, and waits until all see one another and are equal.
    ///
    /// # Errors
    /// If one cannot be executed, fails or is too slow.
    pub(super) async fn form(ground: &Ground, count: usize) -> Result<Self, Failure> {
        let mut fleet = Self::start(ground, count)?;
        fleet.join(None).await?;
        Ok(fleet)
    }

    /// Joins the nodes to a cluster, each behind its relay if there are any, and waits until all see one another and are
    /// equal.
    ///
    /// # Errors
    /// If one fails or is too slow.
    pub(super) async fn join(&mut self, relays: Option<&Relays>) -> Result<(), Failure> {
        for index in 0..self.nodes.len() {
            let join = self.dialled();
            let Some(node) = self.nodes.get_mut(index) else { break };
            let advertise = relays.and_then(|relays| relays.address(index)).map(|address| address.to_string());
            let listens = node.up(advertise, join).await?;
            if let Some(relays) = relays {
                relays.set_target(index, listens);
            }
        }
        let count = self.nodes.len();
        let patience = Patience::new("the nodes to find one another", START_MAX);
        Self::ask_each(&mut self.nodes, || AwaitMembers { count }, patience).await?;
        self.converge().await
    }

    /// What others dial of the nodes that are in the cluster.
    pub(super) fn dialled(&self) -> Vec<String> {
        self.nodes.iter().filter_map(|node| node.dialled.clone()).collect()
    }

    /// Waits until every node has seen every other's digests equal its own.
    ///
    /// # Errors
    /// If one fails or is too slow.
    pub(super) async fn converge(&mut self) -> Result<(), Failure> {
        let patience = Patience::new("the nodes to be equal", TASK_MAX);
        Self::ask_each(&mut self.nodes, || AwaitConverged {}, patience).await.map(drop)
    }

    /// One more process, which is in no cluster yet.
    ///
    /// # Errors
    /// If it cannot be executed.
    pub(super) fn add(&mut self) -> Result<&mut Node, Failure> {
        let node = Node::start(&self.ground, self.nodes.len())?;
        self.nodes.push(node);
        Ok(self.last())
    }

    /// Asks all of these at once. Answers in their order.
    ///
    /// # Errors
    /// The first one's, if one fails or is too slow.
    pub(super) async fn ask_each<T: Task>(
        nodes: &mut [Node],
        task: impl Fn() -> T,
        patience: Patience,
    ) -> Result<Vec<T::Answer>, Failure> {
        try_join_all(nodes.iter_mut().map(|node| node.ask(task(), patience))).await
    }

    /// All nodes.
    pub(super) fn nodes(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// The first node, and all others.
    pub(super) fn split_first(&mut self) -> (&mut Node, &mut [Node]) {
        self.nodes.split_first_mut().expect("a fleet has at least two nodes")
    }

    /// The last node.
    pub(super) fn last(&mut self) -> &mut Node {
        self.nodes.last_mut().expect("a fleet has at least two nodes")
    }

    /// Takes the last node out of the fleet.
    pub(super) fn take_last(&mut self) -> Node {
        self.nodes.pop().expect("a fleet has at least two nodes")
    }

    /// Ends all nodes; what comes next has the machine to itself.
    pub(super) async fn end(self) {
        for mut node in self.nodes {
            // One that has ended already is as good.
            let _ = node.process.kill().await;
        }
    }
}

impl Node {
    fn start(ground: &Ground, index: usize) -> Result<Self, Failure> {
        let Ground { directory, durable } = ground;
        let name = node_name(index);
        let store = durable.then(|| directory.join(format!("{name}.redb")));
        if let Some(store) = &store {
            // What the nodes before it kept is not for it.
            let _ = std::fs::remove_file(store);
        }
        let log = directory.join(format!("{name}.log"));
        let cannot = |error: std::io::Error| Failure::refused(format!("{name} cannot be executed: {error}"));
        let mut process = Command::new("/proc/self/exe")
            .arg0("ordu-bench")
            .arg(super::SUBCOMMAND)
            .arg(&name)
            .arg(directory.join("ca").join(&name))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).map_err(cannot)?)
            // A Ctrl-C is for the control room, which ends its nodes.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(cannot)?;
        let (Some(commands), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(Failure::refused(format!("{name} has no standard input or output")));
        };
        Ok(Self { name, process, commands, answers: BufReader::new(answers).lines(), log, store, dialled: None })
    }

    /// Makes it a node of the cluster. Returns where it listens.
    ///
    /// # Errors
    /// If it fails or is too slow.
    pub(super) async fn up(&mut self, advertise: Option<String>, join: Vec<String>) -> Result<SocketAddr, Failure> {
        let patience = Patience::new("the node to start", START_MAX);
        let listens = self.ask(Up { advertise: advertise.clone(), join, store: self.store.clone() }, patience).await?;
        self.dialled = Some(advertise.unwrap_or_else(|| listens.to_string()));
        Ok(listens)
    }

    /// Asks it to do something, and waits until it is done.
    ///
    /// # Errors
    /// If it fails, ends, or is too slow.
    pub(super) async fn ask<T: Task>(&mut self, task: T, patience: Patience) -> Result<T::Answer, Failure> {
        match timeout(patience.max, self.exchange(task.into())).await {
            Ok(Ok(Answer::Done(value))) => serde_json::from_value(value)
                .map_err(|error| self.failed(patience, &format!("an answer that is none: {error}"))),
            Ok(Ok(Answer::Failed(why))) => Err(self.failed(patience, &why)),
            Ok(Err(why)) => Err(self.failed(patience, &format!("{why}{}", self.last_words()))),
            Err(_) => Err(Failure::timed_out(format!(
                "{} had {} and is not through, waiting for {}{}",
                self.name,
                format_duration(patience.max),
                patience.what,
                self.last_words()
            ))),
        }
    }

    async fn exchange(&mut self, command: super::protocol::Command) -> Result<Answer, String> {
        let mut line = serde_json::to_string(&command).map_err(|error| error.to_string())?;
        line.push('\n');
        let sent = self.commands.write_all(line.as_bytes()).await;
        let answer = match sent {
            Ok(()) => self.answers.next_line().await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(Some(line)) => serde_json::from_str(&line).map_err(|error| format!("an answer that is none: {error}")),
            Ok(None) => Err(self.how_it_ended().await),
            Err(error) => Err(format!("{error}; {}", self.how_it_ended().await)),
        }
    }

    async fn how_it_ended(&mut self) -> String {
        match timeout(END_MAX, self.process.wait()).await {
            Ok(Ok(status)) => format!("its process has ended ({status})"),
            Ok(Err(_)) | Err(_) => "it hung up".to_owned(),
        }
    }

    fn failed(&self, patience: Patience, why: &str) -> Failure {
        Failure::refused(format!("{}, waiting for {}: {why}", self.name, patience.what))
    }

    /// The last line of its log, if there is one.
    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let line = text.lines().rev().find(|line| !line.trim().is_empty());
        line.map_or_else(String::new, |line| format!("; it said last: {line}"))
    }

    /// Kills it at once, as a crash would, and waits until the process is gone.
    ///
    /// # Errors
    /// If it had ended before.
    pub(super) async fn kill(mut self) -> Result<(), Failure> {
        self.process.kill().await.map_err(|error| Failure::refused(format!("{} cannot be killed: {error}", self.name)))
    }
}
