//! Simulated children: how long their init takes, how they end, how they stop. Which character a child has is written in
//! its args, so that two starts of one id can differ.

use std::time::Duration;

use ordu_registry::core::Fence;
use ordu_supervisor::core::{ChildSpec, Exit, StartedInfo};
use ordu_transport::core::Pid;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::node::Arrival;
use crate::world::{Happening, World};

/// What a child is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Character {
    /// It runs until it is stopped.
    Steady,
    /// It fails every few seconds, until the heal.
    Fails,
    /// Its init fails half of the time, until the heal.
    BadInit,
    /// Its init takes seconds.
    SlowInit,
    /// Its init never ends; it has to be killed.
    HangsInInit,
    /// It takes its time to stop, and may have to be killed.
    SlowStop,
    /// It does not stop by itself; it has to be killed.
    RefusesToStop,
    /// It ends well after a few seconds.
    Finishes,
}

impl Character {
    pub(crate) const ALL: [(Character, u32); 8] = [
        (Character::Steady, 10),
        (Character::Fails, 2),
        (Character::BadInit, 2),
        (Character::SlowInit, 2),
        (Character::SlowStop, 2),
        (Character::Finishes, 2),
        (Character::HangsInInit, 1),
        (Character::RefusesToStop, 1),
    ];

    /// The character that a spec gives.
    pub(crate) fn of(spec: &ChildSpec) -> Character {
        let index = spec.args.first().copied().map_or(0, usize::from);
        Self::ALL.get(index).map_or(Character::Steady, |(character, _)| *character)
    }

    /// The args that give this character.
    pub(crate) fn args(self) -> Vec<u8> {
        let index = Self::ALL.iter().position(|(character, _)| *character == self).unwrap_or(0);
        vec![u8::try_from(index).unwrap_or(0)]
    }
}

impl World {
    /// A core wants a child run.
    pub(crate) fn start_child(&mut self, node: usize, pid: Pid, spec: &ChildSpec, fence: Fence) {
        let Some(life) = self.life(node) else { return };
        let number = life.number;
        let rank = life.upper.names().standing(&pid).map(|(rank, _)| rank.clone()).unwrap_or_default();
        self.oracle.activated(self.now, &pid, (node, number), (rank, fence));
        self.oracle.child_starts(&pid, spec);
        let calm = self.faults.are_over();
        let character = Character::of(spec);
        let init_us = match character {
            Character::SlowInit => self.rng.random_range(500_000..2_500_000),
            _ => self.rng.random_range(1_000..100_000),
        };
        let begins = self.now + init_us;
        let (rng, bad) = (&mut self.rng, |text: &str| Exit::Abnormal(text.into()));
        let ends = match character {
            Character::BadInit if !calm && rng.random_bool(0.5) => Some((begins, bad("its init failed"))),
            Character::Fails if !calm => Some((begins + rng.random_range(1..4_000_000), bad("it failed"))),
            Character::Finishes => Some((begins + rng.random_range(200_000..6_000_000), Exit::Normal)),
            Character::Steady | Character::Fails | Character::BadInit => None,
            Character::SlowInit | Character::SlowStop => None,
            Character::HangsInInit | Character::RefusesToStop => None,
        };
        if character != Character::HangsInInit && ends.as_ref().is_none_or(|(at, _)| *at > begins) {
            self.schedule(begins, Happening::ChildStarted { node, life: number, pid: pid.clone() });
        }
        if let Some((at, exit)) = ends {
            self.schedule(at, Happening::ChildEnds { node, life: number, pid, exit });
        }
    }

    /// A core wants a child stopped.
    pub(crate) fn stop_child(&mut self, node: usize, pid: Pid, timeout: Duration) {
        self.oracle.stopped(&pid);
        let timeout = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
        let takes = match self.oracle.character(&pid) {
            Some(Character::SlowStop) => self.rng.random_range(0..2_500_000),
            Some(Character::RefusesToStop | Character::HangsInInit) => u64::MAX,
            _ => self.rng.random_range(0..200_000),
        };
        let exit = if takes > timeout { Exit::Abnormal("killed".into()) } else { Exit::Normal };
        let Some(life) = self.life(node).map(|life| life.number) else { return };
        self.schedule(self.now + takes.min(timeout), Happening::ChildEnds { node, life, pid, exit });
    }

    pub(crate) fn on_child_started(&mut self, node: usize, life: u64, pid: Pid) {
        if self.is_life(node, life) && self.oracle.is_alive(&pid) {
            self.oracle.child_runs(self.now, &pid);
            self.arrive(node, Arrival::Started { pid, info: StartedInfo::default() });
        }
    }

    pub(crate) fn on_child_ends(&mut self, node: usize, life: u64, pid: Pid, exit: Exit) {
        if self.is_life(node, life) && self.oracle.is_alive(&pid) {
            self.oracle.ended(self.now, &pid);
            self.arrive(node, Arrival::Exited { pid, exit });
        }
    }
}
