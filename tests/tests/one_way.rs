//! Between two of three nodes the packets of one direction are lost for 20 s: A hears B, B does not hear A.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ordu_tests::{Cluster, Network, Plan, Scenario, millis, within};

const CHILDREN: usize = 60;
const LOSS: Duration = Duration::from_secs(20);
/// No child is away for longer.
const ABSENCE_MAX: Duration = Duration::from_secs(2);
/// From the end of the loss until one copy of each runs.
const HEAL_MAX: Duration = Duration::from_secs(5);

#[test]
fn one_way_loss_moves_nobody_back_and_forth() {
    let scenario = Scenario::new("one_way");
    let network = match Network::new(&scenario, 3) {
        Ok(network) => network,
        Err(why) => return scenario.skip(&why),
    };
    let mut cluster = Cluster::make(scenario, &Plan { nodes: 3, arguments: &[], network: Some(&network) });
    let ids: Vec<String> = (0..CHILDREN).map(|number| format!("c{number:02}")).collect();
    cluster.start_children(&[0, 1, 2], &ids);
    within(Duration::from_secs(10), "the nodes converge", || cluster.converged());

    let cut = Instant::now();
    network.cut(1, 2);
    sleep(LOSS);
    let during = cluster.sampler.doubles(&ids, cut);
    cluster.scenario.say(&format!(
        "during the loss: {} children ran twice for a while; members as seen: {:?}",
        during.len(),
        cluster.nodes.iter().map(statuses).collect::<Vec<_>>()
    ));
    let healed = Instant::now();
    network.heal();
    let (_, single) = within(Duration::from_secs(30), "one copy of each child", || cluster.sampler.one_of_each(&ids));
    within(Duration::from_secs(30), "equal clock hashes", || cluster.converged());
    let equal = healed.elapsed();
    cluster.meet(3);
    sleep(HEAL_MAX);
    cluster.sampler.one_of_each(&ids).unwrap();

    let (absence, id) = cluster.sampler.longest_absence(&ids, cut, Instant::now());
    let mut changes: BTreeMap<usize, usize> = BTreeMap::new();
    for id in &ids {
        *changes.entry(cluster.sampler.owner_changes(id, cut)).or_default() += 1;
    }
    cluster.scenario.say(&format!(
        "longest absence {} ({id}); children by owner changes {changes:?}; one copy each {} after the end, equal after {}; {}",
        millis(absence),
        millis(single),
        millis(equal),
        cluster.sampler.quality()
    ));
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for event in cluster.events.all().iter().filter(|event| event.heard > cut) {
        *told.entry(format!("{} {}", event.from, event.kind())).or_default() += 1;
    }
    cluster.scenario.say(&format!("events since the cut: {told:?}"));
    assert!(absence <= ABSENCE_MAX, "{id} was away for {absence:?}");
    assert!(changes.keys().all(|&count| count <= 1), "children by owner changes: {changes:?}");
    assert!(single <= HEAL_MAX, "one copy each after {single:?}");
    assert_eq!(cluster.sampler.doubles(&ids, healed + HEAL_MAX), Vec::<String>::new());
    cluster.terminate_all();
}

fn statuses(node: &ordu_tests::Node) -> BTreeMap<String, String> {
    let members = node.get("/v1/members");
    let rows = members.as_array().cloned().unwrap_or_default();
    let text = |row: &serde_json::Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    rows.iter().map(|row| (text(row, "name"), text(row, "status"))).collect()
}
