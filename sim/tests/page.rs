//! The page of a run: what it holds agrees with the run, no text in it can break it, and a browser shows it without errors.

use std::path::Path;
use std::process::Command;

use ordu_sim::draw::Options;
use ordu_sim::page::{Header, render};
use ordu_sim::record::notes::{ChildNote, Notes, Span};
use ordu_sim::scenario::SCENARIOS;
use ordu_sim::script::Script;
use ordu_sim::world::{Outcome, RunOutputs, run, run_recorded};
use serde_json::Value;

const CHROMIUM: &str = "/usr/bin/chromium";

fn script(seed: u64, nodes: usize, ops: usize) -> Script {
    Script::draw(seed, &Options { nodes, ops, scenario: SCENARIOS[0].clone() })
}

fn recorded(script: &Script) -> (Outcome, Notes) {
    let (outcome, written, notes) = run_recorded(script, RunOutputs { trace: None, record: true });
    written.expect("nothing was written");
    (outcome, notes.expect("notes were asked for"))
}

fn page_of(script: &Script, outcome: &Outcome, notes: &Notes) -> String {
    render(&Header::new(outcome, script, "all", "ordu-sim replay"), notes)
}

fn page(script: &Script) -> String {
    let (outcome, notes) = recorded(script);
    page_of(script, &outcome, &notes)
}

/// The data in a page, as a browser would find them: up to the first end of a script element.
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once(r#"<script type="application/json" id="run">"#).expect("the data are there");
    let (json, _) = rest.split_once("</script").expect("they end");
    serde_json::from_str(json).expect("they are JSON")
}

fn spans(value: &Value, found: &mut Vec<(u64, u64)>) {
    match value {
        Value::Object(fields) => {
            if let (Some(from), Some(until)) = (fields.get("from"), fields.get("until")) {
                found.push((from.as_u64().expect("a time"), until.as_u64().expect("a time")));
            }
            fields.values().for_each(|value| spans(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| spans(value, found)),
        _ => {}
    }
}

#[test]
fn pages_hold_what_happened() {
    for seed in 1..=8 {
        let script = script(seed, 5, 120);
        let (outcome, notes) = recorded(&script);
        let run = data(&page_of(&script, &outcome, &notes));
        let names: Vec<_> = notes.lanes.iter().take(5).map(|lane| lane.name.as_str()).collect();
        assert_eq!(names, ["n0", "n1", "n2", "n3", "n4"]);
        assert_eq!(run["lanes"].as_array().map(Vec::len), Some(notes.lanes.len()));
        assert_eq!(run["header"]["seed"], Value::String(seed.to_string()));
        let end = run["end_us"].as_u64().expect("an end");
        let mut found = Vec::new();
        spans(&run, &mut found);
        assert!(found.len() > 5, "seed {seed} has spans");
        assert!(
            found.iter().all(|(from, until)| from <= until && *until <= end),
            "seed {seed}: a span is out of order"
        );
        for message in &notes.messages {
            assert!(message.received.is_none_or(|received| message.sent <= received), "seed {seed}: {message:?}");
            assert!(message.from != message.to && message.text < notes.texts.len(), "seed {seed}: {message:?}");
        }
        assert!(notes.messages.iter().any(|message| message.received.is_some()), "seed {seed}: no message came");
        for lane in &notes.lanes {
            assert!(
                lane.lives.windows(2).all(|pair| pair[0].at.until <= pair[1].at.from),
                "seed {seed}: lives overlap"
            );
        }
        for child in &notes.children {
            let moments = [child.runs, child.stop, child.told.as_ref().map(|told| told.at)];
            let inside = |moment: &u64| child.at.from <= *moment && *moment <= child.at.until;
            assert!(moments.iter().flatten().all(inside), "seed {seed}: {child:?}");
        }
        assert!(notes.heal_us.is_some_and(|heal| heal < end), "seed {seed} healed");
    }
}

#[test]
fn pages_are_the_same_each_time_and_recording_changes_nothing() {
    let script = script(3, 5, 80);
    assert_eq!(page(&script), page(&script));
    let (recorded, _) = recorded(&script);
    let (plain, _) = run(&script, None);
    assert_eq!(recorded.digest, plain.digest);
}

#[test]
fn no_text_can_break_a_page() {
    let script = script(1, 3, 10);
    let (outcome, mut notes) = recorded(&script);
    let hostile = r#"</script><script>throw 1</script><!-- <script> "'\ & </style> @@RUN@@"#;
    notes.lanes[0].name = hostile.into();
    notes.children.push(ChildNote {
        id: hostile.into(),
        pid: hostile.into(),
        node: 0,
        spec: hostile.into(),
        at: Span { from: 0, until: 1 },
        runs: None,
        stop: None,
        told: None,
        exit: Some(hostile.into()),
    });
    let whole = render(&Header::new(&outcome, &script, hostile, hostile), &notes);
    let run = data(&whole);
    assert_eq!(run["lanes"][0]["name"], Value::String(hostile.into()));
    assert_eq!(whole.matches("</script").count(), 3, "three script elements end");
    assert_eq!(whole.matches("throw 1</script").count(), 0);
    assert!(!whole.contains("://"), "nothing is fetched");
    assert_shown(&whole, notes.lanes.len(), "hostile");
}

#[test]
fn a_browser_shows_the_page_without_errors() {
    for (nodes, ops) in [(5, 200), (1, 20)] {
        let script = script(2, nodes, ops);
        let (outcome, notes) = recorded(&script);
        assert_shown(&page_of(&script, &outcome, &notes), notes.lanes.len(), &format!("nodes-{nodes}"));
    }
}

/// Has Chromium open the page, where there is one, and reads what the page says of itself.
fn assert_shown(page: &str, lanes: usize, name: &str) {
    if !Path::new(CHROMIUM).exists() {
        println!("skipped: there is no {CHROMIUM} to show the page");
        return;
    }
    let dir = std::env::temp_dir().join(format!("ordu-sim-page-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let file = dir.join("run.html");
    std::fs::write(&file, page).expect("the page is written");
    let shown = Command::new(CHROMIUM)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--window-size=1600,1000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .arg(format!("file:{}", file.display()))
        .output()
        .expect("chromium runs");
    let dom = String::from_utf8_lossy(&shown.stdout);
    let status = dom.split_once("<output id=\"status\"").and_then(|(_, rest)| rest.split_once("</output>"));
    let status = status.map_or("nothing", |(status, _)| status);
    assert!(status.contains(&format!("rendered {lanes} lanes, 0 errors")), "{name}: the page says {status}");
    // Left behind only where the page was not shown.
    let _ = std::fs::remove_dir_all(&dir);
}

/// Writes pages of runs with known defects put back, to be looked at: `ORDU_PAGES=DIR ORDU_DEFECTS=LoserLives,NameDuel
/// cargo test --release -p ordu-sim --features defects --test page -- --ignored --nocapture`.
#[cfg(feature = "defects")]
#[test]
#[ignore = "takes minutes; for people who want to look at a violation"]
#[allow(clippy::disallowed_methods, reason = "a page for whoever asks for it, no part of a core")]
fn pages_of_defects() {
    use ordu_transport::core::defects::{Defect, put_back};

    let dir = std::env::var("ORDU_PAGES").map_or_else(|_| std::env::temp_dir(), Into::into);
    let wanted = std::env::var("ORDU_DEFECTS").unwrap_or_else(|_| "LoserLives".into());
    for defect in Defect::ALL.into_iter().filter(|defect| wanted.split(',').any(|name| name == format!("{defect:?}"))) {
        let caught = (1..=300).find_map(|seed| {
            let script = script(seed, 5, 200);
            put_back(Some(defect));
            let (outcome, notes) = recorded(&script);
            put_back(None);
            outcome.violation.is_some().then_some((script, outcome, notes))
        });
        let Some((script, outcome, notes)) = caught else {
            println!("{defect:?} was not caught");
            continue;
        };
        let file = dir.join(format!("{defect:?}.html"));
        let whole = page_of(&script, &outcome, &notes);
        assert_eq!(data(&whole)["violation"]["invariant"], outcome.violation.map_or("", |found| found.invariant));
        std::fs::write(&file, &whole).expect("the page is written");
        println!("{}", file.display());
        assert_shown(&whole, notes.lanes.len(), &format!("{defect:?}"));
    }
}
