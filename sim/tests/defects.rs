//! A laboratory that catches nothing proves nothing: every known defect is put back into the cores, one at a time, and must
//! be caught within a stated number of seeds, by the stories that are about it and, where it shows there soon, by the
//! plain sweep. The seed that catches it holds without it.
//!
//! `cargo test --release -p ordu-sim --features defects --test defects -- --ignored --nocapture report` writes the table of
//! `docs/simulation.md`; `ORDU_SEEDS` says how many seeds each is given, `ORDU_DEFECTS` which are asked for.

use ordu_sim::draw::Options;
use ordu_sim::invariants::Violation;
use ordu_sim::scenario::{SCENARIOS, Scenario, find};
use ordu_sim::scenarios::STORIES;
use ordu_sim::script::Script;
use ordu_sim::world;
use ordu_transport::core::defects::{Defect, put_back};

/// What the plain sweep catches too, and within how many seeds.
const PLAIN: &[(Defect, u64)] = &[
    (Defect::WideContext, 5),
    (Defect::BareRemoval, 5),
    (Defect::OmittedSuperseder, 60),
    (Defect::StaleSnapshot, 40),
    (Defect::ClearedContext, 30),
    (Defect::AnswerMovesCursor, 30),
    (Defect::OriginsPileUp, 10),
    (Defect::RetireDropsDesired, 10),
    (Defect::DotReuse, 10),
    (Defect::SkewDecides, 20),
    (Defect::ClockFalls, 20),
    // Sooner only while verdicts that were set after a pause came late: the two together gave a child two copies.
    (Defect::SuspectIsDown, 400),
    (Defect::LoserLives, 5),
    (Defect::RankPerName, 20),
    (Defect::LosingClaimCounts, 60),
    (Defect::HiddenIsGone, 5),
    (Defect::FreshWins, 10),
    (Defect::FenceStays, 10),
    (Defect::NamelessChild, 5),
    (Defect::SlowInitDeadlock, 20),
    (Defect::MergesTwice, 60),
    (Defect::FailedStartStays, 30),
    (Defect::RestartRevives, 5),
];

/// What a run of this seed violates, with a defect or without.
fn violation(seed: u64, scenario: &Scenario, defect: Option<Defect>) -> Option<Violation> {
    let options = Options { nodes: 5, ops: 200, scenario: scenario.clone() };
    let script = Script::draw(seed, &options);
    // The switch is this thread's own, and the run stays on it.
    put_back(defect);
    let (outcome, _) = world::run(&script, None);
    put_back(None);
    outcome.violation
}

/// The first seed that catches a defect, and how.
fn catch(scenario: &Scenario, defect: Defect, seeds: u64) -> Option<(u64, Violation)> {
    (1..=seeds).find_map(|seed| Some((seed, violation(seed, scenario, Some(defect))?)))
}

/// The rows of a defect: scenarios, and within how many seeds each catches it.
fn rows(defect: Defect) -> Vec<(&'static Scenario, u64)> {
    let stories = STORIES.iter().flat_map(|(scenario, catches)| catches.iter().map(move |row| (scenario, row)));
    let of_stories = stories.filter(|(_, (of, _))| *of == defect).map(|(scenario, (_, seeds))| (scenario, *seeds));
    let plain = PLAIN.iter().filter(|(of, _)| *of == defect).map(|(_, seeds)| (&SCENARIOS[0], *seeds));
    of_stories.chain(plain).collect()
}

fn are_caught(defects: &[Defect]) {
    for &defect in defects {
        for (scenario, seeds) in rows(defect) {
            let caught = catch(scenario, defect, seeds);
            let (seed, found) =
                caught.unwrap_or_else(|| panic!("{defect:?} was not caught within {seeds} seeds of {}", scenario.name));
            println!("{defect:?}, {}: seed {seed}, by {}: {}", scenario.name, found.invariant, found.what);
            let healthy = violation(seed, scenario, None);
            assert_eq!(healthy, None, "seed {seed} of {} fails without {defect:?} too", scenario.name);
        }
    }
}

/// A few a test, so that all cores are busy.
fn every_eighth(from: usize) {
    are_caught(&Defect::ALL.into_iter().skip(from).step_by(8).collect::<Vec<_>>());
}

macro_rules! eighths {
    ($($name:ident: $from:expr),*) => {$(
        #[test]
        fn $name() {
            every_eighth($from);
        }
    )*};
}

eighths!(
    first_eighth: 0, second_eighth: 1, third_eighth: 2, fourth_eighth: 3,
    fifth_eighth: 4, sixth_eighth: 5, seventh_eighth: 6, last_eighth: 7
);

#[test]
fn every_defect_has_a_story() {
    for defect in Defect::ALL {
        assert!(!rows(defect).is_empty(), "nobody is to catch {defect:?}");
        assert!(rows(defect).iter().all(|(_, seeds)| *seeds <= 1_000), "{defect:?}");
    }
    for (story, _) in STORIES {
        assert!(find(&story.name).is_some(), "{} is not in the list of scenarios", story.name);
    }
}

#[test]
fn the_document_names_every_defect_and_every_scenario() {
    let document = include_str!("../../docs/simulation.md");
    let row = |start: String| document.lines().any(|line| line.starts_with(&start));
    for defect in Defect::ALL {
        assert!(row(format!("| `{defect:?}` |")), "docs/simulation.md has no row for {defect:?}");
    }
    for scenario in SCENARIOS {
        assert!(row(format!("| `{}` |", scenario.name)), "docs/simulation.md has no row for {}", scenario.name);
    }
}

/// Writes the tables of `docs/simulation.md`.
#[test]
#[ignore = "takes minutes; it reports and asserts nothing"]
#[allow(clippy::disallowed_methods, reason = "a report for whoever asks for it, no part of a core")]
fn report() {
    let seeds: u64 = std::env::var("ORDU_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    let tell = |caught: Option<(u64, Violation)>| match caught {
        Some((seed, found)) => (format!("seed {seed}"), found.invariant),
        None => (format!("not in {seeds}"), "-"),
    };
    println!("| defect | story | caught by | in its story | in the plain sweep |\n|---|---|---|---|---|");
    let only = std::env::var("ORDU_DEFECTS").unwrap_or_default();
    let wanted = |defect: &Defect| only.is_empty() || only.split(',').any(|name| name == format!("{defect:?}"));
    for defect in Defect::ALL.into_iter().filter(wanted) {
        let (plain, mut by) = tell(catch(&SCENARIOS[0], defect, seeds));
        let story = rows(defect).into_iter().map(|(scenario, _)| scenario).find(|it| it.name != SCENARIOS[0].name);
        let (mut name, mut first) = ("-", "-".to_owned());
        if let Some(story) = story {
            let (seed, found) = tell(catch(story, defect, seeds));
            (name, first) = (&story.name, seed);
            by = if found == "-" { by } else { found };
        }
        println!("| `{defect:?}` | `{name}` | {by} | {first} | {plain} |");
    }
    println!("\n| scenario | what it is about |\n|---|---|");
    for scenario in SCENARIOS {
        println!("| `{}` | {} |", scenario.name, scenario.about);
    }
}

/// Says of each story how many seeds hold, and how many catch each of its defects: `ORDU_STORIES=a,b ORDU_SEEDS=20`.
#[test]
#[ignore = "takes minutes; it reports and asserts nothing"]
#[allow(clippy::disallowed_methods, reason = "a report for whoever asks for it, no part of a core")]
fn measure() {
    let seeds: u64 = std::env::var("ORDU_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let only = std::env::var("ORDU_STORIES").unwrap_or_default();
    let wanted = |name: &str| only.is_empty() || only.split(',').any(|one| one == name);
    for (story, catches) in STORIES.iter().filter(|(story, _)| wanted(&story.name)) {
        let broken = (1..=seeds).find_map(|seed| Some((seed, violation(seed, story, None)?)));
        println!("{}: {broken:?}", story.name);
        for (defect, within) in *catches {
            let caught: Vec<_> =
                (1..=seeds).filter_map(|seed| Some((seed, violation(seed, story, Some(*defect))?))).collect();
            println!("    {defect:?}: {} of {seeds}, within {within}: {:?}", caught.len(), caught.first());
        }
    }
}
