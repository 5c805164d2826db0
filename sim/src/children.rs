//! The children that come with the simulator: how long their init takes, how they end, how they stop. Which character a
//! child has is written in its args, so that two starts of one id can differ.

use ordu_supervisor::core::{ChildSpec, Exit, Restart};
use serde::{Deserialize, Serialize};

use crate::behaviour::{Behaviour, Context, External, Init};

/// The timer that makes a checkpoint.
const CHECKPOINT: u64 = 1;

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
    /// It ends well after a few seconds; if it is then restarted each time, until the heal.
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

    /// The character that the spec of a simulated child gives.
    pub fn of(spec: &ChildSpec) -> Character {
        let index = spec.args.first().copied().map_or(0, usize::from);
        Self::ALL.get(index).map_or(Character::Steady, |(character, _)| *character)
    }

    /// The args that give this character.
    pub(crate) fn args(self) -> Vec<u8> {
        let index = Self::ALL.iter().position(|(character, _)| *character == self).unwrap_or(0);
        vec![u8::try_from(index).unwrap_or(0)]
    }
}

impl<E: External> Behaviour<E> for Character {
    fn init(&mut self, context: &mut Context<'_, E>) -> Init {
        let slow = *self == Character::SlowInit;
        let after_us = context.draw(if slow { 500_000..2_500_000 } else { 1_000..100_000 });
        match self {
            Character::HangsInInit => Init::Hangs,
            Character::BadInit if !context.is_calm() && context.chance(500) => {
                Init::Fails { after_us, how: "its init failed".into() }
            }
            _ => Init::Ready { after_us },
        }
    }

    fn started(&mut self, context: &mut Context<'_, E>) {
        if let Some(every_us) = context.checkpoint_every_us() {
            context.wake_in(every_us, CHECKPOINT);
        }
        match self {
            Character::Fails if !context.is_calm() => {
                let after_us = context.draw(1..4_000_000);
                context.exit_in(after_us, Exit::Abnormal("it failed".into()));
            }
            Character::Finishes if !(context.is_calm() && context.spec().restart == Restart::Permanent) => {
                let after_us = context.draw(200_000..6_000_000);
                context.exit_in(after_us, Exit::Normal);
            }
            Character::Steady | Character::Fails | Character::BadInit | Character::SlowInit => {}
            Character::HangsInInit | Character::SlowStop | Character::RefusesToStop | Character::Finishes => {}
        }
    }

    fn woken(&mut self, context: &mut Context<'_, E>, timer: u64) {
        if let Some(every_us) = context.checkpoint_every_us().filter(|_| timer == CHECKPOINT) {
            context.checkpoint(format!("{} at {}", context.pid(), context.now_us()));
            // Once all is calm some more, so that the run can come to rest.
            if !context.is_calm() {
                let after_us = context.draw(every_us / 2..every_us * 3 / 2);
                context.wake_in(after_us, CHECKPOINT);
            }
        }
    }

    fn stop(&mut self, context: &mut Context<'_, E>) {
        let longest = match self {
            Character::RefusesToStop | Character::HangsInInit => return,
            Character::SlowStop => 2_500_000,
            _ => 200_000,
        };
        let after_us = context.draw(0..longest);
        context.hand_off(context.pid().to_string());
        context.exit_in(after_us, Exit::Normal);
    }
}
