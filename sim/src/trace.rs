//! What happened, in order: the digest of a run and, on demand, its text.
//!
//! The digest is a hash over every (time, node, input, effects), taken from the values themselves. The text is made only
//! where somebody reads it.

use std::fmt::{self, Debug, Display, Write as _};
use std::hash::{Hash, Hasher};
use std::io::Write as _;

use crate::hash::RunHasher;

const PURPOSE_TRACE: u64 = 0x7369_6d31;
/// What a text begins with.
const LEGEND: &str = "\
# A run of ordu-sim, in the order in which it happened. TIME is in simulated microseconds since the run began.
#
#      TIME NODE CORE < INPUT      a core of a node handles an input
#                     > EFFECT     what came of it, one line for each effect
#      TIME -- WHAT                the world: nodes start and crash, sessions begin, faults begin and end, HEAL, VIOLATED
#
# CORE is membership, upper (the registry, or the supervisor with the registry inside), or judge (the same as membership,
# asked about somebody's first words). n2#3~9f04 is boot 3 of node n2, 9f04 the end of its nonce; n2#3~9f04.17 is the
# 17th process of that boot. docs/simulation.md tells how to read it.
";

/// A value as its `Debug` prints it, but what is a word alone without quotes, and a tuple that begins with a word as a
/// call: `call(2, …)` and not `("call", 2, …)`.
struct Plainly<'a>(&'a dyn Debug);

impl Display for Plainly<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:?}", self.0);
        let is_word = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphabetic());
        let word = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).filter(|word| is_word(word));
        let call = text.strip_prefix("(\"").and_then(|rest| rest.split_once("\", ")).filter(|(word, _)| is_word(word));
        match (word, call) {
            (Some(word), _) => f.write_str(word),
            (None, Some((word, rest))) => write!(f, "{word}({rest}"),
            (None, None) => f.write_str(&text),
        }
    }
}

/// The record of one run.
pub struct Trace {
    hasher: RunHasher,
    line: String,
    events: u64,
    /// How many of them each node handled.
    handled: Vec<u64>,
    out: Option<Box<dyn std::io::Write + Send>>,
    failed: Option<std::io::Error>,
}

impl Trace {
    /// A record that only hashes, or also writes to `out`.
    pub fn new(out: Option<Box<dyn std::io::Write + Send>>) -> Self {
        let mut trace = Self {
            hasher: RunHasher::new(PURPOSE_TRACE),
            line: String::new(),
            events: 0,
            handled: Vec::new(),
            out,
            failed: None,
        };
        if trace.out.is_some() {
            LEGEND.lines().for_each(|legend| trace.write_out(|line| line.write_str(legend)));
        }
        trace
    }

    /// Begins the record of one input that a core of `node` is about to handle.
    pub fn input<I: Debug + Hash + ?Sized>(&mut self, at_us: u64, node: usize, core: &str, input: &I) {
        self.events += 1;
        if self.handled.len() <= node {
            self.handled.resize(node + 1, 0);
        }
        self.handled[node] += 1;
        (at_us, node, core, input).hash(&mut self.hasher);
        if self.out.is_some() {
            self.write_out(|line| write!(line, "{at_us:>10} n{node} {core} < {}", Plainly(&input)));
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
            self.write_out(|line| write!(line, "{at_us:>10} -- {}", Plainly(&what)));
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

    /// How many of them were this node's.
    pub fn events_of(&self, node: usize) -> u64 {
        self.handled.get(node).copied().unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_without_quotes() {
        assert_eq!(Plainly(&"Timeout").to_string(), "Timeout");
        assert_eq!(Plainly(&("call", 2, "x")).to_string(), "call(2, \"x\")");
        assert_eq!(Plainly(&("two words", 2)).to_string(), "(\"two words\", 2)");
        assert_eq!(Plainly(&Some("x")).to_string(), "Some(\"x\")");
    }
}
