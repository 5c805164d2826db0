//! Nodes and a cluster that take a bounded number of children, and many children that are started at once.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::time::{Duration, Instant};

use ordu_tests::{Cluster, Plan, Scenario, within};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
/// More than `ordu apply` starts with one request.
const ASKED: usize = 520;
/// What the cluster takes of them, and what each of its nodes holds: together one more.
const TAKEN: usize = 515;
const PLACES: usize = 172;

fn full(cluster: &Cluster) -> Vec<(Value, Value)> {
    let members = cluster.nodes[0].get("/v1/members");
    members.as_array().unwrap().iter().map(|row| (row["full"].clone(), row["max_children"].clone())).collect()
}

#[test]
fn a_file_of_many_children_fills_the_places_that_there_are_and_no_more() {
    let (places, taken) = (PLACES.to_string(), TAKEN.to_string());
    let arguments = &["--max-children", &places, "--max-cluster-children", &taken];
    let mut cluster = Cluster::make(Scenario::new("full"), &Plan { nodes: 3, arguments, network: None });
    let ids: Vec<String> = (0..ASKED).map(|number| format!("c{number:03}")).collect();
    let declared =
        ids.iter().map(|id| format!("[children.{id}]\ncmd = [\"sleep\", \"{}\"]\n", cluster.sampler.mark(id)));
    let file = cluster.scenario.path().join("many.toml");
    std::fs::write(&file, declared.collect::<String>()).unwrap();

    let began = Instant::now();
    let applied = cluster.ordu(0, &["apply", &file.to_string_lossy()]);
    cluster.scenario.say(&format!("{ASKED} children were applied in {:?}", began.elapsed()));
    // One line for each, in order, and what became of the first that was not started.
    let lines: Vec<&str> = applied.stdout.lines().skip(ASKED + 1).collect();
    let (started, refused) = lines.split_at(TAKEN);
    let is_told = |line: &str, id: &str| line.starts_with(&format!("started {id} on n"));
    assert!(started.iter().zip(&ids).all(|(line, id)| is_told(line, id)), "{}", applied.stdout);
    let why = format!("{TAKEN} children should run already, and this cluster takes no more");
    let expected: Vec<String> = ids[TAKEN..].iter().map(|id| format!("not started: {id}: {why}")).collect();
    assert_eq!(refused, expected);
    let first = &ids[TAKEN];
    applied.fails(1, &format!("{TAKEN} of {ASKED} done, then start {first}: {why}; 4 more were not started"));

    let (kept, refused) = ids.split_at(TAKEN);
    within(SOON, "one of each runs", || cluster.sampler.one_of_each(kept));
    let spread = cluster.sampler.spread(kept);
    assert!(spread.len() == 3 && spread.values().all(|held| (PLACES - 1..=PLACES).contains(held)), "{spread:?}");
    let mut is_full: Vec<_> = full(&cluster).into_iter().map(|(full, max)| (full == json!(true), max)).collect();
    is_full.sort_by_key(|(full, _)| *full);
    assert_eq!(is_full, [(false, json!(PLACES)), (true, json!(PLACES)), (true, json!(PLACES))]);
    cluster.start_child(1, "one-more").fails(1, &why);
    cluster.ordu(1, &["show", "one-more"]).fails(1, "one-more");

    // The same is found out by the same command: what runs is as declared, what was refused is refused again.
    let again = cluster.ordu(2, &["apply", &file.to_string_lossy()]);
    assert!(again.stdout.contains(&format!("0 to replace, 0 to stop, {TAKEN} as declared")), "{}", again.stdout);
    again.fails(1, &format!("0 of 5 done, then start {first}: {why}"));

    // Nobody has places for what a node leaves. It waits, and runs when the node is back.
    let on_n3 = spread["n3"];
    cluster.nodes[2].kill_9();
    within(SOON, "what n3 had waits", || {
        let rows = cluster.nodes[0].door.get("/v1/children")?;
        let rows = rows.as_array().into_iter().flatten();
        let waits = |row: &&Value| row["reason"] == "no eligible node: every node that could run it is full";
        let waiting = rows.filter(waits).count();
        // One found the place that was left.
        if (on_n3 - 1..=on_n3).contains(&waiting) { Ok(()) } else { Err(format!("{waiting} of {on_n3}")) }
    });
    let held = cluster.sampler.spread(kept);
    assert!(held.values().all(|held| *held == PLACES) && held.len() == 2, "{held:?}");
    let stopped = kept.iter().find(|id| cluster.sampler.living(id).len() == 1).expect("some run").clone();
    cluster.ordu(0, &["stop", &stopped]).ok();
    within(SOON, "another one has its place", || {
        let held = cluster.sampler.spread(kept);
        if held.values().all(|held| *held == PLACES) { Ok(()) } else { Err(format!("{held:?}")) }
    });
    cluster.up(2);
    let left: Vec<String> = kept.iter().filter(|id| **id != stopped).cloned().collect();
    within(SOON, "all run again", || cluster.sampler.one_of_each(&left));
    assert_eq!(cluster.sampler.doubles(&left, began), [""; 0]);
    assert!(cluster.sampler.spread(&left).values().all(|held| *held <= PLACES));

    // Many by one request, as anybody may send it.
    let child = |id: &String| json!({"id": id, "args": {"cmd": ["sleep", cluster.sampler.mark(id)]}});
    let list = json!([child(&stopped), child(&left[0]), child(&refused[0])]);
    let answer = cluster.nodes[1].door.ask("POST", "/v1/children", list.to_string().as_bytes()).unwrap();
    let results = answer.json();
    assert_eq!((answer.status, &results[0]["child"]["status"]), (200, &json!("running")), "{results}");
    let told =
        |at: usize| (results[at]["status"].clone(), results[at]["error"].as_str().unwrap_or_default().to_owned());
    assert_eq!(told(2), (json!(503), why));
    let (status, error) = told(1);
    assert!(status == 409 && error.starts_with("already running on n"), "{results}");
    cluster.terminate_all();
}
