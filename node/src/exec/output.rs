//! What children print on its way to their logs: one thread of the keeper takes it out of their pipes.
//!
//! A child is never held up for ever and never sees a full disk: what cannot be written is thrown away, and told once. One
//! that prints faster than [`OUTPUT_BYTES_PER_S_MAX`] waits for its pipe now and then, as does everybody where all of them
//! together are faster than [`OUTPUT_BYTES_PER_S_MAX_ALL`].

use std::collections::{BTreeMap, HashMap};
use std::io::{self, PipeReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::log;

/// How fast one child may print for long.
pub const OUTPUT_BYTES_PER_S_MAX: u64 = 8 << 20;
/// How fast all children of a node may print for long.
pub const OUTPUT_BYTES_PER_S_MAX_ALL: u64 = 32 << 20;
/// How much is taken at once: what a pipe holds.
const PIECE_BYTES: usize = 64 << 10;
/// What a child left in its pipe is taken at its end, but no more: something may still be printing.
const REST_BYTES_MAX: usize = 1 << 20;
/// Between two complaints that output cannot be written.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(600);
/// How many pipes are looked at in one go.
const EVENTS_MAX: usize = 64;

/// The pipes of the children that run.
pub(super) struct Outputs {
    epoll: Epoll,
    open: Mutex<HashMap<u64, Arc<Mutex<Output>>>>,
    all: Mutex<Bucket>,
    complained: Mutex<Option<Instant>>,
    complain: Box<dyn Fn(String) + Send + Sync>,
}

struct Output {
    pipe: PipeReader,
    log: PathBuf,
    bucket: Bucket,
}

impl Outputs {
    /// No pipes yet. `complain` is told what people should know.
    pub(super) fn new(complain: impl Fn(String) + Send + Sync + 'static) -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            open: Mutex::default(),
            all: Mutex::new(Bucket::new(OUTPUT_BYTES_PER_S_MAX_ALL, Instant::now())),
            complained: Mutex::new(None),
            complain: Box::new(complain),
        })
    }

    /// Begins to take what comes out of a pipe.
    pub(super) fn add(&self, key: u64, pipe: PipeReader, log: PathBuf) -> io::Result<()> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut open = lock(&self.open);
        self.epoll.add(&pipe, EpollEvent::new(INTEREST, key))?;
        let bucket = Bucket::new(OUTPUT_BYTES_PER_S_MAX, Instant::now());
        open.insert(key, Arc::new(Mutex::new(Output { pipe, log, bucket })));
        Ok(())
    }

    /// Takes what is left in the pipe of a child that has ended, and closes it.
    pub(super) fn finish(&self, key: u64) {
        let Some(output) = lock(&self.open).remove(&key) else { return };
        let mut output = lock(&output);
        let mut piece = vec![0; PIECE_BYTES];
        for _ in 0..REST_BYTES_MAX / PIECE_BYTES {
            match output.pipe.read(&mut piece) {
                Ok(0) | Err(_) => return,
                Ok(length) => self.write(&output.log, &piece[..length]),
            }
        }
    }

    /// Takes output for ever.
    pub(super) fn run(&self) {
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        let mut piece = vec![0; PIECE_BYTES];
        // Those that were too fast, by when they are looked at again.
        let mut paused: BTreeMap<(Instant, u64), ()> = BTreeMap::new();
        loop {
            let timeout = paused.keys().next().map(|(at, _)| at.saturating_duration_since(Instant::now()));
            // A millisecond too late rather than a busy round too early.
            let timeout = timeout.map(|timeout| timeout + Duration::from_millis(1));
            let timeout =
                timeout.and_then(|timeout| EpollTimeout::try_from(timeout).ok()).unwrap_or(EpollTimeout::NONE);
            let count = self.epoll.wait(&mut events, timeout).unwrap_or(0);
            for event in &events[..count] {
                if let Some(until) = self.take(event.data(), &mut piece) {
                    paused.insert((until, event.data()), ());
                }
            }
            let now = Instant::now();
            while let Some(due) = paused.first_entry().filter(|due| due.key().0 <= now) {
                let ((_, key), ()) = due.remove_entry();
                self.resume(key);
            }
        }
    }

    /// Takes one piece of output; if that was too much, until when its child has to wait.
    fn take(&self, key: u64, piece: &mut [u8]) -> Option<Instant> {
        let output = lock(&self.open).get(&key)?.clone();
        let mut output = lock(&output);
        match output.pipe.read(piece) {
            // Everybody who could print has ended.
            Ok(0) => drop(lock(&self.open).remove(&key)),
            Ok(length) => {
                self.write(&output.log, &piece[..length]);
                let now = Instant::now();
                let own = output.bucket.take(length, now);
                let shared = lock(&self.all).take(length, now);
                if let Some(until) = own.max(shared) {
                    return Some(until);
                }
                self.watch(key, &output);
            }
            Err(_) => self.watch(key, &output),
        }
        None
    }

    fn resume(&self, key: u64) {
        let output = lock(&self.open).get(&key).cloned();
        if let Some(output) = output {
            self.watch(key, &lock(&output));
        }
    }

    /// Each look at a pipe is the last until this is called again.
    fn watch(&self, key: u64, output: &Output) {
        let _ = self.epoll.modify(&output.pipe, &mut EpollEvent::new(INTEREST, key));
    }

    fn write(&self, log: &Path, output: &[u8]) {
        let Err(error) = log::append(log, output) else { return };
        let mut complained = lock(&self.complained);
        if complained.is_none_or(|at| at.elapsed() > COMPLAINT_INTERVAL) {
            *complained = Some(Instant::now());
            drop(complained);
            (self.complain)(format!(
                "what a child prints cannot be written to {} and is thrown away, as is other output while that is so: {error}",
                log.display()
            ));
        }
    }
}

const INTEREST: EpollFlags = EpollFlags::EPOLLIN.union(EpollFlags::EPOLLONESHOT);

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A leaky bucket: who pours more into it than it holds waits until it holds no more than that.
struct Bucket {
    bytes_per_s: u64,
    /// When it is empty.
    empty: Instant,
}

impl Bucket {
    /// It holds what leaks out in this time.
    const DEPTH: Duration = Duration::from_millis(125);

    fn new(bytes_per_s: u64, now: Instant) -> Self {
        Self { bytes_per_s, empty: now }
    }

    /// Pours; until when there is no room for more.
    fn take(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let nanos = (bytes as u64).saturating_mul(1_000_000_000) / self.bytes_per_s;
        self.empty = self.empty.max(now) + Duration::from_nanos(nanos);
        let room_at = self.empty.checked_sub(Self::DEPTH)?;
        (room_at > now).then_some(room_at)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_bucket_lets_its_rate_through() {
        let begun = Instant::now();
        let mut bucket = Bucket::new(1_000_000, begun);
        let (mut now, mut taken) = (begun, 0);
        while now < begun + Duration::from_secs(10) {
            taken += 50_000;
            now = bucket.take(50_000, now).unwrap_or(now);
        }
        assert!((10_000_000..=10_300_000).contains(&taken), "{taken}");
        // Rest is not saved up beyond its depth.
        now += Duration::from_secs(100);
        assert_eq!(bucket.take(125_000, now), None);
        assert!(bucket.take(50_000, now).is_some());
    }

    #[test]
    fn output_that_cannot_be_written_is_thrown_away_and_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let (told, complaints) = mpsc::channel();
        let outputs = Arc::new(Outputs::new(move |what| told.send(what).unwrap()).unwrap());
        let running = outputs.clone();
        std::thread::spawn(move || running.run());
        let good = directory.path().join("good.log");
        let (pipe, mut writer) = io::pipe().unwrap();
        outputs.add(1, pipe, "/dev/null/bad.log".into()).unwrap();
        let (pipe, mut other) = io::pipe().unwrap();
        outputs.add(2, pipe, good.clone()).unwrap();
        // Many times what a pipe holds: it would block, were it not taken.
        writer.write_all(&vec![b'x'; 1 << 20]).unwrap();
        other.write_all(b"a part of a line").unwrap();
        outputs.finish(2);
        assert_eq!(fs::read_to_string(good).unwrap(), "a part of a line");
        assert!(complaints.recv().unwrap().contains("/dev/null/bad.log"));
        assert!(complaints.try_recv().is_err());
        // Closed for a child that is over, whoever still has it open.
        outputs.finish(1);
        assert_eq!(writer.write_all(&vec![b'x'; 1 << 20]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_fast_child_waits() {
        let directory = tempfile::tempdir().unwrap();
        let outputs = Arc::new(Outputs::new(|_| ()).unwrap());
        let running = outputs.clone();
        std::thread::spawn(move || running.run());
        let log = directory.path().join("fast.log");
        let (pipe, mut writer) = io::pipe().unwrap();
        outputs.add(1, pipe, log.clone()).unwrap();
        let begun = Instant::now();
        let bytes = 12_u64 << 20;
        for _ in 0..bytes / 4096 {
            writer.write_all(&[b'x'; 4096]).unwrap();
        }
        outputs.finish(1);
        let least = Duration::from_secs_f64((bytes - (2 << 20)) as f64 / OUTPUT_BYTES_PER_S_MAX as f64);
        assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
        let kept: u64 = ["fast.log", "fast.log.1"]
            .map(|name| fs::metadata(directory.path().join(name)).unwrap().len())
            .iter()
            .sum();
        assert_eq!(kept, bytes, "nothing is lost of what fits");
    }
}
