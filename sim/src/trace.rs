//! What happened, in order: the digest of a run and, on demand, its text.
//!
//! The digest is a hash over every (time, node, input, effects). It is taken over the `Debug` text of inputs and effects,
//! which is the same on every machine and in every build; it changes when a type's text does.

use std::fmt::{Debug, Write as _};
use std::hash::Hasher;
use std::io::Write as _;

use ordu_transport::core::hash::StableHasher;

const PURPOSE_TRACE: u64 = 0x7369_6d31;

/// The record of one run.
pub struct Trace {
    hasher: StableHasher,
    line: String,
    events: u64,
    out: Option<Box<dyn std::io::Write + Send>>,
    failed: Option<std::io::Error>,
}

impl Trace {
    /// A record that only hashes, or also writes to `out`.
    pub fn new(out: Option<Box<dyn std::io::Write + Send>>) -> Self {
        Self { hasher: StableHasher::new(PURPOSE_TRACE), line: String::new(), events: 0, out, failed: None }
    }

    /// Begins the record of one input that a core of `node` is about to handle.
    pub fn input(&mut self, at_us: u64, node: usize, core: &str, input: &dyn Debug) {
        self.events += 1;
        self.line.clear();
        // Writing into a string does not fail.
        let _ = write!(self.line, "{at_us:>10} n{node} {core} < {input:?}");
        self.commit();
    }

    /// The effects that came of it.
    pub fn effects<E: Debug>(&mut self, effects: &[E]) {
        for effect in effects {
            self.line.clear();
            let _ = write!(self.line, "             > {effect:?}");
            self.commit();
        }
    }

    /// What the world did. Part of the text only.
    pub fn world(&mut self, at_us: u64, what: &dyn Debug) {
        if self.out.is_some() {
            self.line.clear();
            let _ = write!(self.line, "{at_us:>10} -- {what:?}");
            self.write_out();
        }
    }

    fn commit(&mut self) {
        self.hasher.write(self.line.as_bytes());
        self.hasher.write(b"\n");
        self.write_out();
    }

    fn write_out(&mut self) {
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
