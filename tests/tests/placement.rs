//! Children go where the labels of nodes are that they ask for, where fewest are, and apart from others.

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

#[test]
fn children_go_where_fewest_are_and_keep_apart() {
    let plan = Plan { nodes: 3, arguments: &["--label", "zone=east"], network: None };
    let mut cluster = Cluster::make(Scenario::new("apart"), &plan);
    cluster.nodes[2].kill_9();
    cluster.nodes[2].set_argument("--label", "zone=west");
    cluster.up(2);
    cluster.meet(3);
    within(SOON, "all labels are known", || {
        let members = cluster.nodes[0].door.get("/v1/members")?;
        if members[2]["labels"] == json!({"zone": "west"}) { Ok(()) } else { Err(members.to_string()) }
    });

    let start = |at: usize, id: &str, flags: &[&str]| {
        let command = [&["start", id], flags, &["--json", "--", "sleep", "1000"]].concat();
        cluster.ordu(at, &command).json()["node"].as_str().unwrap().to_owned()
    };
    let loaded: Vec<String> =
        (0..9).map(|number| start(number % 3, &format!("least{number}"), &["--placement", "least-loaded"])).collect();
    for node in ["n1", "n2", "n3"] {
        assert_eq!(loaded.iter().filter(|at| *at == node).count(), 3, "{loaded:?}");
    }
    let alone = ["--label", "app=web", "--apart", "app=web"];
    let mut apart: Vec<String> = (0..3).map(|number| start(number, &format!("web{number}"), &alone)).collect();
    apart.sort();
    assert_eq!(apart, ["n1", "n2", "n3"]);
    // Two zones, and two children of which each is in one.
    let spread = ["--label", "app=db", "--spread", "app=db@zone"];
    let zones = [start(0, "db0", &spread), start(1, "db1", &spread)];
    assert_eq!(zones.iter().filter(|at| *at == "n3").count(), 1, "{zones:?}");

    let told = cluster.ordu(1, &["explain", "web0", "--json"]).json();
    assert_eq!((&told["placement"], &told["apart_from"]), (&json!("apart"), &json!("app=web")), "{told}");
    assert_eq!(told["moves"], json!(false), "{told}");
    assert_eq!((&told["eligible"], &told["ineligible"]), (&json!(1), &json!(2)), "{told}");

    // One has nowhere to go while its node is away.
    let third = (0..3)
        .map(|number| format!("web{number}"))
        .find(|id| cluster.ordu(0, &["show", id, "--json"]).json()["node"] == "n3");
    let third = third.expect("one is on n3");
    cluster.nodes[2].kill_9();
    let waits = row(&cluster, &third, "waits", |row| row["status"] == "pending");
    assert!(waits["reason"].as_str().unwrap().contains("there is one with app=web already"), "{waits}");
    cluster.up(2);
    row(&cluster, &third, "runs again", |row| row["status"] == "running" && row["node"] == "n3");
    cluster.terminate_all();
}
