//! A cordoned node of a real cluster takes no child, whatever becomes of the others, and keeps those that it has.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::time::{Duration, Instant};

use ordu_tests::{Cluster, Scenario, within};
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);

fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number:02}")).collect()
}

#[test]
fn a_cordoned_node_keeps_its_children_and_gets_no_other() {
    let mut cluster = Cluster::start(Scenario::new("cordon"), 3);
    let before = ids("old", 9);
    cluster.start_children(&[0, 1, 2], &before);
    let began = Instant::now();
    let spread = cluster.sampler.spread(&before);
    let had = spread.get("n2").copied().unwrap_or(0);
    assert!(had > 0, "{spread:?}");
    cluster.ordu(0, &["cordon", "n2"]).ok();
    for node in &cluster.nodes {
        within(SOON, "everybody sees it cordoned", || {
            let members = node.door.get("/v1/members")?;
            let cordoned: Vec<_> =
                members.as_array().into_iter().flatten().map(|row| row["cordoned"].clone()).collect();
            let up = members[1]["status"] == "up";
            if up && cordoned == [json!(false), json!(true), json!(false)] { Ok(()) } else { Err(members.to_string()) }
        });
    }

    let later = ids("new", 20);
    cluster.start_children(&[0, 1, 2], &later);
    assert_eq!(cluster.sampler.spread(&later).get("n2"), None);
    assert_eq!(cluster.sampler.spread(&before), spread, "nothing has moved");
    cluster.ordu(1, &["rebalance", "--json"]).json();
    // One that ends there is started there again.
    let theirs = cluster.nodes[0].get("/v1/children");
    let theirs = theirs.as_array().into_iter().flatten().find(|row| row["node"] == "n2").expect("n2 has some").clone();
    let id = theirs["id"].as_str().unwrap();
    let again = cluster.ordu(0, &["restart", id, "--json"]).json();
    assert_eq!(again["node"], "n2");

    // Each node says why it stays, and where those of n3 would go.
    let on_n3 = cluster.nodes[0].get("/v1/children");
    let on_n3 = on_n3.as_array().into_iter().flatten().find(|row| row["node"] == "n3").expect("n3 has some").clone();
    for index in 0..3 {
        let told = cluster.ordu(index, &["explain", id, "--json"]).json();
        assert_eq!(
            (&told["node"], &told["moves"], &told["eligible"]),
            (&json!("n2"), &json!(false), &json!(2)),
            "{told}"
        );
        assert!(told["why"].as_str().unwrap().ends_with("but n2 is cordoned and keeps what it has"), "{told}");
        assert_eq!((&told["nodes"][2]["node"], &told["nodes"][2]["reason"]), (&json!("n2"), &json!("it is cordoned")));
        let told = cluster.ordu(index, &["explain", on_n3["id"].as_str().unwrap(), "--json"]).json();
        assert_eq!(
            (&told["seat"], &told["next"], &told["why"]),
            (&json!("n3"), &json!("n1"), &json!("n3 is where it belongs"))
        );
        let text = cluster.ordu(index, &["explain", id]);
        let first = format!("{id} is running on n2: it would belong on ");
        assert!(text.stdout.starts_with(&first), "{}", text.stdout);
    }
    cluster.ordu(0, &["explain", "nobody"]).fails(1, "there is no child nobody");

    // Another node's children all go to the third.
    let all: Vec<String> = before.iter().chain(&later).cloned().collect();
    cluster.nodes[2].kill_9();
    within(SOON, "all run on the others", || {
        cluster.sampler.one_of_each(&all)?;
        let now = cluster.sampler.spread(&all);
        if now.contains_key("n3") { Err(format!("{now:?}")) } else { Ok(()) }
    });
    assert_eq!(cluster.sampler.spread(&all).get("n2"), Some(&had));

    // Where all are, nothing starts, and it is said why.
    cluster.ordu(1, &["cordon", "n1"]).ok();
    cluster.start_child(0, "refused").fails(1, "every node that could run it is cordoned");
    cluster.ordu(0, &["show", "refused"]).fails(1, "refused");
    cluster.ordu(1, &["uncordon", "n1"]).ok();

    cluster.ordu(1, &["uncordon"]).ok();
    within(SOON, "n2 gets its share", || {
        cluster.sampler.one_of_each(&all)?;
        let now = cluster.sampler.spread(&all);
        if now.get("n2").copied().unwrap_or(0) > had + 3 { Ok(()) } else { Err(format!("{now:?}")) }
    });
    assert_eq!(cluster.sampler.doubles(&all, began), [""; 0]);

    // It lasts as long as the process.
    cluster.ordu(0, &["cordon", "n2"]).ok();
    cluster.nodes[1].kill_9();
    cluster.up(1);
    within(SOON, "n2 is back and takes children", || {
        let member = cluster.nodes[0].door.get("/v1/members")?[1].clone();
        let is_back = member["status"] == "up" && member["cordoned"] == false && member["children"] != 0;
        if !is_back {
            return Err(member.to_string());
        }
        cluster.sampler.one_of_each(&all)
    });
    cluster.terminate_all();
}
