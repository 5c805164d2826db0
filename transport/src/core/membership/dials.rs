//! Whom to dial, and when: every address that should have a session and has none, for ever, with jitter.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::core::time::Instant;
use crate::core::view::Addr;

/// The addresses to dial and the time of each one's next dial.
#[derive(Debug, Default)]
pub(super) struct Dials {
    by_addr: BTreeMap<Addr, Entry>,
}

#[derive(Debug)]
struct Entry {
    due: Instant,
    /// Whether a session is missing. If not, the entry remembers the last dial for a while, so that a session that
    /// breaks at once is not dialled in a tight loop.
    wanted: bool,
}

impl Dials {
    /// Sets which addresses lack a session, and how long after becoming so each is first dialled.
    pub(super) fn want(&mut self, now: Instant, wanted: &BTreeMap<Addr, Duration>) {
        self.by_addr.retain(|addr, entry| {
            entry.wanted &= wanted.contains_key(addr);
            entry.wanted || entry.due > now || wanted.contains_key(addr)
        });
        for (addr, delay) in wanted {
            let entry = self.by_addr.entry(addr.clone()).or_insert(Entry { due: now, wanted: false });
            if !entry.wanted {
                *entry = Entry { due: entry.due.max(now + *delay), wanted: true };
            }
        }
    }

    /// [`Self::want`] of the same addresses as before.
    pub(super) fn want_same(&mut self, now: Instant) {
        self.by_addr.retain(|_, entry| entry.wanted || entry.due > now);
    }

    /// The next address to dial now; its next turn comes after a jittered time between the two given.
    pub(super) fn take_due(
        &mut self,
        now: Instant,
        (min, max): (Duration, Duration),
        rng: &mut ChaCha8Rng,
    ) -> Option<Addr> {
        let (addr, entry) = self.by_addr.iter_mut().find(|(_, entry)| entry.wanted && entry.due <= now)?;
        entry.due = now + Duration::from_micros(rng.random_range(micros(min)..=micros(max.max(min))));
        Some(addr.clone())
    }

    /// Moves the next dial of an address, if it is to be dialled at all.
    pub(super) fn set_due(&mut self, addr: &Addr, due: Instant) {
        if let Some(entry) = self.by_addr.get_mut(addr) {
            entry.due = due;
        }
    }

    pub(super) fn first(&self) -> Option<Instant> {
        self.by_addr.values().filter(|entry| entry.wanted).map(|entry| entry.due).min()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const JITTER: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(1000));

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn wanted(delays: &[(&str, u64)]) -> BTreeMap<Addr, Duration> {
        delays.iter().map(|(addr, ms)| (Addr::from(*addr), Duration::from_millis(*ms))).collect()
    }

    #[test]
    fn dials_for_ever_with_jitter() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut dials = Dials::default();
        dials.want(at(0), &wanted(&[("a:1", 0), ("b:1", 150)]));
        assert_eq!(dials.take_due(at(0), JITTER, &mut rng), Some("a:1".into()));
        assert_eq!(dials.take_due(at(0), JITTER, &mut rng), None);
        assert_eq!(dials.first(), Some(at(150)));
        for _ in 0..50 {
            let due = dials.by_addr["a:1"].due;
            dials.want(due, &wanted(&[("a:1", 0)]));
            assert_eq!(dials.take_due(due, JITTER, &mut rng), Some("a:1".into()));
            let next = dials.by_addr["a:1"].due.saturating_since(due);
            assert!(JITTER.0 <= next && next <= JITTER.1);
        }
    }

    #[test]
    fn a_session_that_breaks_at_once_is_not_dialled_at_once() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut dials = Dials::default();
        dials.want(at(0), &wanted(&[("a:1", 0)]));
        assert!(dials.take_due(at(0), JITTER, &mut rng).is_some());
        dials.want(at(10), &wanted(&[]));
        assert_eq!(dials.first(), None);
        dials.want(at(20), &wanted(&[("a:1", 0)]));
        assert!(dials.first().expect("it is wanted") >= at(500));
        // One that lasted is dialled at once.
        dials.want(at(30), &wanted(&[]));
        dials.want(at(5000), &wanted(&[("a:1", 0)]));
        assert_eq!(dials.first(), Some(at(5000)));
    }
}
