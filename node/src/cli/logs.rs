//! `ordu logs`: what a child printed, from whichever node runs it.

use clap::Args;

use super::children::parse_id;
use super::client::{Client, Connect};
use super::table::{print_bytes, print_line};
use crate::failure::Failure;
use crate::logs::{LINES_DEFAULT, LINES_MAX};

/// Longest line that `--json` prints in one piece, in bytes.
const LINE_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The child's name
    #[arg(value_parser = parse_id)]
    id: String,
    /// Go on with what it prints, wherever it goes, until it has ended
    #[arg(short, long)]
    follow: bool,
    /// Begin with so many of its newest lines
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = LINES_DEFAULT,
        value_parser = clap::value_parser!(u64).range(..=LINES_MAX))]
    lines: u64,
    #[command(flatten)]
    connect: Connect,
}

impl Logs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let Self { id, follow, lines, connect } = self;
        let path = format!("/v1/children/{id}/logs?follow={follow}&lines={lines}");
        let mut json_lines = Lines::default();
        let mut show = || -> Result<(), Failure> {
            Client::new(&connect)?.bytes(&path, follow, |bytes| match connect.json {
                false => print_bytes(bytes),
                true => json_lines.take(bytes),
            })?;
            json_lines.end()
        };
        show().map_err(|failure| failure.context(format!("logs {id}")))
    }
}

/// Bytes as they come, printed as a JSON object a line.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.begun.len() >= LINE_BYTES_MAX {
                self.end()?;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        if self.begun.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&self.begun);
        let line = serde_json::json!({"line": text.strip_suffix('\n').unwrap_or(&text)}).to_string();
        self.begun.clear();
        print_line(&line)
    }
}
