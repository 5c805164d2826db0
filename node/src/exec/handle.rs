//! The node's side of its keeper: starts it, sends orders, hands reports to whoever waits, and starts another when it dies.

use std::collections::HashMap;
use std::io::{self, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::cgroup::Tree;
use super::last_resort::{Leader, Program, see_off};
use super::lease;
use super::protocol::{Ended, Job, Order, Report, read_frame, write_frame};
use super::strays::{Strays, Traces};

/// Between two attempts to start a keeper when one does not start.
const RESTART_DELAY: Duration = Duration::from_millis(500);
/// How often a closing keeper is looked at.
const CLOSE_INTERVAL: Duration = Duration::from_millis(2);
/// Between two looks for what a dead keeper had.
const BURY_INTERVAL: Duration = Duration::from_millis(5);
/// How long a new keeper waits for what the kernel does not let go.
const BURY_MAX: Duration = Duration::from_secs(2);
/// The hidden subcommand.
pub const SUBCOMMAND: &str = "__keeper";

/// How a keeper is started.
#[derive(Debug, Clone)]
pub struct KeeperConfig {
    /// The `ordu` binary.
    pub program: PathBuf,
    /// A directory that the keeper removes when the node is gone.
    pub remove: Option<PathBuf>,
    /// Whether each child gets a cgroup of its own, where the node may make them.
    pub cgroups: bool,
}

/// A handle to the node's keeper; cheap to clone. When the last one and every [`Running`] is dropped, the keeper ends.
#[derive(Clone)]
pub struct Keeper {
    shared: Arc<Shared>,
}

struct Shared {
    next_key: AtomicU64,
    tree: Result<Tree, String>,
    state: Arc<Mutex<State>>,
}

struct State {
    /// Orders to the present keeper; none once the node is done with it. At most three a child: start, stop, kill.
    orders: Option<mpsc::Sender<Order>>,
    slots: HashMap<u64, Slot>,
    keeper_pid: u32,
    /// What keepers were told last: the next one has to know.
    lease_us: Option<u64>,
    /// The last keeper is gone.
    is_over: bool,
}

/// Whoever has one keeps the end of a child from being told.
pub type Hold = Box<dyn Send>;

struct Slot {
    leader: Option<Leader>,
    os_pid: Option<u32>,
    mark: Option<String>,
    started: Option<oneshot::Sender<Result<u32, String>>>,
    ended: oneshot::Sender<Ended>,
}

impl Keeper {
    /// Starts a keeper.
    ///
    /// # Errors
    /// If the binary cannot be executed; nothing is left then.
    pub fn start(config: KeeperConfig) -> io::Result<Keeper> {
        let tree = if config.cgroups { Tree::make() } else { Err("this node makes none".into()) };
        let (keeper, input, output) = launch(&config, &tree)?;
        let (orders, queue) = mpsc::channel();
        let state = Arc::new(Mutex::new(State {
            orders: Some(orders),
            slots: HashMap::new(),
            keeper_pid: keeper.id(),
            lease_us: None,
            is_over: false,
        }));
        let (watched, own_tree) = (state.clone(), tree.clone());
        thread::Builder::new().name("keeper".into()).spawn(move || {
            watch(&watched, &config, &own_tree, keeper, input, output, queue);
            lock(&watched).is_over = true;
        })?;
        Ok(Keeper { shared: Arc::new(Shared { next_key: AtomicU64::new(1), tree, state }) })
    }

    /// The keeper's own process id.
    pub fn os_pid(&self) -> u32 {
        lock(&self.shared.state).keeper_pid
    }

    /// Every program is killed that long from now on, unless this is said anew before; `None`: none is. The keeper sees to
    /// that though this process stand still.
    pub fn lease(&self, within: Option<Duration>) {
        let until_us = within.map(lease::at);
        let mut state = lock(&self.shared.state);
        state.lease_us = until_us;
        state.order(Order::Lease { until_us });
    }

    /// Where the cgroups of its programs are.
    ///
    /// # Errors
    /// One sentence on why there are none.
    pub fn cgroups(&self) -> Result<&Path, &str> {
        self.shared.tree.as_ref().map(Tree::path).map_err(String::as_str)
    }

    /// Executes a program and returns when it runs. If the returned future is dropped, the program is killed.
    ///
    /// # Errors
    /// One sentence on why it cannot be executed; nothing is left then.
    pub async fn spawn(&self, job: Job) -> Result<Running, String> {
        self.spawn_holding(job, None).await
    }

    /// The same. What it is given is dropped when the program is gone, though the future or what it returns be dropped before.
    ///
    /// # Errors
    /// As [`Keeper::spawn`].
    pub async fn spawn_holding(&self, job: Job, hold: Option<Hold>) -> Result<Running, String> {
        let key = self.shared.next_key.fetch_add(1, Ordering::Relaxed);
        let (started, is_started) = oneshot::channel();
        let (ended, is_ended) = oneshot::channel();
        {
            let mut state = lock(&self.shared.state);
            state.slots.insert(
                key,
                Slot { leader: None, os_pid: None, mark: job.mark.clone(), started: Some(started), ended },
            );
            state.order(Order::Spawn { key, job });
        }
        // From here on dropping `running` kills the program, in whatever state it is.
        let mut running = Running { key, os_pid: 0, keeper: self.clone(), ended: Some(is_ended), hold };
        match is_started.await {
            Ok(Ok(os_pid)) => {
                running.os_pid = os_pid;
                Ok(running)
            }
            Ok(Err(why)) => {
                running.ended = None;
                Err(why)
            }
            Err(_) => {
                running.ended = None;
                Err("the keeper of the node's processes died".into())
            }
        }
    }

    /// What is known of a program, once it is known to run.
    pub(super) fn program(&self, key: u64) -> Option<Program> {
        let state = lock(&self.shared.state);
        let Slot { leader, mark, .. } = state.slots.get(&key)?;
        Some(Program { leader: (*leader)?, mark: mark.clone() })
    }

    /// Whoever waits for its end has it.
    pub(super) fn forget(&self, key: u64) {
        lock(&self.shared.state).slots.remove(&key);
    }

    /// Ends the keeper and with it every program that still runs, and waits until all are gone. Blocks.
    pub fn close(&self) {
        lock(&self.shared.state).orders = None;
        while !lock(&self.shared.state).is_over {
            thread::sleep(CLOSE_INTERVAL);
        }
    }
}

/// A program that runs. Dropping it kills its group.
pub struct Running {
    key: u64,
    os_pid: u32,
    keeper: Keeper,
    /// Until it is over.
    ended: Option<oneshot::Receiver<Ended>>,
    hold: Option<Hold>,
}

impl Running {
    /// Its process id, which is its group's too.
    pub fn os_pid(&self) -> u32 {
        self.os_pid
    }

    /// Sends a signal to its group.
    pub fn signal(&self, signal: Signal) {
        lock(&self.keeper.shared.state).order(Order::Signal { key: self.key, signal: signal as i32 });
    }

    /// Waits for its end. May be dropped and called again.
    pub async fn ended(&mut self) -> Ended {
        let Some(ended) = &mut self.ended else { return Ended::Lost };
        let ended = ended.await.unwrap_or(Ended::Lost);
        self.ended = None;
        ended
    }

    /// Kills its group, and waits for its end: though the keeper do not answer. May be dropped and called again.
    pub async fn killed(&mut self) -> Ended {
        self.signal(Signal::SIGKILL);
        let Some(ended) = &mut self.ended else { return Ended::Lost };
        let ended = see_off(&self.keeper, self.key, ended).await;
        self.ended = None;
        ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut ended) = self.ended.take() else { return };
        self.signal(Signal::SIGKILL);
        let (keeper, key, hold) = (self.keeper.clone(), self.key, self.hold.take());
        // Without a runtime nobody is told of an end.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                see_off(&keeper, key, &mut ended).await;
                drop(hold);
            });
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        lock(&self.state).orders = None;
    }
}

impl State {
    fn order(&mut self, order: Order) {
        if let Some(orders) = &self.orders {
            // Fails between the death of one keeper and the start of the next, which answers for every slot.
            let _ = orders.send(order);
        } else if let Order::Spawn { key, .. } = order {
            self.slots.remove(&key);
        }
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Started { key, os_pid } => {
                if let Some(slot) = self.slots.get_mut(&key) {
                    (slot.os_pid, slot.leader) = (Some(os_pid), Some(Leader::see(os_pid)));
                    slot.started.take().map(|started| started.send(Ok(os_pid)));
                }
            }
            Report::SpawnFailed { key, why } => {
                self.slots.remove(&key).and_then(|slot| slot.started).map(|started| started.send(Err(why)));
            }
            Report::Exited { key, ended } => {
                self.slots.remove(&key).map(|slot| slot.ended.send(ended));
            }
            Report::Complaint { what } => tracing::warn!("{what}"),
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn launch(config: &KeeperConfig, tree: &Result<Tree, String>) -> io::Result<(Child, ChildStdin, ChildStdout)> {
    let mut command = Command::new(&config.program);
    // Not called ordu in any list of processes: see the keeper.
    command.arg0("keeper").arg(SUBCOMMAND).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut keeper = command.spawn()?;
    let (Some(mut input), Some(output)) = (keeper.stdin.take(), keeper.stdout.take()) else {
        return Err(io::Error::other("the keeper has no pipes"));
    };
    if let Some(directory) = config.remove.clone() {
        write_frame(&mut input, &Order::Remove { directory })?;
    }
    write_frame(&mut input, &Order::Cgroups { tree: tree.clone() })?;
    Ok((keeper, input, output))
}

/// Serves one keeper after another until the node is done.
fn watch(
    state: &Mutex<State>,
    config: &KeeperConfig,
    tree: &Result<Tree, String>,
    mut keeper: Child,
    mut input: ChildStdin,
    mut output: ChildStdout,
    mut queue: mpsc::Receiver<Order>,
) {
    loop {
        let writer = thread::spawn(move || write_orders(input, queue));
        let mut reader = BufReader::new(output);
        while let Ok(Some(report)) = read_frame(&mut reader) {
            lock(state).take(report);
        }
        // Its pipe ended or held nonsense: either way it is of no more use.
        let _ = keeper.kill();
        let _ = keeper.wait();
        let (orders, next_queue) = mpsc::channel();
        let slots = {
            let mut state = lock(state);
            if state.orders.is_none() {
                state.slots.clear();
                return;
            }
            let _ = orders.send(Order::Lease { until_us: state.lease_us });
            // Drops the old sender, which ends the writer.
            state.orders = Some(orders);
            std::mem::take(&mut state.slots)
        };
        bury(slots, tree);
        let _ = writer.join();
        tracing::error!("the keeper of this node's processes died; they were killed, and a new keeper starts");
        queue = next_queue;
        (keeper, input, output) = loop {
            match launch(config, tree) {
                Ok(launched) => break launched,
                Err(error) => tracing::error!(%error, "the keeper cannot be started"),
            }
            thread::sleep(RESTART_DELAY);
            if lock(state).orders.is_none() {
                return;
            }
        };
        lock(state).keeper_pid = keeper.id();
    }
}

/// Kills what a dead keeper had, and tells whoever waits.
fn bury(slots: HashMap<u64, Slot>, tree: &Result<Tree, String>) {
    for os_pid in slots.values().filter_map(|slot| slot.os_pid) {
        let _ = killpg(Pid::from_raw(i32::try_from(os_pid).unwrap_or(i32::MAX)), Signal::SIGKILL);
    }
    if let Ok(tree) = tree {
        tree.kill_all();
    }
    // Also finds what was being spawned, and what left its group.
    let mut strays = Strays::default();
    let traces = |slot: &Slot| Traces { mark: slot.mark.clone(), cgroup: None, seen: Vec::new() };
    strays.add(slots.values().map(traces));
    let begun = Instant::now();
    while !strays.is_empty() && begun.elapsed() < BURY_MAX {
        strays.look();
        thread::sleep(BURY_INTERVAL);
    }
    for (_, slot) in slots {
        let _ = slot.ended.send(Ended::Lost);
    }
}

fn write_orders(mut input: ChildStdin, queue: mpsc::Receiver<Order>) {
    for order in queue {
        if let Err(error) = write_frame(&mut input, &order) {
            // A dead keeper's pipe also ends for the reader, who answers for every slot.
            tracing::debug!(%error, "an order did not reach the keeper");
        }
    }
}
