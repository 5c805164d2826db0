//! A node's disk: what it holds of the node's tables, and writes that take their time. One that was under way when its
//! node died may have come to its end or not.

use ordu_supervisor::core::Stored;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::fault::Disk;
use crate::node::Arrival;
use crate::world::{Happening, World};

/// How long it takes until a node hears of a write at most, in microseconds.
const HEARD_US_MAX: u64 = 200;

/// What outlives a node's lives.
#[derive(Debug)]
pub(crate) struct NodeDisk {
    held: Stored,
    /// As it was when the life before began.
    older: Stored,
    rng: ChaCha8Rng,
}

impl NodeDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self { held: Stored::default(), older: Stored::default(), rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// What a life begins with.
    pub(crate) fn read(&mut self) -> Stored {
        self.older = self.held.clone();
        self.held.clone()
    }

    /// What became of it while its node was down.
    pub(crate) fn suffer(&mut self, fate: Disk) {
        match fate {
            Disk::Kept => {}
            Disk::Lost => (self.held, self.older) = (Stored::default(), Stored::default()),
            Disk::Old => self.held = self.older.clone(),
        }
    }
}

impl World {
    /// A node wants something on its disk.
    pub(crate) fn save(&mut self, node: usize, number: u64, stored: Box<Stored>) {
        let Some(life) = self.life(node).map(|life| life.number) else { return };
        let (least, most) = self.plan.disk_us;
        let at = self.now + self.nodes[node].disk.rng.random_range(least..=most);
        self.schedule(at, Happening::DiskWrites { node, life, number, stored });
    }

    /// It is there; the node hears of it a moment later.
    pub(crate) fn disk_writes(&mut self, node: usize, life: u64, number: u64, stored: Stored) {
        if !self.is_life(node, life) {
            return;
        }
        let disk = &mut self.nodes[node].disk;
        disk.held.apply(stored);
        let at = self.now + disk.rng.random_range(0..=HEARD_US_MAX);
        self.schedule(at, Happening::Arrive { node, life, arrival: Arrival::Saved { number } });
    }
}
