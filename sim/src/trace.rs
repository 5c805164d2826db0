//! What happened, in order: the digest of a run and, on demand, its text.
//!
//! The digest is a hash over every (time, node, input, effects), taken from the values themselves. The text is made only
//! where somebody reads it.

use std::fmt::{Debug, Write as _};
use std::hash::{Hash, Hasher};
use std::io::Write as _;

use crate::hash::RunHasher;

const PURPOSE_TRACE: u64 = 0x7369_6d31;

/// The record of one run.
pub struct Trace {
    hasher: RunHasher,
    line: String,
    events: u64,
    out: Option<Box<dyn std::io::Write + Send>>,
    failed: Option<std::io::Error>,
}

impl Trace {
    /// A record that only hashes, or also writes to `out`.
    pub fn new(out: Option<Box<dyn std::io::Write + Send>>) -> Self {
        Self { hasher: RunHasher::new(PURPOSE_TRACE), line: String::new(), events: 0, out, failed: None }
    }

    /// Begins the record of one input that a core of `node` is about to handle.
    pub fn input<I: Debug + Hash + ?Sized>(&mut self, at_us: u64, node: usize, core: &str, input: &I) {
        self.events += 1;
        (at_us, node, core, input).hash(&mut self.hasher);
        if self.out.is_some() {
            self.write_out(|line| write!(line, "{at_us:>10} n{node} {core} < {input:?}"));
        }
    }

    /// The effects that came of it.
    pub fn effects<E: Debug + Hash>(&mut self, effects: &[E]) {
        effects.hash(&mut self.hasher);
        if self.out.is_some() {
            for effect in effects {
                self.write_out(|line| write!(line, "             > {effect:?}"));
            }
        }
    }

    /// What the world did. Part of the text only.
    pub fn world(&mut self, at_us: u64, what: &dyn Debug) {
        if self.out.is_some() {
            self.write_out(|line| write!(line, "{at_us:>10} -- {what:?}"));
        }
    }

    fn write_out(&mut self, print: impl FnOnce(&mut String) -> std::fmt::Result) {
        self.line.clear();
        // Writing into a string does not fail.
        let _ = print(&mut self.line);
        if let Some(out) = &mut self.out
            && let Err(error) = writeln!(out, "{}", self.line)
        {
            self.failed = Some(error);
            self.out = None;
        }
    }

    /// How many inputs were handled.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The digest so far.
    pub fn digest(&self) -> u64 {
        self.hasher.finish()
    }

    /// Flushes the text, and says if any of it could not be written.
    pub fn finish(&mut self) -> std::io::Result<()> {
        match (self.failed.take(), &mut self.out) {
            (Some(error), _) => Err(error),
            (None, Some(out)) => out.flush(),
            (None, None) => Ok(()),
        }
    }
}
