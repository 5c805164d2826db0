//! What is printed in the end: a table for people, or one object of JSON.

use serde::Serialize;

use super::Settings;
use super::figures::{Results, rounded};
use super::machine::Machine;
use crate::cli::{Table, print, print_line};
use crate::failure::Failure;

/// How the binary was compiled, which figures depend on as much as on the machine.
const BUILD: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

#[derive(Serialize)]
struct Report<'a> {
    machine: Machine,
    version: &'static str,
    build: &'static str,
    runs: u32,
    nodes: usize,
    names: u32,
    children: u32,
    samples: u32,
    results: &'a Results,
}

/// Prints what was measured.
///
/// # Errors
/// If standard output cannot be written.
pub(super) fn print_results(settings: &Settings, results: &Results) -> Result<(), Failure> {
    let report = Report {
        machine: Machine::here(),
        version: env!("CARGO_PKG_VERSION"),
        build: BUILD,
        runs: settings.runs,
        nodes: settings.nodes,
        names: settings.names,
        children: settings.children,
        samples: settings.samples,
        results,
    };
    if settings.json {
        let text = serde_json::to_string(&report).map_err(|error| Failure::usage(error.to_string()))?;
        return print_line(&text);
    }
    let Machine { cores, cpu, os } = &report.machine;
    print(&format!(
        "ordu {} ({BUILD}) on {cores} cores, {cpu}, {os}\n\
         {} nodes, {} names, {} children, {} samples, runs: {}\n\n",
        report.version, report.nodes, report.names, report.children, report.samples, report.runs
    ))?;
    let mut table = Table::new(&["WORK", "FIGURE", "MIN", "MEDIAN", "MAX"]);
    for (work, field, summary) in results.summaries() {
        let [min, median, max] = [summary.min, summary.median, summary.max].map(|value| rounded(value).to_string());
        table.row(vec![work.to_owned(), field.to_owned(), min, median, max]);
    }
    table.print()
}
