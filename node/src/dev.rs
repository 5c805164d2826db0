//! `ordu dev`: a throw-away local cluster of real node processes.
//!
//! The nodes are programs of a [keeper](crate::exec) of their own: however this process ends, the keeper ends the nodes,
//! their keepers and their children, and removes the one directory that holds everything.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::ca;
use crate::cli::{NodeClient, print, print_line};
use crate::exec::{Ended, ExecArgs, Job, KIND, Keeper, KeeperConfig};
use crate::failure::Failure;
use crate::rows::StartRequest;

/// A killed node comes back after this long.
const RETURN_DELAY: Duration = Duration::from_secs(5);
/// How long the nodes may take to find one another.
const START_MAX: Duration = Duration::from_secs(30);
/// How often a starting node is asked whether it is ready.
const ASK_INTERVAL: Duration = Duration::from_millis(50);
/// How long a node drains when it is told to stop by hand.
const DRAIN_TIMEOUT: &str = "5s";
/// Sample children, each behind a shell that forks.
const SAMPLES: [(&str, &str); 6] = [
    ("clock", "while true; do date; sleep 1; done; true"),
    ("counter", "i=0; while true; do i=$((i + 1)); echo $i; sleep 1; done; true"),
    ("greeter", "while true; do echo \"hello from $ORDU_NODE\"; sleep 2; done; true"),
    ("worker-a", "sleep 1000000; true"),
    ("worker-b", "sleep 1000000; true"),
    ("worker-c", "sleep 1000000; true"),
];

/// Runs the cluster until this process is told to stop.
///
/// # Errors
/// Exit 2, if a node cannot be started.
pub fn run(nodes: u16, first: SocketAddr) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::usage(format!("no threads can be started: {error}")))?;
    runtime.block_on(async {
        let listen = |kind| signal(kind).map_err(|error| Failure::usage(format!("signals cannot be taken: {error}")));
        let (mut interrupt, mut terminate, mut hangup) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
        let cluster = Cluster::new(nodes, first)?;
        let result = tokio::select! {
            result = cluster.run() => result,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            _ = hangup.recv() => Ok(()),
        };
        cluster.keeper.close();
        result
    })
}

struct Cluster {
    nodes: Vec<Arc<Node>>,
    keeper: Keeper,
    program: PathBuf,
    directory: tempfile::TempDir,
}

struct Node {
    name: String,
    address: SocketAddr,
    /// What it is executed with.
    cmd: Vec<String>,
    log: PathBuf,
}

impl Cluster {
    fn new(count: u16, first: SocketAddr) -> Result<Self, Failure> {
        let cannot = |what: &str, error: &dyn std::fmt::Display| Failure::usage(format!("{what}: {error}"));
        let directory = tempfile::Builder::new().prefix("ordu-dev-").tempdir();
        let directory = directory.map_err(|error| cannot("no temporary directory", &error))?;
        let program = std::env::current_exe().map_err(|error| cannot("the ordu binary is not found", &error))?;
        let authority = directory.path().join("ca");
        ca::init(&authority).map_err(|error| cannot("the cluster's CA", &error))?;
        let addresses: Vec<_> =
            (0..count).map(|offset| SocketAddr::new(first.ip(), first.port().saturating_add(offset))).collect();
        let mut nodes = Vec::new();
        for (number, &address) in (1..).zip(&addresses) {
            let name = format!("n{number}");
            let tls = ca::issue(&authority, &name).map_err(|error| cannot("the cluster's CA", &error))?;
            let data = directory.path().join(&name);
            let text = |path: &Path| path.to_string_lossy().into_owned();
            let mut cmd = vec![text(&program), "up".into(), "--name".into(), name.clone()];
            cmd.extend(["--cluster".into(), "dev".into(), "--drain-timeout".into(), DRAIN_TIMEOUT.into()]);
            cmd.extend(["--listen".into(), address.to_string(), "--http".into(), address.to_string()]);
            cmd.extend(["--tls-dir".into(), text(&tls), "--data-dir".into(), text(&data)]);
            for other in addresses.iter().filter(|&&other| other != address) {
                cmd.extend(["--join".into(), other.to_string()]);
            }
            let log = directory.path().join(format!("{name}.log"));
            nodes.push(Arc::new(Node { name, address, cmd, log }));
        }
        let remove = Some(directory.path().to_owned());
        // The nodes make cgroups for what they run themselves.
        let keeper = Keeper::start(KeeperConfig { program: program.clone(), remove, cgroups: false });
        let keeper = keeper.map_err(|error| cannot("the nodes' keeper cannot be started", &error))?;
        Ok(Self { nodes, keeper, program, directory })
    }

    /// Never returns but with a failure of the start.
    async fn run(&self) -> Result<(), Failure> {
        let (tell, mut told) = mpsc::channel(self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            tokio::spawn(keep(index, node.clone(), self.keeper.clone(), tell.clone()));
        }
        let mut pids = BTreeMap::new();
        while pids.len() < self.nodes.len() {
            match told.recv().await {
                Some(News::Runs { index, os_pid }) => drop(pids.insert(index, os_pid)),
                Some(News::Ended { index, .. }) => return Err(self.why_not(index)),
                None => return Err(Failure::usage("the nodes' keeper ended")),
            }
        }
        let ready = async {
            self.settle().await?;
            self.start_samples().await
        };
        tokio::select! {
            ready = ready => ready?,
            Some(News::Runs { index, .. } | News::Ended { index, .. }) = told.recv() => return Err(self.why_not(index)),
        }
        self.explain(&pids.into_values().collect::<Vec<_>>())?;
        while let Some(news) = told.recv().await {
            self.tell(&news)?;
        }
        Ok(())
    }

    fn tell(&self, news: &News) -> Result<(), Failure> {
        let name = |index: usize| self.nodes.get(index).map_or("", |node| node.name.as_str());
        match news {
            News::Runs { index, os_pid } => print_line(&format!("{} is back, os pid {os_pid}", name(*index))),
            News::Ended { index, os_pid, how } => {
                let after = RETURN_DELAY.as_secs();
                print_line(&format!("{} (os pid {os_pid}) {how}; it comes back in {after} s", name(*index)))
            }
        }
    }

    /// Waits until every node sees every other.
    async fn settle(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + START_MAX;
        for node in &self.nodes {
            loop {
                let client = NodeClient::new(node.address)?;
                let status = tokio::task::spawn_blocking(move || client.status()).await;
                match status {
                    Ok(Ok(status)) if status.members_up == self.nodes.len() as u64 => break,
                    _ if Instant::now() > deadline => {
                        let log = tail(&node.log);
                        return Err(Failure::usage(format!("{} did not find the others in time: {log}", node.name)));
                    }
                    _ => sleep(ASK_INTERVAL).await,
                }
            }
        }
        Ok(())
    }

    async fn start_samples(&self) -> Result<(), Failure> {
        let Some(node) = self.nodes.first() else { return Ok(()) };
        for (id, script) in SAMPLES {
            let client = NodeClient::new(node.address)?;
            let request = sample(id, script);
            let started = tokio::task::spawn_blocking(move || client.start(&request)).await;
            match started {
                Ok(Ok(_)) => {}
                Ok(Err(failure)) => return Err(failure.context(format!("the sample child {id}"))),
                Err(error) => return Err(Failure::usage(error.to_string())),
            }
        }
        Ok(())
    }

    fn explain(&self, pids: &[u32]) -> Result<(), Failure> {
        let mut text = String::from("NAME  OS PID    ADDRESS\n");
        for (node, os_pid) in self.nodes.iter().zip(pids) {
            text.push_str(&format!("{:<4}  {os_pid:<9}  {}\n", node.name, node.address));
        }
        let (ordu, address) =
            (self.program.display(), self.nodes.first().map_or_else(String::new, |n| n.address.to_string()));
        let last = pids.last().copied().unwrap_or_default();
        let at = if address == "127.0.0.1:7600" { String::new() } else { format!(" --http {address}") };
        text.push_str(&format!(
            "\nlook     http://{address}/   or   {ordu} ps{at}\n\
             break    kill -9 {last}   (it comes back after {} s; its children move at once)\n\
             watch    {ordu} events -f{at}\n\
             start    {ordu} start web{at} -- sh -c 'while true; do date; sleep 1; done'\n\
             logs     {}\n\
             Ctrl-C ends everything and removes it.\n",
            RETURN_DELAY.as_secs(),
            self.directory.path().display(),
        ));
        print(&text)
    }

    fn why_not(&self, index: usize) -> Failure {
        let Some(node) = self.nodes.get(index) else { return Failure::usage("a node did not start") };
        let log = tail(&node.log);
        Failure::usage(format!("{} did not start: {}", node.name, log.strip_prefix("ordu: up: ").unwrap_or(&log)))
    }
}

/// What becomes of a node.
enum News {
    Runs { index: usize, os_pid: u32 },
    Ended { index: usize, os_pid: u32, how: String },
}

fn sample(id: &str, script: &str) -> StartRequest {
    let cmd = ["sh", "-c", script].map(str::to_owned).to_vec();
    let args = ExecArgs::new(cmd);
    StartRequest {
        id: id.to_owned(),
        kind: KIND.to_owned(),
        args: serde_json::to_value(args).unwrap_or_default(),
        restart: None,
        node: None,
        labels: None,
        require: None,
        avoid: None,
        prefer: None,
        placement: None,
        apart: None,
        spread: None,
        max_restarts: None,
        within: None,
        escalate: false,
        start_first: false,
    }
}

/// Runs one node again and again, and tells of it.
async fn keep(index: usize, node: Arc<Node>, keeper: Keeper, tell: mpsc::Sender<News>) {
    loop {
        let job = Job { cmd: node.cmd.clone(), log: node.log.clone(), ..Job::default() };
        let Ok(mut running) = keeper.spawn(job).await else { return };
        let os_pid = running.os_pid();
        if tell.send(News::Runs { index, os_pid }).await.is_err() {
            return;
        }
        let how = match running.ended().await {
            Ended::Code(code) => format!("ended with exit status {code}"),
            Ended::Lost => "was lost with its keeper".into(),
            killed => format!("was {}", killed.reason().unwrap_or_default()),
        };
        if tell.send(News::Ended { index, os_pid, how }).await.is_err() {
            return;
        }
        sleep(RETURN_DELAY).await;
    }
}

/// The last line of a node's log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
}
