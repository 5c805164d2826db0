//! The laboratory, for people who embed Ordu: what they plug in, and how a script is played with it.
//!
//! [`Lab::default`] is what the binary runs. See the crate's page for a whole example.

use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ordu_registry::core::RankPolicy;
use ordu_supervisor::core::{ChildSpec, Preference};

use crate::behaviour::{Behaviour, External};
use crate::children::Character;
use crate::draw::Options;
use crate::invariants::{Broken, Violation};
use crate::observe::Observation;
use crate::page::{self, Header};
use crate::script::Script;
use crate::shrink::{self, Scripts};
use crate::world::{self, Outcome, RunOutputs};

/// How long requests to the external world and their replies take each way, unless the lab says otherwise.
const EXTERNAL_DELAY_US: Range<u64> = 1_000..50_000;

/// How long [`Lab::hunt`] shortens a script that fails.
const HUNT_SHRINK_MAX: Duration = Duration::from_secs(300);

type Children<E> = dyn Fn(&ChildSpec) -> Box<dyn Behaviour<E>> + Send + Sync;
type Holds<E> = dyn Fn(&Observation<'_, E>) -> Option<Broken> + Send + Sync;

/// What a user plugs into the simulator: how children behave, the external world, the policies of the cluster, and what
/// must hold. Cheap to clone; one lab may run on many threads.
///
/// `E` is the external world; `()` is none.
pub struct Lab<E: External = ()> {
    pub(crate) play: Arc<Play<E>>,
    pub(crate) choices: Choices,
}

/// The user's code.
pub(crate) struct Play<E: External> {
    pub(crate) external: Arc<dyn Fn() -> E + Send + Sync>,
    pub(crate) children: Arc<Children<E>>,
    pub(crate) invariants: Vec<(&'static str, Arc<Holds<E>>)>,
}

/// What holds for the nodes of every run.
#[derive(Debug, Clone)]
pub(crate) struct Choices {
    pub(crate) rank: RankPolicy,
    pub(crate) preference: Preference,
    pub(crate) external_delay_us: Range<u64>,
}

impl Default for Lab {
    /// The simulator's own children, the default policies, and no external world.
    fn default() -> Self {
        Self::new(|| ())
    }
}

impl<E: External> Lab<E> {
    /// A lab with an external world, which is made anew for each run.
    pub fn new(external: impl Fn() -> E + Send + Sync + 'static) -> Self {
        let children = |spec: &ChildSpec| Box::new(Character::of(spec)) as Box<dyn Behaviour<E>>;
        let (external, children) = (Arc::new(external), Arc::new(children));
        let (rank, preference) = (RankPolicy::default(), Preference::default());
        Self {
            play: Arc::new(Play { external, children, invariants: Vec::new() }),
            choices: Choices { rank, preference, external_delay_us: EXTERNAL_DELAY_US },
        }
    }

    /// Gives the behaviour of each process of a child when it begins. Scripts name children `child-0`, `child-1` and so
    /// on; [`Character::of`] has what the script means one to be like, and is itself a behaviour.
    pub fn children<B: Behaviour<E> + 'static>(self, make: impl Fn(&ChildSpec) -> B + Send + Sync + 'static) -> Self {
        self.with(|play| play.children = Arc::new(move |spec| Box::new(make(spec))))
    }

    /// Adds an invariant, checked together with those of Ordu: every 250 ms of simulated time, and after the heal until
    /// the run is at rest. It sees one moment only; what needs history is noted by the external world.
    pub fn invariant(
        self,
        name: &'static str,
        holds: impl Fn(&Observation<'_, E>) -> Option<Broken> + Send + Sync + 'static,
    ) -> Self {
        self.with(|play| play.invariants.push((name, Arc::new(holds))))
    }

    /// Which process of several that hold a name stays.
    pub fn rank(mut self, rank: RankPolicy) -> Self {
        self.choices.rank = rank;
        self
    }

    /// Which nodes a child prefers. Nodes are named `n0`, `n1` and so on.
    pub fn preference(mut self, preference: Preference) -> Self {
        self.choices.preference = preference;
        self
    }

    /// How long a request to the external world takes, and its reply again, in microseconds: drawn from this range.
    pub fn external_delay_us(mut self, range: Range<u64>) -> Self {
        self.choices.external_delay_us = range;
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Play<E>)) -> Self {
        let Play { external, children, invariants } = &*self.play;
        let mut play = Play { external: external.clone(), children: children.clone(), invariants: invariants.clone() };
        change(&mut play);
        self.play = Arc::new(play);
        self
    }

    // ---- running

    /// Plays a script.
    pub fn run(&self, script: &Script) -> Outcome {
        world::play(self, script, RunOutputs::default()).0
    }

    /// Plays a script, and writes everything that happens, in order, as text.
    ///
    /// # Errors
    /// If `out` cannot be written to.
    pub fn run_traced(&self, script: &Script, out: Box<dyn Write + Send>) -> std::io::Result<Outcome> {
        let (outcome, written, _) = world::play(self, script, RunOutputs { trace: Some(out), record: false });
        written.map(|()| outcome)
    }

    /// Plays a script, and returns everything that happened, in order, as text; docs/simulation.md tells how to read
    /// it.
    pub fn trace(&self, script: &Script) -> String {
        let text = Shared::default();
        // Writing into memory does not fail.
        let (..) = world::play(self, script, RunOutputs { trace: Some(Box::new(text.clone())), record: false });
        String::from_utf8_lossy(&text.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Plays a script, and draws it as a page: HTML that needs no other file.
    pub fn page(&self, script: &Script) -> String {
        let (outcome, _, notes) = world::play(self, script, RunOutputs { trace: None, record: true });
        let command = format!("lab.page(&script), of seed {}", script.plan.seed);
        page::render(&Header::new(&outcome, script, "of a lab", &command), &notes.unwrap_or_default())
    }

    /// Plays a script that shall hold.
    ///
    /// # Errors
    /// If an invariant is broken, one of the user's or of Ordu's own.
    pub fn check(&self, script: &Script) -> Result<Outcome, Failure> {
        let mut outcome = self.run(script);
        match outcome.violation.take() {
            None => Ok(outcome),
            Some(violation) => Err(Failure { violation, script: Box::new(script.clone()) }),
        }
    }

    /// Scripts for `proptest!`, drawn as a sweep draws them. A failing one is made shorter.
    pub fn scripts(&self, options: Options) -> Scripts {
        shrink::scripts(options)
    }

    /// Checks the scripts of so many seeds from `first` on, on this thread, one after the other. Without proptest, and
    /// so that a seed says it all.
    ///
    /// # Errors
    /// The first failure, with a script as short as was found within five minutes that breaks the same invariant.
    pub fn hunt(&self, options: &Options, first: u64, seeds: u64) -> Result<(), Failure> {
        for seed in first..first.saturating_add(seeds) {
            let script = Script::draw(seed, options);
            let outcome = self.run(&script);
            if outcome.violation.is_none() {
                continue;
            }
            let (script, mut outcome) = {
                let go_on = within(HUNT_SHRINK_MAX);
                shrink::shrink(script, outcome, |script| self.run(script), |_| go_on())
            };
            let violation = outcome.violation.take().expect("the shortest one fails too");
            return Err(Failure { violation, script: Box::new(script) });
        }
        Ok(())
    }
}

impl<E: External> Clone for Lab<E> {
    fn clone(&self) -> Self {
        Self { play: self.play.clone(), choices: self.choices.clone() }
    }
}

impl<E: External> fmt::Debug for Lab<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let invariants: Vec<_> = self.play.invariants.iter().map(|(name, _)| name).collect();
        f.debug_struct("Lab").field("choices", &self.choices).field("invariants", &invariants).finish_non_exhaustive()
    }
}

/// Asks the clock of the wall: how long somebody waits for a shorter script is no part of a run.
#[allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "bounds how long a person waits")]
fn within(most: Duration) -> impl Fn() -> bool {
    let begun = std::time::Instant::now();
    move || begun.elapsed() < most
}

/// Text that two can reach: who writes it, and who reads it then.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A script that broke an invariant. Displays as what was seen and what had been done, and debugs so too: that is what
/// `expect` and a test that returns it show.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was broken.
    pub violation: Violation,
    /// What was played.
    pub script: Box<Script>,
}

impl std::error::Error for Failure {}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { invariant, at_us, what, .. } = &self.violation;
        let Script { plan, steps } = &*self.script;
        let (seconds, millis) = (at_us / 1_000_000, at_us / 1_000 % 1_000);
        writeln!(f, "{invariant} does not hold at {seconds}.{millis:03}s: {what}")?;
        write!(f, "Seed {}, {} nodes, {} steps:", plan.seed, plan.nodes, steps.len())?;
        steps.iter().try_for_each(|step| write!(f, "\n  {step}"))
    }
}
