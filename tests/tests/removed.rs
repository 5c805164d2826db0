//! A member that will not return is forgotten; and nodes that give nothing away.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::time::Duration;

use ordu_tests::{Cluster, Plan, Scenario, within};

const SOON: Duration = Duration::from_secs(15);
/// For so long nothing may change.
const CALM: Duration = Duration::from_secs(4);

#[test]
fn a_removed_member_has_left_for_all_and_what_had_its_run_there_is_over() {
    let mut cluster = Cluster::start(Scenario::new("removed"), 3);
    let once = ["start", "once", "--restart", "temporary", "--node", "n3", "--", "sleep", "1000"];
    cluster.ordu(0, &once).ok();
    cluster.ordu(0, &["remove", "n3"]).fails(1, "n3 is up; stop it first");
    cluster.ordu(0, &["remove", "n9"]).fails(1, "there is no member n9");
    cluster.nodes[2].kill_9();
    let status_of = |cluster: &Cluster, at: usize, status: &str| {
        within(SOON, &format!("n{} shows n3 as {status}", at + 1), || {
            let members = cluster.nodes[at].door.get("/v1/members")?;
            if members[2]["status"] == status { Ok(()) } else { Err(members.to_string()) }
        });
    };
    status_of(&cluster, 0, "down");
    within(SOON, "the child is suspended", || {
        let row = cluster.nodes[0].door.get("/v1/children/once")?;
        if row["status"] == "suspended" { Ok(()) } else { Err(row.to_string()) }
    });
    cluster.ordu(0, &["remove", "n3"]).ok();
    (0..2).for_each(|at| status_of(&cluster, at, "left"));
    cluster.ordu(0, &["remove", "n3"]).ok();

    // It returns all the same, as another incarnation.
    cluster.up(2);
    cluster.meet(3);
    within(SOON, "the child that had its run is gone", || match cluster.nodes[1].door.get("/v1/children/once") {
        Err(_) => Ok(()),
        Ok(row) => Err(row.to_string()),
    });
    cluster.terminate_all();
}

#[test]
fn passive_nodes_keep_their_children_until_they_drain() {
    let plan = Plan { nodes: 2, arguments: &["--redistribution", "passive"], network: None };
    let mut cluster = Cluster::make(Scenario::new("passive"), &plan);
    cluster.nodes[1].kill_9();
    let children: Vec<String> = (0..10).map(|number| format!("child{number}")).collect();
    cluster.start_children(&[0], &children);
    cluster.up(1);
    cluster.meet(2);
    std::thread::sleep(CALM);
    assert!(cluster.events.of("child_moved").is_empty(), "a child was moved");
    assert_eq!(cluster.nodes[0].get("/v1/members")[0]["children"], 10);

    // By hand some go where they belong.
    let would = cluster.ordu(1, &["rebalance", "--dry-run", "--json"]).json()["moves"].as_array().unwrap().len();
    assert!((1..=10).contains(&would), "{would}");
    assert!(cluster.events.of("child_moved").is_empty(), "a child was moved");
    cluster.ordu(1, &["rebalance", "--max-moves", "1"]).ok();
    within(SOON, "one has gone", || {
        let members = cluster.nodes[1].door.get("/v1/members")?;
        if members[1]["children"] == 1 { Ok(()) } else { Err(members.to_string()) }
    });
    cluster.ordu(1, &["rebalance"]).ok();
    within(SOON, "all that belong there have gone", || {
        let members = cluster.nodes[1].door.get("/v1/members")?;
        if members[1]["children"] == would { Ok(()) } else { Err(members.to_string()) }
    });

    cluster.ordu(1, &["drain", "n1"]).ok();
    within(SOON, "all have gone to n2", || {
        let members = cluster.nodes[1].door.get("/v1/members")?;
        if members[1]["children"] == 10 { Ok(()) } else { Err(members.to_string()) }
    });
    within(SOON, "one copy of each", || cluster.sampler.one_of_each(&children));
    cluster.terminate_all();
}
