//! PostgreSQL, and children that are OS processes: both sides of a cut write to one server.

use std::time::{Duration, Instant};

use ordu_tests::{Cluster, Network, Plan, Postgres, Scenario, within};
use serde_json::Value;

use crate::page::block;

const SOON: Duration = Duration::from_secs(30);
/// So many further lines of the journal show who writes.
const MANY: usize = 20;
/// Ends when it is refused.
const ENDS: &str = "ends";
/// Tries again when it is refused, under the fence that it has then.
const STAYS: &str = "stays";

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    number: usize,
    fence: String,
    writer: String,
}

impl Line {
    fn is_by(&self, node: &str) -> bool {
        self.writer.starts_with(&format!("{node}#"))
    }
}

fn journal(store: &Postgres, child: &str) -> Vec<Line> {
    let rows =
        store.query(&format!("SELECT number, fence, writer FROM journal WHERE resource = '{child}' ORDER BY number"));
    let line = |row: Vec<String>| {
        let [number, fence, writer] = row.try_into().expect("three columns");
        Line { number: number.parse().expect("a number"), fence, writer }
    };
    rows.into_iter().map(line).collect()
}

/// Waits until the journal is as it should be. Answers it.
#[track_caller]
fn written(store: &Postgres, child: &str, what: &str, is_so: impl Fn(&[Line]) -> bool) -> Vec<Line> {
    within(SOON, &format!("{child}: {what}"), || {
        let lines = journal(store, child);
        if is_so(&lines) { Ok(lines) } else { Err(format!("{} lines, at last {:?}", lines.len(), lines.last())) }
    })
    .0
}

fn start(cluster: &Cluster, store: &Postgres, id: &str, script: &str) {
    let mut arguments = vec!["start".to_owned(), id.to_owned()];
    let environment = store.environment();
    arguments.extend(environment.iter().flat_map(|(name, value)| ["--env".into(), format!("{name}={value}")]));
    arguments.extend(["--", "sh", "-c", script].map(str::to_owned));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    cluster.ordu(0, &arguments).ok();
}

fn row(cluster: &Cluster, node: &str, child: &str) -> Result<Value, String> {
    cluster.node(node).door.get(&format!("/v1/children/{child}"))
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

/// The statement for what is one row.
#[track_caller]
fn one_row(store: &Postgres) {
    let (table, put) = block("one row, one statement").split_once(';').expect("two statements");
    store.query(table);
    let (older, newer) = ("a".repeat(32), "b".repeat(32));
    let writes = [(&older, "1", "1"), (&newer, "2", "2"), (&older, "3", "2"), (&newer, "4", "4")];
    for (fence, value, expected) in writes {
        store.query(&format!("PREPARE put AS {put}; EXECUTE put('name', '{fence}', '{value}')"));
        assert_eq!(store.query("SELECT value FROM settings"), [[expected]]);
    }
}

#[test]
fn an_older_activations_writes_are_refused_through_a_cut_and_after_it() {
    let scenario = Scenario::new("fences");
    let store = match Postgres::start(&scenario) {
        Ok(store) => store,
        Err(why) => return scenario.skip(&why),
    };
    store.query(block("PostgreSQL: the tables"));
    for garbage in ["", "g", &"f".repeat(33), &"F".repeat(32), &format!("{}\n", "f".repeat(32))] {
        let stored = store.try_query(&format!("INSERT INTO fences VALUES ('x', '{garbage}')"));
        assert!(stored.is_err_and(|why| why.contains("check constraint")), "{garbage:?}");
    }
    one_row(&store);
    let network = match Network::new(&scenario, 2) {
        Ok(network) => network,
        Err(why) => return scenario.skip(&why),
    };
    let ends = block("under its fence");
    let stays = ends.replace("exit 75", "rm \"$ORDU_FENCED_FILE\"; echo refused under $seen; sleep 0.1; continue");
    assert_ne!(ends, stays);
    let mut cluster = Cluster::make(scenario, &Plan { nodes: 2, arguments: &[], network: Some(&network) });
    start(&cluster, &store, ENDS, ends);
    start(&cluster, &store, STAYS, &stays);
    let before = [ENDS, STAYS].map(|child| {
        let lines = written(&store, child, "it writes", |lines| lines.len() > 3);
        within(SOON, "both nodes show it", || {
            let rows = [row(&cluster, "n1", child)?, row(&cluster, "n2", child)?];
            if rows[0]["pid"] == rows[1]["pid"] { Ok(()) } else { Err(format!("{rows:?}")) }
        });
        assert!(lines.iter().all(|line| line.writer == lines[0].writer), "{lines:?}");
        lines.last().expect("it has written").clone()
    });
    let sides = |line: &Line| if line.is_by("n1") { ["n1", "n2"] } else { ["n2", "n1"] };

    let cut = Instant::now();
    network.isolate(2);
    // Who tries again is refused from the first write of the later activation on.
    let old = &before[1];
    let [here, there] = sides(old);
    let lines = written(&store, STAYS, "the other side writes", |lines| {
        lines.iter().filter(|line| line.is_by(there)).count() > MANY
    });
    let first = lines.iter().position(|line| line.is_by(there)).expect("it is there");
    assert!(lines[first].fence > old.fence, "{:?} after {old:?}", lines[first]);
    assert!(lines[..first].iter().all(|line| line.writer == old.writer));
    assert!(lines[first..].iter().all(|line| line.writer == lines[first].writer), "the older one wrote again");
    let holder = cluster.nodes.iter().position(|node| node.name == here).expect("a node");
    within(SOON, "it was refused, and runs", || {
        let printed = cluster.ordu(holder, &["logs", STAYS, "-n", "1"]).stdout;
        let row = row(&cluster, here, STAYS)?;
        let is_so = printed.trim() == format!("refused under {}", lines[first].fence) && row["pid"] == *old.writer;
        if is_so { Ok(()) } else { Err(format!("{printed}: {row}")) }
    });
    // Who ends comes back above the other one, again and again.
    let [mine, other] = sides(&before[0]);
    let from = before[0].number;
    written(&store, ENDS, "they take turns", |lines| {
        let turns: Vec<bool> =
            lines[from..].chunk_by(|one, next| one.writer == next.writer).map(|turn| turn[0].is_by(mine)).collect();
        turns.iter().filter(|&&is_mine| is_mine).count() >= 2 && turns.iter().filter(|&&is_mine| !is_mine).count() >= 2
    });
    let fenced = |node: &str| {
        let told = cluster.events.since(cut, "child_exited").into_iter();
        let mut told = told.filter(|event| event.from == node && event.field("child") == ENDS);
        told.any(|event| event.field("reason").starts_with("fenced: "))
    };
    for node in [mine, other] {
        within(SOON, "it says that it was refused", || if fenced(node) { Ok(()) } else { Err(node.to_owned()) });
    }

    let so_far = [ENDS, STAYS].map(|child| journal(&store, child).len());
    network.heal();
    for (child, so_far) in [ENDS, STAYS].into_iter().zip(so_far) {
        // One may still be moved where it belongs.
        let what = format!("one copy of {child} is left, and writes under its fence");
        let ((left, lines), _) = within(SOON, &what, || {
            cluster.converged()?;
            let rows = [row(&cluster, "n1", child)?, row(&cluster, "n2", child)?];
            let is_one = rows[0] == rows[1] && rows[0]["status"] == "running";
            let lines = journal(&store, child);
            let last = &lines[lines.len().saturating_sub(MANY).max(so_far)..];
            let is_left = |line: &Line| line.writer == text(&rows[0], "pid") && line.fence == text(&rows[0], "fence");
            match is_one && last.len() == MANY && last.iter().all(is_left) {
                true => Ok((rows[0].clone(), lines.clone())),
                false => Err(format!("{rows:?}, {:?}", lines.last())),
            }
        });
        for (line, number) in lines.iter().zip(1..) {
            assert_eq!(line.number, number, "{line:?}");
        }
        for pair in lines.windows(2) {
            assert!(pair[0].fence <= pair[1].fence, "{pair:?}");
        }
        cluster.scenario.say(&format!("{child}: {} lines, none lost, none under an older fence", lines.len()));
        if child == STAYS {
            // The one that began first, and was never restarted: its fence was raised.
            assert_eq!((&left["pid"], &left["restarts"]), (&old.writer.as_str().into(), &0.into()), "{left}");
            assert!(text(&left, "fence") > lines[first].fence.as_str(), "{left}");
        }
    }
    cluster.terminate_all();
    drop(store);
}
