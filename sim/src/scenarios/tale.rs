//! How a story is told: a calm cluster of its own, and one step after another, each a little earlier or later than the
//! last time.

use ordu_supervisor::core::Restart;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::children::Character;
use crate::fault::Fault;
use crate::musts::Must;
use crate::plan::Plan;
use crate::script::{Act, Allowed, Op, Placed, Script, Spec, Step};

/// How long a caller waits, in milliseconds.
const WAIT_MS: u64 = 4_000;

/// A story that is being told.
pub(super) struct Tale<'a> {
    pub(super) rng: &'a mut ChaCha8Rng,
    script: &'a mut Script,
    at_us: u64,
}

impl<'a> Tale<'a> {
    /// Forgets what was drawn, but for the source of views, the codec, the layer and the size, and begins once the
    /// cluster has met.
    pub(super) fn begin(rng: &'a mut ChaCha8Rng, script: &'a mut Script, nodes_min: usize) -> Self {
        let Plan { seed, nodes, swim, codec, children, .. } = script.plan;
        script.steps.clear();
        script.plan = Plan {
            swim,
            codec,
            children,
            latency_us: (100, rng.random_range(500..8_000)),
            idle_us: rng.random_range(1_500_000..2_500_000),
            ..Plan::calm(seed, nodes.max(nodes_min))
        };
        let at_us = rng.random_range(2_000_000..3_000_000);
        Self { rng, script, at_us }
    }

    /// The cluster and its network.
    pub(super) fn plan(&mut self) -> &mut Plan {
        &mut self.script.plan
    }

    /// What must hold in this story beside the promises.
    pub(super) fn must(&mut self, must: Must) {
        self.script.plan.musts.push(must);
    }

    /// How many nodes there are.
    pub(super) fn nodes(&self) -> usize {
        self.script.plan.nodes
    }

    // ---- chance

    /// Some different nodes.
    pub(super) fn pick<const N: usize>(&mut self) -> [usize; N] {
        let mut nodes: Vec<usize> = (0..self.nodes()).collect();
        nodes.shuffle(self.rng);
        std::array::from_fn(|at| nodes[at])
    }

    /// Any node.
    pub(super) fn any(&mut self) -> usize {
        self.rng.random_range(0..self.script.plan.nodes)
    }

    /// Some of the nodes: `one` among them, `other` not.
    pub(super) fn side(&mut self, one: usize, other: usize) -> Vec<usize> {
        let nodes = self.nodes();
        (0..nodes).filter(|&node| node == one || (node != other && self.rng.random_bool(0.5))).collect()
    }

    /// A number up to a bound.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.rng.random_range(0..bound.max(1))
    }

    // ---- time

    /// About this many milliseconds, in microseconds: a quarter more or less.
    pub(super) fn about_us(&mut self, ms: u64) -> u64 {
        self.rng.random_range(ms * 750..=ms * 1_250)
    }

    /// Lets exactly this many microseconds pass.
    pub(super) fn wait_us(&mut self, us: u64) {
        self.at_us += us;
    }

    /// Lets about this many milliseconds pass: a quarter more or less.
    pub(super) fn wait(&mut self, ms: u64) {
        self.at_us += self.about_us(ms);
    }

    // ---- steps

    /// Something breaks, for about this many milliseconds. Time does not pass.
    pub(super) fn breaks(&mut self, fault: Fault, ms: u64) {
        let lasts_us = self.about_us(ms);
        self.breaks_us(fault, lasts_us);
    }

    /// Something breaks, for exactly this many microseconds. Time does not pass.
    pub(super) fn breaks_us(&mut self, fault: Fault, lasts_us: u64) {
        self.script.steps.push(Step { at_us: self.at_us, act: Act::Fault { fault, lasts_us } });
    }

    /// Somebody asks a node for something. Time does not pass.
    pub(super) fn asks_now(&mut self, node: usize, ask: Op) {
        self.script.steps.push(Step { at_us: self.at_us, act: Act::Op { node, ask } });
    }

    /// Somebody asks a node for something; a moment passes.
    pub(super) fn ask(&mut self, node: usize, ask: Op) {
        self.asks_now(node, ask);
        self.at_us += self.rng.random_range(200..15_000);
    }

    /// A permanent child shall run, anywhere.
    pub(super) fn start(&mut self, node: usize, child: usize, character: Character) {
        self.start_as(node, child, character, Restart::Permanent, None);
    }

    /// A child shall run.
    pub(super) fn start_as(
        &mut self,
        node: usize,
        child: usize,
        character: Character,
        restart: Restart,
        pinned: Option<usize>,
    ) {
        let spec = Spec {
            child,
            character,
            restart,
            pinned,
            zone: None,
            placed: None,
            intensity: None,
            init_timeout_ms: None,
            start_first: false,
            stop_timeout_ms: 2_000,
        };
        self.ask(node, Op::Start { spec, ensure: false, wait_ms: WAIT_MS });
    }

    /// A permanent child shall run, anywhere, and be restarted this often at most.
    pub(super) fn start_limited(&mut self, node: usize, child: usize, character: Character, allowed: Allowed) {
        let intensity = Some(allowed);
        let spec = Spec {
            child,
            character,
            restart: Restart::Permanent,
            pinned: None,
            zone: None,
            placed: None,
            intensity,
            init_timeout_ms: None,
            start_first: false,
            stop_timeout_ms: 2_000,
        };
        self.ask(node, Op::Start { spec, ensure: false, wait_ms: WAIT_MS });
    }

    /// A permanent child shall run, where it goes by where others are.
    pub(super) fn start_placed(&mut self, node: usize, child: usize, placed: Placed) {
        let spec = Spec {
            child,
            character: Character::Steady,
            restart: Restart::Permanent,
            pinned: None,
            zone: None,
            placed: Some(placed),
            intensity: None,
            init_timeout_ms: None,
            start_first: false,
            stop_timeout_ms: 2_000,
        };
        self.ask(node, Op::Start { spec, ensure: false, wait_ms: WAIT_MS });
    }

    /// A permanent child shall run, anywhere, and where it is moved start there before it stops.
    pub(super) fn start_first(&mut self, node: usize, child: usize, character: Character) {
        self.start(node, child, character);
        if let Some(Step { act: Act::Op { ask: Op::Start { spec, .. }, .. }, .. }) = self.script.steps.last_mut() {
            spec.start_first = true;
        }
    }

    /// Many steady children, asked for at any nodes.
    pub(super) fn start_some(&mut self, children: usize) {
        for child in 0..children {
            let node = self.any();
            self.start(node, child, Character::Steady);
        }
    }

    /// A child shall not run any more.
    pub(super) fn terminate(&mut self, node: usize, child: usize) {
        self.ask(node, Op::Terminate { child, wait_ms: WAIT_MS });
    }

    /// A child shall be stopped and started again.
    pub(super) fn restart(&mut self, node: usize, child: usize) {
        self.ask(node, Op::Restart { child, wait_ms: WAIT_MS });
    }

    /// A node shall give its children away, or take some again.
    pub(super) fn drain(&mut self, node: usize, of: usize, on: bool) {
        self.ask(node, Op::Drain { of, on, wait_ms: WAIT_MS });
    }

    /// A new process registers names.
    pub(super) fn register(&mut self, node: usize, names: &[usize]) {
        self.ask(node, Op::Register { names: names.to_vec(), value: String::new() });
    }
}

impl Drop for Tale<'_> {
    /// The end of the story: a run heals after its last step, and the story goes on until here.
    fn drop(&mut self) {
        let node = self.any();
        self.ask(node, Op::Read);
    }
}
