//! Real nodes, and programs that say under which fence they were refused: true words, nonsense, and those of the far future.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::unistd::geteuid;
use ordu_tests::{Cluster, Scenario, within};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
/// A fence that was given so much later than now.
fn ahead(by: Duration) -> String {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later") + by;
    format!("{:016x}{:016x}", u64::try_from(at.as_millis()).expect("a time") << 16, 9)
}

/// Waits until the row of a child is as it should be.
#[track_caller]
fn row(cluster: &Cluster, child: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    within(SOON, &format!("{child}: {what}"), || {
        let row = cluster.nodes[0].door.get(&format!("/v1/children/{child}"))?;
        if is_so(&row) { Ok(row) } else { Err(row.to_string()) }
    })
    .0
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

#[test]
fn a_program_that_is_refused_comes_back_with_a_higher_fence() {
    let mut cluster = Cluster::start(Scenario::new("refused"), 1);
    let mut starts = vec![vec!["start", "own"]];
    if geteuid().is_root() {
        starts.push(vec!["start", "nobodys", "--user", "nobody"]);
    } else {
        cluster.scenario.say("skipped: a child of another user, for this is not root");
    }
    for (start, minutes) in starts.iter().zip([5, 7]) {
        // What a store has seen of a node whose clock is ahead; whose fence sorts first is refused.
        let seen = ahead(Duration::from_secs(60 * minutes));
        let script = format!(
            "last=$(printf '%s\\n' $ORDU_FENCE {seen} | LC_ALL=C sort | tail -n 1)
             [ $last = $ORDU_FENCE ] || {{ echo {seen} > $ORDU_FENCED_FILE; exit 75; }}
             echo $ORDU_FENCE; exec sleep 1000"
        );
        let child = start[1];
        cluster.ordu(0, &[start, &["--", "sh", "-c", &script][..]].concat()).ok();
        let is_above = |row: &Value| row["status"] == "running" && text(row, "fence") > &*seen;
        let row = row(&cluster, child, "it is accepted", is_above);
        assert_eq!(row["restarts"], 1, "{row}");
        assert_eq!(text(&row, "reason"), format!("fenced: its write was refused under the later fence {seen}"));
        let (printed, _) = within(SOON, "it prints its fence", || {
            let printed = cluster.ordu(0, &["logs", child, "-n", "1"]).stdout;
            if printed.is_empty() { Err("nothing yet") } else { Ok(printed) }
        });
        assert_eq!(printed.trim(), text(&row, "fence"));
        for kind in ["child_starting", "child_running"] {
            let of_child = || cluster.events.of(kind).into_iter().filter(|event| event.field("child") == child);
            within(SOON, "an event tells of it", || match of_child().next_back() {
                Some(event) if event.field("fence") == text(&row, "fence") => Ok(()),
                event => Err(format!("{kind}: {event:?}")),
            });
        }
    }
    cluster.terminate_all();
}

#[test]
fn nonsense_and_the_far_future_are_refused_visibly() {
    let mut cluster = Cluster::start(Scenario::new("refused-nonsense"), 1);
    let far = ahead(Duration::from_secs(3_600));
    let follows = "more than 600s ahead of this node's clock: set the clocks right";
    let refused = |seen: &str| format!("fenced: its write was refused under the later fence {seen}, {follows}");
    let farthest = "f".repeat(32);
    let wrong = "exit status 75; what it wrote to the file of ORDU_FENCED_FILE";
    let cases = [
        ("far", format!("echo {far} > $ORDU_FENCED_FILE"), refused(&far)),
        ("farthest", format!("echo {farthest} > $ORDU_FENCED_FILE"), refused(&farthest)),
        (
            "garbage",
            "head -c 40 /dev/urandom > $ORDU_FENCED_FILE".into(),
            format!("{wrong} is none: a fence is 32 digits of 0-9 and a-f"),
        ),
        (
            "enormous",
            "truncate -s 1T $ORDU_FENCED_FILE || head -c 1000000 /dev/zero > $ORDU_FENCED_FILE".into(),
            format!("{wrong} is longer than 64 bytes"),
        ),
        ("linked", "ln -s /dev/zero $ORDU_FENCED_FILE".into(), format!("{wrong} cannot be read: ")),
    ];
    for (child, script, reason) in &cases {
        cluster.ordu(0, &["start", child, "--", "sh", "-c", &format!("{script}; exit 75")]).ok();
        let is_so = |row: &Value| text(row, "reason").starts_with(reason) && row["restarts"].as_u64() > Some(0);
        row(&cluster, child, reason, is_so);
        cluster.ordu(0, &["stop", child]).ok();
    }
    // Nothing of it is followed: who starts now is not ahead of the clock.
    cluster.ordu(0, &["start", "after", "--", "sleep", "1000"]).ok();
    let after = row(&cluster, "after", "it runs", |row| row["status"] == "running");
    assert!(text(&after, "fence") < &*ahead(Duration::from_secs(60)), "{after}");
    within(SOON, "the log tells of it", || {
        let log = cluster.nodes[0].log_tail(200);
        if log.contains("too far ahead of our clock") { Ok(()) } else { Err(log) }
    });
    cluster.terminate_all();
}
