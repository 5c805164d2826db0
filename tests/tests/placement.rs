//! Children go where the labels of nodes are that they ask for.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::time::Duration;

use ordu_tests::{Cluster, Plan, Scenario, within};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(15);

fn row(cluster: &Cluster, id: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
    within(SOON, &format!("{id} {what}"), || {
        let row = cluster.nodes[0].door.get(&format!("/v1/children/{id}"))?;
        if check(&row) { Ok(row) } else { Err(row.to_string()) }
    })
    .0
}

#[test]
fn children_run_on_nodes_of_the_labels_they_ask_for_and_wait_where_there_is_none() {
    let plan = Plan { nodes: 3, arguments: &["--label", "zone=east"], network: None };
    let mut cluster = Cluster::make(Scenario::new("placement"), &plan);
    cluster.nodes[2].kill_9();
    cluster.nodes[2].set_argument("--label", "zone=west");
    cluster.up(2);
    cluster.meet(3);
    let members = within(SOON, "all labels are known", || {
        let members = cluster.nodes[0].door.get("/v1/members")?;
        if members[2]["labels"] == json!({"zone": "west"}) { Ok(members) } else { Err(members.to_string()) }
    })
    .0;
    assert_eq!(members[0]["labels"], json!({"zone": "east"}));

    let start = |id: &str, flag: &str, label: &str| {
        cluster.ordu(0, &["start", id, flag, label, "--json", "--", "sleep", "1000"])
    };
    for number in 0..4 {
        assert_eq!(start(&format!("needs{number}"), "--require", "zone=west").json()["node"], "n3");
        assert_eq!(start(&format!("likes{number}"), "--prefer", "zone=west").json()["node"], "n3");
        assert_ne!(start(&format!("avoids{number}"), "--avoid", "zone=west").json()["node"], "n3");
    }
    start("nowhere", "--require", "zone=north").fails(1, "the label zone=north");
    cluster.ordu(0, &["show", "nowhere"]).fails(1, "nowhere");

    cluster.nodes[2].kill_9();
    let waits = row(&cluster, "needs0", "waits", |row| row["status"] == "pending");
    assert!(waits["reason"].as_str().unwrap().contains("zone=west"), "{waits}");
    row(&cluster, "likes0", "runs elsewhere", |row| row["status"] == "running" && row["node"] != "n3");
    cluster.up(2);
    row(&cluster, "needs0", "runs again", |row| row["status"] == "running" && row["node"] == "n3");
    row(&cluster, "likes0", "is back", |row| row["status"] == "running" && row["node"] == "n3");
    cluster.terminate_all();
}
