//! foca's rows, or what they were a little before, found by name.
//!
//! foca keeps them in no order, and gossip tells most of what it tells several times: what foca would learn nothing by is
//! not given to it.

use std::collections::BTreeMap;

use foca::State;

use super::packet::Update;

/// foca's row of each name but our own, by the name's hash. A row here may be older than foca's, never newer.
#[derive(Debug, Default)]
pub(super) struct Rows(BTreeMap<u64, Update>);

impl Rows {
    /// Takes foca's row of a name in place of the one before.
    pub(super) fn note(&mut self, row: &Update) {
        self.0.insert(row.id().name_hash, row.clone());
    }

    /// The row of a name.
    pub(super) fn of(&self, name_hash: u64) -> Option<&Update> {
        self.0.get(&name_hash)
    }

    /// Whether foca has nothing to learn by an update.
    pub(super) fn knows(&self, update: &Update) -> bool {
        let row = self.of(update.id().name_hash).filter(|row| row.id() == update.id());
        row.is_some_and(|row| !is_news(row, update.incarnation(), update.state()))
    }
}

/// Whether a row changes by word of the same identity. (Das, Gupta, Motivala: "SWIM", 2002, section 4.2)
pub(super) fn is_news(row: &Update, incarnation: u16, state: State) -> bool {
    match (row.state(), state) {
        (State::Down, _) => false,
        (_, State::Down) => true,
        (State::Alive, State::Suspect) => incarnation >= row.incarnation(),
        (State::Alive | State::Suspect, _) => incarnation > row.incarnation(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::super::packet::PacketCodec;
    use super::super::swim::{Identity, LEFT, Swim, Wishes, config};
    use super::super::timings::Timings;
    use super::*;
    use crate::core::id::{NodeId, NodeName};

    fn identity(name: u8, boot: u64, renewal: u32) -> Identity {
        let name = NodeName::new(&format!("n{name}")).expect("a name");
        Identity::new(NodeId::new(name, boot, boot), "127.0.0.1:7600".into(), renewal)
    }

    fn update() -> impl Strategy<Value = Update> {
        let renewal = prop_oneof![4 => 0..2_u32, 1 => Just(LEFT)];
        let state = prop_oneof![Just(State::Alive), Just(State::Suspect), Just(State::Down)];
        (0..3_u8, 1..3_u64, renewal, 0..3_u16, state).prop_map(|(name, boot, renewal, incarnation, state)| {
            let state = if renewal == LEFT { State::Down } else { state };
            Update::new(identity(name, boot, renewal), incarnation, state)
        })
    }

    fn swim() -> Swim {
        let rng = ChaCha8Rng::seed_from_u64(1);
        Swim::new(identity(9, 1, 0), config(&Timings::default()), rng, PacketCodec::default())
    }

    fn state_of(swim: &Swim) -> BTreeMap<u64, Update> {
        swim.iter_membership_state().map(|row| (row.id().name_hash, row.clone())).collect()
    }

    proptest! {
        /// However old the rows are by which it is decided, foca misses nothing by what is kept from it.
        #[test]
        fn what_is_known_teaches_foca_nothing(updates in prop::collection::vec((update(), any::<bool>()), 1..40)) {
            let (mut told_all, mut told_news, mut rows) = (swim(), swim(), Rows::default());
            let tell = |swim: &mut Swim, update: &Update| {
                let mut wishes = Wishes::default();
                swim.apply_many([update.clone()].into_iter(), true, &mut wishes).expect("it is about others");
                wishes.timers.iter().map(|(after, _)| *after).sum::<Duration>()
            };
            for (update, is_noted) in updates {
                let timers = tell(&mut told_all, &update);
                if rows.knows(&update) {
                    prop_assert_eq!(timers, Duration::ZERO);
                } else {
                    prop_assert_eq!(tell(&mut told_news, &update), timers);
                }
                prop_assert_eq!(state_of(&told_all), state_of(&told_news));
                if is_noted {
                    told_news.iter_membership_state().for_each(|row| rows.note(row));
                }
            }
        }
    }
}
