//! What is shown and where in it one is: a state, and how answers and keys change it. No clock, no terminal, no network.

use std::time::{Duration, Instant};

use super::keys::Action;
use super::listing::Listing;
use super::snapshot::{Snapshot, clean};
use crate::failure::Failure;

/// How late an answer may be, on top of two intervals, until it is said that the node does not answer.
const LATE: Duration = Duration::from_secs(2);

/// One of the two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Focus {
    Members,
    Children,
}

/// Everything that the view draws.
#[derive(Debug)]
pub(super) struct Model {
    /// Who is asked.
    pub(super) address: String,
    pub(super) snapshot: Snapshot,
    /// When that was asked for: what is shown is no older.
    seen: Instant,
    interval: Duration,
    /// Why the latest question had no answer.
    failure: Option<String>,
    /// The table that keys move in.
    pub(super) focus: Focus,
    pub(super) members: Listing,
    pub(super) children: Listing,
    /// Whether a filter is being written.
    pub(super) is_writing: bool,
    pub(super) is_over: bool,
}

impl Model {
    /// Begins with a first answer.
    pub(super) fn new(address: String, interval: Duration, snapshot: Snapshot, seen: Instant) -> Self {
        let mut model = Self {
            address,
            snapshot,
            seen,
            interval,
            failure: None,
            focus: Focus::Children,
            members: Listing::default(),
            children: Listing::default(),
            is_writing: false,
            is_over: false,
        };
        model.refresh();
        model
    }

    /// Takes what came of a question. Without an answer, what was seen last goes on to be shown.
    pub(super) fn handle_answer(&mut self, asked: Instant, answer: Result<Snapshot, Failure>) {
        match answer {
            Ok(snapshot) => {
                self.snapshot = snapshot;
                self.seen = asked;
                self.failure = None;
                self.refresh();
            }
            Err(failure) => self.failure = Some(clean(&failure.message)),
        }
    }

    /// Does what a key asks for.
    pub(super) fn handle_action(&mut self, action: Action) {
        match action {
            Action::Leave => self.is_over = true,
            Action::OtherTable => {
                self.focus = match self.focus {
                    Focus::Members => Focus::Children,
                    Focus::Children => Focus::Members,
                }
            }
            Action::Filter => self.is_writing = true,
            Action::Accept => self.is_writing = false,
            Action::Cancel => {
                self.is_writing = false;
                self.change_filter(String::clear);
            }
            Action::Write(c) => self.change_filter(|filter| filter.push_str(&clean_char(c))),
            Action::Erase => self.change_filter(|filter| {
                filter.pop();
            }),
            Action::EraseAll => self.change_filter(String::clear),
            Action::Step(by) => self.step(by),
            Action::First => self.step(isize::MIN),
            Action::Last => self.step(isize::MAX),
            Action::Page(by) => match self.focus {
                Focus::Members => self.members.page(&self.snapshot.members, by),
                Focus::Children => self.children.page(&self.snapshot.children, by),
            },
            Action::Sort(by) => match self.focus {
                Focus::Members => self.members.sort(&self.snapshot.members, by),
                Focus::Children => self.children.sort(&self.snapshot.children, by),
            },
            Action::Reverse => match self.focus {
                Focus::Members => self.members.reverse(&self.snapshot.members),
                Focus::Children => self.children.reverse(&self.snapshot.children),
            },
        }
    }

    /// How old what is shown may be.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.seen)
    }

    /// What is wrong with the node's answers, if anything.
    pub(super) fn trouble(&self, now: Instant) -> Option<&str> {
        let late = self.interval.saturating_mul(2).saturating_add(LATE);
        let silent = (self.age(now) > late).then_some("the node has not answered yet");
        self.failure.as_deref().or(silent)
    }

    /// The filter of the table that keys move in.
    pub(super) fn filter(&self) -> &str {
        match self.focus {
            Focus::Members => &self.members.filter,
            Focus::Children => &self.children.filter,
        }
    }

    fn step(&mut self, by: isize) {
        match self.focus {
            Focus::Members => self.members.step(&self.snapshot.members, by),
            Focus::Children => self.children.step(&self.snapshot.children, by),
        }
    }

    fn change_filter(&mut self, change: impl FnOnce(&mut String)) {
        match self.focus {
            Focus::Members => self.members.filter(&self.snapshot.members, change),
            Focus::Children => self.children.filter(&self.snapshot.children, change),
        }
    }

    fn refresh(&mut self) {
        self.members.refresh(&self.snapshot.members);
        self.children.refresh(&self.snapshot.children);
    }
}

/// A typed character, if it is one to look at. Unlike the text around it, a blank stays.
fn clean_char(c: char) -> String {
    if c == ' ' { " ".into() } else { clean(&c.to_string()) }
}
