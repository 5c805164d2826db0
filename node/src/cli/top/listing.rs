//! One table's order, filter, selected row and window, over rows that change all the time.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;

use crate::rows::{Child, Member};

/// Longest filter, in characters.
const FILTER_MAX: usize = 100;

/// A row of a table.
pub(super) trait Row {
    /// What the columns are called. Rows can be sorted by each.
    const COLUMNS: &'static [&'static str];

    /// What tells the row from others, also when it has changed.
    fn key(&self) -> &str;

    /// Which of two rows comes first, by a column.
    fn compare(&self, other: &Self, column: usize) -> Ordering;

    /// The texts that a filter looks at.
    fn texts(&self) -> Vec<&str>;

    /// Its labels, at which a filter looks too.
    fn labels(&self) -> &BTreeMap<String, String>;
}

impl Row for Child {
    const COLUMNS: &'static [&'static str] = &["ID", "NODE", "STATUS", "RESTARTS", "SINCE", "REASON"];

    fn key(&self) -> &str {
        &self.id
    }

    fn compare(&self, other: &Self, column: usize) -> Ordering {
        match Self::COLUMNS[column] {
            "NODE" => self.node.cmp(&other.node),
            "STATUS" => self.status.cmp(&other.status),
            "RESTARTS" => self.restarts.cmp(&other.restarts),
            // By age, as it is shown: the newest first. The node's times sort as text.
            "SINCE" => other.since.cmp(&self.since),
            "REASON" => self.reason.cmp(&other.reason),
            _ => self.id.cmp(&other.id),
        }
    }

    fn texts(&self) -> Vec<&str> {
        let sure = [&self.id, &self.kind, &self.status].map(String::as_str);
        sure.into_iter().chain(self.node.as_deref()).chain(self.reason.as_deref()).collect()
    }

    fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }
}

impl Row for Member {
    const COLUMNS: &'static [&'static str] = &["NAME", "STATUS", "CHILDREN", "RTT", "LABELS"];

    fn key(&self) -> &str {
        &self.name
    }

    fn compare(&self, other: &Self, column: usize) -> Ordering {
        match Self::COLUMNS[column] {
            "STATUS" => self.status.cmp(&other.status),
            "CHILDREN" => self.children.cmp(&other.children),
            "RTT" => self.rtt_ms.unwrap_or(-1.0).total_cmp(&other.rtt_ms.unwrap_or(-1.0)),
            "LABELS" => self.labels.cmp(&other.labels),
            _ => self.name.cmp(&other.name),
        }
    }

    fn texts(&self) -> Vec<&str> {
        vec![&self.name, &self.addr, &self.status]
    }

    fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }
}

/// Labels as they are written.
pub(super) fn label_text(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// Which rows are shown, in which order, and which of them is selected.
#[derive(Debug, Clone, Default)]
pub(super) struct Listing {
    /// The rows that pass the filter, sorted, by their place in the answer.
    order: Vec<usize>,
    /// By which column.
    pub(super) column: usize,
    pub(super) is_reversed: bool,
    pub(super) filter: String,
    /// The selected row's key. The row stays selected wherever it goes.
    selected: Option<String>,
    /// Its place in the order; where it is gone, the row in its place is selected instead.
    cursor: usize,
    /// The place of the first row in the window.
    first: usize,
    /// How many rows the window had when it was last shown.
    height: usize,
}

impl Listing {
    /// Takes the rows as they are now.
    pub(super) fn refresh<R: Row>(&mut self, rows: &[R]) {
        let needle = self.filter.to_lowercase();
        self.order = (0..rows.len()).filter(|&at| passes(&rows[at], &needle)).collect();
        let compare = |a: &R, b: &R| a.compare(b, self.column).then_with(|| a.key().cmp(b.key()));
        self.order.sort_by(|&a, &b| compare(&rows[a], &rows[b]));
        if self.is_reversed {
            self.order.reverse();
        }
        let found = self.selected.as_ref().and_then(|key| self.order.iter().position(|&at| rows[at].key() == key));
        let was = self.cursor;
        self.cursor = found.unwrap_or(was).min(self.order.len().saturating_sub(1));
        if self.first > 0 {
            // The selected row stays at its height; but what is shown from the beginning goes on to be.
            self.first = (self.first + self.cursor).saturating_sub(was);
        }
        self.select(rows);
    }

    /// Goes so many rows down, or up, no further than to the ends.
    pub(super) fn step<R: Row>(&mut self, rows: &[R], by: isize) {
        self.cursor = self.cursor.saturating_add_signed(by).min(self.order.len().saturating_sub(1));
        self.select(rows);
    }

    /// Goes so many windows down, or up.
    pub(super) fn page<R: Row>(&mut self, rows: &[R], by: isize) {
        let height = isize::try_from(self.height).unwrap_or(isize::MAX).max(1);
        self.step(rows, by.saturating_mul(height));
    }

    /// Sorts by the column so many further, round and round.
    pub(super) fn sort<R: Row>(&mut self, rows: &[R], by: isize) {
        let count = R::COLUMNS.len();
        self.column = self.column.wrapping_add_signed(by).wrapping_add(count) % count;
        self.is_reversed = false;
        self.refresh(rows);
    }

    pub(super) fn reverse<R: Row>(&mut self, rows: &[R]) {
        self.is_reversed = !self.is_reversed;
        self.refresh(rows);
    }

    /// Changes the filter.
    pub(super) fn filter<R: Row>(&mut self, rows: &[R], change: impl FnOnce(&mut String)) {
        change(&mut self.filter);
        if let Some((end, _)) = self.filter.char_indices().nth(FILTER_MAX) {
            self.filter.truncate(end);
        }
        self.refresh(rows);
    }

    /// Fits a window of so many rows around the selected one; answers which places it shows.
    pub(super) fn show(&mut self, height: usize) -> Range<usize> {
        self.height = height;
        let lowest = (self.cursor + 1).saturating_sub(height);
        let last = self.order.len().saturating_sub(height);
        self.first = self.first.clamp(lowest, self.cursor.max(lowest)).min(last.max(lowest));
        self.first..(self.first + height).min(self.order.len()).max(self.first)
    }

    /// How many rows pass the filter.
    pub(super) fn count(&self) -> usize {
        self.order.len()
    }

    /// The row at a place.
    pub(super) fn row<'a, R>(&self, rows: &'a [R], place: usize) -> Option<&'a R> {
        rows.get(*self.order.get(place)?)
    }

    /// Whether the row at a place is the selected one.
    pub(super) fn is_selected(&self, place: usize) -> bool {
        place == self.cursor && place < self.order.len()
    }

    /// The selected row.
    pub(super) fn selected<'a, R>(&self, rows: &'a [R]) -> Option<&'a R> {
        self.row(rows, self.cursor)
    }

    fn select<R: Row>(&mut self, rows: &[R]) {
        self.selected = self.selected(rows).map(|row| row.key().to_owned());
    }
}

fn passes<R: Row>(row: &R, needle: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(needle);
    needle.is_empty()
        || row.texts().into_iter().any(has)
        || row.labels().iter().any(|(key, value)| has(&format!("{key}={value}")))
}
