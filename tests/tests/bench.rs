//! `ordu bench`: every piece of work is done with real nodes, its figures are there, and nothing is left behind. How fast
//! anything is, is no matter here.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::time::Duration;

use nix::sys::signal::Signal;
use ordu_tests::{Scenario, run, spawn, until};
use serde_json::Value;

/// How long the whole may take, unoptimised and on a loaded machine.
const BENCH_MAX: Duration = Duration::from_secs(600);
/// How long the nodes may take to end.
const END_MAX: Duration = Duration::from_secs(10);

/// Every piece of work with its figures, as they are promised, and which of them may be 0.
const WORKS: &[(&str, &[&str], &[&str])] = &[
    ("raw", &["rtt_p50_us", "rtt_p99_us", "mb_per_s", "hashmap_ns"], &[]),
    ("lookup", &["ns_per_lookup", "ns_per_lookup_2t", "ns_beside_writer", "ratio_to_hashmap"], &[]),
    ("register", &["accepted_per_s", "converged_per_s"], &[]),
    ("propagate", &["p50_us", "p99_us", "p999_us", "ratio_to_raw_p50"], &[]),
    ("start", &["per_s", "per_s_32", "per_s_bulk", "ratio_to_raw"], &[]),
    ("failover", &["detect_ms", "total_ms_1k", "total_ms"], &[]),
    ("heal", &["total_ms", "duplicates_left", "lost", "bytes"], &["duplicates_left", "lost"]),
    ("join", &["total_ms"], &[]),
    ("idle", &["cpu_ms_per_s", "bytes_per_s"], &[]),
    // So few names may find room in memory that is there.
    ("memory", &["bytes_per_name"], &["bytes_per_name"]),
];

/// Panics unless these works, and no others, are there with all their figures.
fn check(report: &Value, works: &[&str]) {
    let results = report["results"].as_object().expect("results are an object");
    let mut expected: Vec<&str> = works.to_vec();
    expected.sort_unstable();
    let mut found: Vec<&str> = results.keys().map(String::as_str).collect();
    found.sort_unstable();
    assert_eq!(found, expected);
    for (work, fields, may_be_0) in WORKS.iter().filter(|(work, ..)| works.contains(work)) {
        for field in *fields {
            let figure = &results[*work][*field];
            let [min, median, max] = ["min", "median", "max"]
                .map(|key| figure[key].as_f64().unwrap_or_else(|| panic!("{work}.{field}: no {key} in {figure}")));
            assert!(min.is_finite() && min <= median && median <= max && max.is_finite(), "{work}.{field}: {figure}");
            assert!(min > 0.0 || (min == 0.0 && may_be_0.contains(field)), "{work}.{field}: {figure}");
        }
    }
    let machine = &report["machine"];
    assert!(machine["cores"].as_u64().is_some_and(|cores| cores > 0), "{machine}");
    assert!(machine["cpu"].as_str().is_some() && machine["os"].as_str().is_some(), "{machine}");
    assert!(report["version"].as_str().is_some(), "{report}");
}

/// Panics unless the scenario has neither processes nor temporary files.
fn left_nothing(scenario: &Scenario) {
    until(END_MAX, "no process is left", || scenario.processes().is_empty());
    let files: Vec<_> =
        std::fs::read_dir(scenario.path().join("tmp")).unwrap().flatten().map(|file| file.path()).collect();
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn every_piece_of_work_has_its_figures() {
    let scenario = Scenario::new("bench");
    let line = "bench --nodes 3 --names 500 --children 50 --samples 20 --runs 1 --idle 1s --json";
    let words: Vec<&str> = line.split(' ').collect();
    let outcome = spawn(&scenario, None, &words).wait(BENCH_MAX);
    scenario.say(&format!("took {:?}", outcome.took));
    let report = outcome.json();
    let works: Vec<&str> = WORKS.iter().map(|(work, ..)| *work).collect();
    check(&report, &works);
    assert_eq!((&report["runs"], &report["names"]), (&1.into(), &500.into()));
    for figure in ["duplicates_left", "lost"] {
        assert_eq!(report["results"]["heal"][figure]["max"], 0, "{figure}");
    }
    left_nothing(&scenario);
}

#[test]
fn only_what_is_asked_for_is_done() {
    let scenario = Scenario::new("bench_only");
    let line = "bench --only lookup,raw --names 300 --samples 10 --runs 2 --json";
    let words: Vec<&str> = line.split(' ').collect();
    let report = run(&scenario, None, &words).json();
    check(&report, &["raw", "lookup"]);
    assert_eq!(report["runs"], 2);
    // For people there is a table.
    let words: Vec<&str> = "bench --only raw --names 300 --samples 10 --runs 1".split(' ').collect();
    let text = run(&scenario, None, &words).ok();
    assert!(text.contains("MEDIAN") && text.contains("rtt_p50_us"), "{text}");
    left_nothing(&scenario);
}

#[test]
fn bad_input_is_refused_in_one_line() {
    let scenario = Scenario::new("bench_bad");
    for (line, part) in [
        ("bench --only nonsense", "nonsense"),
        ("bench --only raw,", ""),
        ("bench --runs 0", "0"),
        ("bench --nodes 1", "1"),
        ("bench --names 0", "0"),
        ("bench --children 0", "0"),
        ("bench --samples 0", "0"),
        ("bench --idle 5", "5"),
        ("bench --idle 1ms", "1ms"),
        ("bench --frobnicate", "--frobnicate"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        run(&scenario, None, &words).fails(2, part);
    }
    left_nothing(&scenario);
}

#[test]
fn an_interrupted_bench_leaves_nothing() {
    let scenario = Scenario::new("bench_interrupted");
    let bench = spawn(&scenario, None, &["bench", "--names", "300", "--idle", "1h", "--only", "idle"]);
    until(BENCH_MAX, "its nodes are there", || scenario.processes().len() >= 4);
    bench.signal(Signal::SIGINT);
    bench.wait(END_MAX).fails(130, "interrupted");
    left_nothing(&scenario);
    // Nor one that is killed: its nodes end with it.
    let bench = spawn(&scenario, None, &["bench", "--names", "300", "--idle", "1h", "--only", "idle"]);
    until(BENCH_MAX, "its nodes are there", || scenario.processes().len() >= 4);
    bench.signal(Signal::SIGKILL);
    until(END_MAX, "no process is left", || scenario.processes().is_empty());
}
