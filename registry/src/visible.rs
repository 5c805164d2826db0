//! Waiting for others: until a claim has reached all members, or a majority of them.

use std::time::Duration;

use bytes::Bytes;
use ordu_transport::core::{NodeId, Pid};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::core::sync::REPAIR_INTERVAL;
use crate::core::visible::{Awaited, Scope, Vain};
use crate::core::{Name, RegisterError};
use crate::process::Process;
use crate::registry::Registry;

/// Why a claim was not seen to reach those it should. Nothing changed: the claim, if there is one, stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AwaitError {
    /// It never will: the claim is gone, or its process lost a conflict.
    #[error(transparent)]
    Vain(#[from] Vain),
    /// The deadline has passed. Whether these members have seen the claim is unknown; asking again is safe.
    #[error("{} members have not acknowledged the claim in time", missing.len())]
    Deadline {
        /// The members that have not acknowledged it, by name.
        missing: Vec<NodeId>,
    },
}

/// Why a name was not registered with a majority. Nothing is kept: the process does not hold the name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuorumError {
    /// It was refused at once, by this node alone; nobody else heard of it.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The claim is gone, or its process lost a conflict; then it was also told to stop, as after any conflict.
    #[error(transparent)]
    Vain(#[from] Vain),
    /// The deadline has passed, and the claim was withdrawn. Others may have shown it meanwhile, and show it until they hear
    /// of the withdrawal; a process of theirs may have been refused the name for it.
    #[error("no majority has acknowledged the claim in time; {} members have not", missing.len())]
    Deadline {
        /// The members that have not acknowledged it, by name.
        missing: Vec<NodeId>,
    },
}

impl Registry {
    /// Waits until members have acknowledged the claim of a process of this node to a name: then their lookups show it,
    /// unless they hold this node as down or know a better-ranked claim.
    ///
    /// What counts is the claim as it is at the call; a value that changes meanwhile takes nothing back. Members are those
    /// that this node has heard of: one that has met nobody waits for nobody. A member acknowledges over its session with this
    /// node, a claim that nobody waited for when it was made [a moment](crate::core::sync::ACK_DELAY) later; one without a
    /// session is waited for until the deadline. Each call of the registry costs one look by each that waits.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use ordu_registry::{AwaitError, Registry, core::{Name, Scope}};
    /// # async fn example(registry: &Registry) -> Result<(), Box<dyn std::error::Error>> {
    /// let worker = registry.process();
    /// let name = Name::new("workers/7")?;
    /// worker.register(name.clone(), "ready")?;
    /// match worker.await_visible(&name, Scope::All, Duration::from_secs(2)).await {
    ///     Ok(()) => println!("every node finds it"),
    ///     Err(AwaitError::Deadline { missing }) => println!("not yet seen by {missing:?}"),
    ///     Err(AwaitError::Vain(why)) => println!("given up: {why}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`AwaitError`]; nothing changed.
    pub async fn await_visible(
        &self,
        pid: &Pid,
        name: &Name,
        scope: Scope,
        deadline: Duration,
    ) -> Result<(), AwaitError> {
        let mut awaited = Awaited::new(pid.clone(), name.clone(), scope);
        match timeout(deadline, self.came_true(&mut awaited)).await {
            Ok(ended) => Ok(ended?),
            Err(_) => self.look(|registry, _| match awaited.check(registry)? {
                true => Ok(()),
                false => Err(AwaitError::Deadline { missing: awaited.missing(registry) }),
            }),
        }
    }

    /// Registers a name for a process of this node, and waits until a majority of the members has acknowledged it.
    ///
    /// On `Ok` more than half of all members that have not left, those that are down included, hold the claim, and this node
    /// has seen no better-ranked one: on the smaller side of a partition it fails. It is no lock: a claim that was made
    /// meanwhile on a node that has not heard of this one may still turn up and be ranked better, and then this process is
    /// told to stop like any other that loses. Members are those that this node has heard of: before it has met anybody it
    /// is a majority by itself.
    ///
    /// On any error nothing is kept: the claim is withdrawn, also where this future is dropped.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use ordu_registry::{QuorumError, Registry, core::Name};
    /// # async fn example(registry: &Registry) -> Result<(), Box<dyn std::error::Error>> {
    /// let writer = registry.process();
    /// match writer.register_quorum(Name::new("writer")?, "", Duration::from_secs(3)).await {
    ///     Ok(()) => println!("a majority knows; writing under the fence {}", writer.fence()),
    ///     Err(QuorumError::Deadline { missing }) => println!("withdrawn: no answer of {missing:?}"),
    ///     Err(why) => println!("not ours: {why}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`QuorumError`]; nothing is kept.
    pub async fn register_quorum(
        &self,
        pid: &Pid,
        name: Name,
        value: impl Into<Bytes>,
        deadline: Duration,
    ) -> Result<(), QuorumError> {
        let value = value.into();
        self.call(|registry, now, out| {
            registry.hurry();
            registry.register(now, pid, name.clone(), value.clone(), out)
        })?;
        let mut claim = Unsettled { registry: self, pid, name: &name, withdraw: true };
        let mut awaited = Awaited::quorum(pid.clone(), name.clone());
        let ended = match timeout(deadline, self.came_true(&mut awaited)).await {
            Ok(ended) => ended.map_err(QuorumError::from),
            // In one call, so that nothing comes between the last look and the withdrawal.
            Err(_) => self.call(|registry, now, out| match awaited.check(registry) {
                Ok(true) => Ok(()),
                Ok(false) => {
                    registry.unregister(now, pid, &name, out);
                    Err(QuorumError::Deadline { missing: awaited.missing(registry) })
                }
                Err(vain) => Err(vain.into()),
            }),
        };
        // What the process gave up itself it may have taken again.
        claim.withdraw = matches!(ended, Err(QuorumError::Vain(Vain::Lost { .. })));
        ended
    }

    /// Resolves once the claim has been acknowledged, or never will be.
    async fn came_true(&self, awaited: &mut Awaited) -> Result<(), Vain> {
        let mut asking = interval(REPAIR_INTERVAL);
        asking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Before the look, so that no change is missed between both.
            let turned = self.turned();
            if self.look(|registry, _| awaited.check(registry))? {
                return Ok(());
            }
            tokio::select! {
                () = turned => {}
                _ = asking.tick() => self.call(|registry, _, out| awaited.ask(registry, out)),
            }
        }
    }
}

impl Process {
    /// See [`Registry::await_visible`].
    ///
    /// # Errors
    /// See [`AwaitError`]; nothing changed.
    pub async fn await_visible(&self, name: &Name, scope: Scope, deadline: Duration) -> Result<(), AwaitError> {
        self.registry().await_visible(self.pid(), name, scope, deadline).await
    }

    /// See [`Registry::register_quorum`].
    ///
    /// # Errors
    /// See [`QuorumError`]; nothing is kept.
    pub async fn register_quorum(
        &self,
        name: Name,
        value: impl Into<Bytes>,
        deadline: Duration,
    ) -> Result<(), QuorumError> {
        self.registry().register_quorum(self.pid(), name, value, deadline).await
    }
}

/// A claim that is withdrawn unless it was settled.
struct Unsettled<'a> {
    registry: &'a Registry,
    pid: &'a Pid,
    name: &'a Name,
    withdraw: bool,
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        if self.withdraw {
            self.registry.unregister(self.pid, self.name);
        }
    }
}
