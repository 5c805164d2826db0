//! Tables and sentences for people: aligned plain text, colour only on a terminal.

use std::io::{self, IsTerminal, Write};

use crate::failure::{Failure, one_line};

/// What a cell's text means, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Busy,
    Bad,
    Plain,
}

/// Rows under a heading, each column as wide as its widest cell.
pub(crate) struct Table {
    heading: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heading: &'static [&'static str]) -> Self {
        Self { heading, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| one_line(cell)).collect());
    }

    pub(crate) fn print(&self) -> Result<(), Failure> {
        print(&self.render(io::stdout().is_terminal() && wants_colour()))
    }

    fn render(&self, is_coloured: bool) -> String {
        let heading: Vec<String> = self.heading.iter().map(|&cell| cell.to_owned()).collect();
        let every = || std::iter::once(&heading).chain(&self.rows);
        let width = |column: usize| every().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
        let widths: Vec<usize> = (0..heading.len()).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for (index, row) in every().enumerate() {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let padding = widths.get(column).map_or(0, |width| width + 2 - cell.chars().count());
                let is_status = index > 0 && self.heading.get(column) == Some(&"STATUS");
                match if is_status && is_coloured { tone(cell) } else { Tone::Plain } {
                    Tone::Good => line.push_str(&format!("\x1b[32m{cell}\x1b[0m")),
                    Tone::Busy => line.push_str(&format!("\x1b[33m{cell}\x1b[0m")),
                    Tone::Bad => line.push_str(&format!("\x1b[31m{cell}\x1b[0m")),
                    Tone::Plain => line.push_str(cell),
                }
                line.extend(std::iter::repeat_n(' ', padding));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Whether people here want colours, on a terminal.
pub(super) fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// What a status means.
pub(super) fn tone(status: &str) -> Tone {
    match status {
        "up" | "running" => Tone::Good,
        "suspect" | "draining" | "pending" | "starting" | "stopping" | "moving" | "backoff" => Tone::Busy,
        "down" | "quarantined" | "suspended" => Tone::Bad,
        _ if status.ends_with(", cordoned") || status.ends_with(", full") => Tone::Busy,
        _ => Tone::Plain,
    }
}

/// A cell for what may be absent.
pub(crate) fn or_dash(cell: Option<impl ToString>) -> String {
    cell.map_or_else(|| "-".into(), |cell| cell.to_string())
}

/// How long ago an RFC 3339 time was, as `12s`, `5m`, `3h`, `2d`.
pub(crate) fn age(time: &str) -> String {
    age_at(time, jiff::Timestamp::now())
}

/// How long before now an RFC 3339 time was.
pub(super) fn age_at(time: &str, now: jiff::Timestamp) -> String {
    let Ok(time) = time.parse::<jiff::Timestamp>() else { return time.to_owned() };
    let seconds = now.duration_since(time).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Writes to standard output. A reader that has gone away is the end of the command, and no failure of it.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// The same for what may be no text.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::usage(format!("cannot write to standard output: {error}"))),
    }
}

/// Writes one line to standard output.
pub(crate) fn print_line(line: &str) -> Result<(), Failure> {
    print(&format!("{line}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_only_statuses_coloured() {
        let mut table = Table::new(&["ID", "STATUS", "REASON"]);
        table.row(vec!["a".into(), "running".into(), "-".into()]);
        table.row(vec!["longer".into(), "down".into(), "two\nlines".into()]);
        assert_eq!(table.render(false), "ID      STATUS   REASON\na       running  -\nlonger  down     two lines\n");
        let coloured = table.render(true);
        assert!(coloured.contains("\x1b[32mrunning\x1b[0m  -\n"), "{coloured:?}");
        assert!(coloured.contains("\x1b[31mdown\x1b[0m     two lines\n"), "{coloured:?}");
    }

    #[test]
    fn ages_are_short() {
        let before = |seconds: i64| (jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds)).to_string();
        assert_eq!(age(&before(5)), "5s");
        assert_eq!(age(&before(125)), "2m");
        assert_eq!(age(&before(3 * 86_400)), "3d");
        assert_eq!(age(&before(-10)), "0s");
        assert_eq!(age("soon"), "soon");
    }
}
