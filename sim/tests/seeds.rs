//! Past failures hold, and a seed is the same everywhere: `seeds.txt` and `digests.txt` beside the sources.

use ordu_sim::draw::Options;
use ordu_sim::file;
use ordu_sim::scenario;
use ordu_sim::sweep::{digest_of, sweep};

/// The lines that say something, each without its comment.
fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or("").split_whitespace().collect())
        .filter(|words: &Vec<_>| !words.is_empty())
}

fn options(name: &str, nodes: &str, ops: &str) -> Options {
    let scenario = match name.strip_suffix(".toml") {
        None => scenario::find(name).unwrap_or_else(|| panic!("there is no scenario {name}")).clone(),
        Some(_) => {
            let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            file::read(name, &text).unwrap_or_else(|error| panic!("{path}: {error}"))
        }
    };
    Options { nodes: nodes.parse().expect("nodes"), ops: ops.parse().expect("ops"), scenario }
}

#[test]
fn past_failures_hold() {
    let mut ran = 0;
    for words in lines(include_str!("../seeds.txt")) {
        let [name, nodes, ops, seed] = words[..] else { panic!("{words:?} is not: scenario nodes ops seed") };
        let done = sweep(seed.parse().expect("a seed"), 1, &options(name, nodes, ops), 1, false, |_| {});
        assert_eq!(done[0].outcome.violation, None, "{words:?}");
        ran += 1;
    }
    println!("{ran} past failures hold");
}

#[test]
fn digests_are_the_committed_ones() {
    let mut changed = Vec::new();
    for words in lines(include_str!("../digests.txt")) {
        let [name, nodes, ops, first, seeds, digest] = words[..] else {
            panic!("{words:?} is not: scenario nodes ops first seeds digest")
        };
        let (first, seeds) = (first.parse().expect("a seed"), seeds.parse().expect("a number"));
        let ran = sweep(first, seeds, &options(name, nodes, ops), 2, false, |_| {});
        let now = format!("{:016x}", digest_of(&ran));
        if now != digest {
            changed.push(format!("{name} {nodes} {ops} {first} {seeds} {now}"));
        }
    }
    assert!(
        changed.is_empty(),
        "runs differ from those of sim/digests.txt; if a protocol or the simulator was changed on purpose, write this \
         there, with a line on why:\n{}",
        changed.join("\n")
    );
}
