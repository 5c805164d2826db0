//! Children as a file declares them: what `ordu apply` shows, starts, replaces, stops and leaves alone.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ordu_tests::{Cluster, Scenario, until};
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);

/// Writes a file and answers its path.
fn write(cluster: &Cluster, name: &str, text: &str) -> PathBuf {
    let path = cluster.scenario.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Applies a file by a node.
fn apply(cluster: &Cluster, index: usize, file: &str, options: &[&str]) -> ordu_tests::Outcome {
    let path = cluster.scenario.path().join(file).to_string_lossy().into_owned();
    cluster.ordu(index, &[&["apply", &path], options].concat())
}

/// The process of each child that is desired, as a node shows it.
fn pids(cluster: &Cluster, index: usize) -> BTreeMap<String, String> {
    let rows = cluster.nodes[index].get("/v1/children");
    let rows = rows.as_array().unwrap().iter().filter(|row| row["status"] != "done");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    rows.map(|row| (text(&row["id"]), text(&row["pid"]))).collect()
}

/// Waits until a node shows what another does.
fn agree(cluster: &Cluster, on: usize, with: usize) {
    until(SOON, "they show the same", || pids(cluster, on) == pids(cluster, with));
}

#[test]
fn a_file_is_applied_again_and_again() {
    let mut cluster = Cluster::start(Scenario::new("apply"), 3);
    cluster.ordu(0, &["start", "by-hand", "--label", "team=a", "--", "sleep", "1000"]).ok();
    let other = "[children.theirs]\ncmd = [\"sleep\", \"1000\"]\n";
    write(&cluster, "other.toml", other);
    assert!(apply(&cluster, 0, "other.toml", &[]).ok().starts_with("+ theirs\n1 to start, 0 to replace"));
    let first = r#"
        [children.web]
        cmd = ["sleep", "1000"]
        [children.mailer]
        cmd = ["sh", "-c", "echo queue $QUEUE; exec sleep 1000"]
        env = { QUEUE = "mail" }
        labels = { team = "b" }
        [children.old]
        cmd = ["sleep", "1000"]
        restart = "transient"
    "#;
    write(&cluster, "shop.toml", first);

    // Shown, and not done.
    let before = pids(&cluster, 0);
    let shown = "+ mailer\n+ old\n+ web\n3 to start, 0 to replace, 0 to stop, 0 as declared; nothing is changed\n";
    assert_eq!(apply(&cluster, 0, "shop.toml", &["--dry-run"]).ok(), shown);
    assert_eq!(pids(&cluster, 0), before);

    let said = apply(&cluster, 0, "shop.toml", &[]).ok();
    let shown = shown.replace("; nothing is changed", "");
    assert!(said.starts_with(&shown) && said.contains("\nstarted web on n"), "{said}");
    let row = cluster.nodes[0].get("/v1/children/mailer");
    assert_eq!(row["labels"], json!({"ordu.apply": "shop", "team": "b"}));
    assert_eq!(cluster.nodes[0].get("/v1/children/by-hand")["labels"], json!({"team": "a"}));
    let running = pids(&cluster, 0);
    assert_eq!(running.keys().collect::<Vec<_>>(), ["by-hand", "mailer", "old", "theirs", "web"]);

    // Again, by another node: there is nothing to do.
    agree(&cluster, 1, 0);
    let done = apply(&cluster, 1, "shop.toml", &["--prune", "--json"]).json();
    let same = json!({"name": "shop", "dry_run": false, "start": [], "replace": [], "stop": [], "unchanged": ["mailer", "old", "web"]});
    assert_eq!(done, same);
    assert_eq!(pids(&cluster, 1), running);

    // One changed, one added, one left out: only these are touched, and the last only with --prune.
    let second = first.replace("QUEUE = \"mail\"", "QUEUE = \"post\"").replace("[children.old]", "[children.new]");
    write(&cluster, "shop.toml", &second);
    let said = apply(&cluster, 2, "shop.toml", &[]).ok();
    let shown = "~ mailer (env.QUEUE: mail -> post)\n+ new\n1 to start, 1 to replace, 0 to stop, 1 as declared\n";
    assert!(said.starts_with(shown), "{said}");
    let changed = pids(&cluster, 2);
    assert_ne!(changed["mailer"], running["mailer"]);
    for id in ["by-hand", "old", "theirs", "web"] {
        assert_eq!(changed[id], running[id], "{id} goes on");
    }
    until(SOON, "the new one runs as declared", || {
        cluster.ordu(2, &["logs", "mailer", "-n", "1"]).ok() == "queue post\n"
    });
    agree(&cluster, 0, 2);
    let pruned = apply(&cluster, 0, "shop.toml", &["--prune"]).ok();
    assert_eq!(pruned, "- old\n0 to start, 0 to replace, 1 to stop, 3 as declared\nstopped old\n");
    assert_eq!(pids(&cluster, 0).keys().collect::<Vec<_>>(), ["by-hand", "mailer", "new", "theirs", "web"]);

    // What was started by hand is taken over where a file declares it; what another file started is not.
    write(&cluster, "hand.toml", "[children.by-hand]\ncmd = [\"sleep\", \"1000\"]\nlabels = { team = \"a\" }\n");
    let said = apply(&cluster, 0, "hand.toml", &["--dry-run"]).ok();
    assert!(said.starts_with("~ by-hand (labels.ordu.apply: none -> hand)\n"), "{said}");
    write(&cluster, "thief.toml", other);
    apply(&cluster, 0, "thief.toml", &["--prune"]).fails(1, "theirs was started by the file other");
    // A file that declares nothing stops what it started, and nothing else.
    write(&cluster, "shop.toml", "[children]\n");
    let done = apply(&cluster, 0, "shop.toml", &["--prune", "--json"]).json();
    assert_eq!(done["stop"], json!(["mailer", "new", "web"]));
    assert_eq!(pids(&cluster, 0).keys().collect::<Vec<_>>(), ["by-hand", "theirs"]);
    cluster.terminate_all();
}

#[test]
fn a_bad_file_changes_nothing_and_a_bad_child_is_told() {
    let mut cluster = Cluster::start(Scenario::new("apply_bad"), 1);
    let good = "[children.a]\ncmd = [\"sleep\", \"1000\"]\n";
    for (text, part) in [
        (format!("{good}[children.b]\ncmd = []\n"), "line 3, column 11: children.b: cmd names no program"),
        (format!("{good}[children.a]\ncmd = [\"true\"]\n"), "line 3, column"),
        (format!("{good}color = 1\n"), "line 3, column 1: unknown field `color`"),
        (format!("{good}{}", "# long\n".repeat(200_000)), "longer than 1048576 bytes"),
        ("nonsense".to_owned(), "line 1"),
        (String::new(), "missing field `children`"),
    ] {
        write(&cluster, "bad.toml", &text);
        apply(&cluster, 0, "bad.toml", &["--prune"]).fails(2, part);
        assert_eq!(cluster.nodes[0].get("/v1/children"), json!([]), "{part}");
    }
    std::fs::write(cluster.scenario.path().join("binary.toml"), [0xff, 0xfe]).unwrap();
    apply(&cluster, 0, "binary.toml", &[]).fails(2, "binary.toml: it cannot be read");
    apply(&cluster, 0, "no-such.toml", &[]).fails(2, "no-such.toml: it cannot be read");
    write(&cluster, "two words.toml", good);
    apply(&cluster, 0, "two words.toml", &[]).fails(2, "begin it with name");
    // What cannot run is found out where it is to run: what was done before stays, and is said.
    write(&cluster, "shop.toml", &format!("{good}[children.b]\ncmd = [\"no-such-program\"]\n"));
    let failed = apply(&cluster, 0, "shop.toml", &[]);
    failed.fails(1, "1 of 2 done, then start b: command not found: no-such-program");
    write(&cluster, "shop.toml", &good.replace("sleep", "no-such-program"));
    apply(&cluster, 0, "shop.toml", &[]).fails(1, "replace a: it was stopped for its new start: command not found");
    until(SOON, "nothing is kept", || pids(&cluster, 0).is_empty());
    cluster.terminate_all();
}
