//! One child's and one node's life, by commands on any node: what they answer, their exit codes, what runs.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ordu_tests::{Cluster, Plan, Scenario, descriptors, is_alive, millis, run, until, within};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

fn start(name: &'static str, nodes: usize) -> Cluster {
    Cluster::start(Scenario::new(name), nodes)
}

/// The row of a child once it satisfies `is_so`, on every node.
#[track_caller]
fn rows(cluster: &Cluster, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut seen = Value::Null;
    for node in &cluster.nodes {
        let path = format!("/v1/children/{id}");
        (seen, _) = within(SOON, &format!("{id} {what} on {}", node.name), || {
            let row = node.door.get(&path)?;
            if is_so(&row) { Ok(row) } else { Err(row.to_string()) }
        });
    }
    seen
}

fn keys(row: &Value) -> Vec<&str> {
    row.as_object().map(|row| row.keys().map(String::as_str).collect()).unwrap_or_default()
}

#[test]
fn a_child_is_started_shown_and_stopped_on_any_node() {
    let mut cluster = start("lifecycle", 3);
    let row = cluster.start_child(0, "web").json();
    let mut fields =
        ["id", "kind", "node", "pid", "os_pid", "status", "restarts", "since", "fence", "reason", "labels", "log"];
    fields.sort_unstable();
    assert_eq!(keys(&row), fields);
    assert_eq!((&row["id"], &row["kind"], &row["status"]), (&json!("web"), &json!("exec"), &json!("running")));
    assert_eq!((&row["restarts"], &row["reason"]), (&json!(0), &Value::Null));
    let (node, pid) = (row["node"].as_str().unwrap().to_owned(), row["pid"].as_str().unwrap().to_owned());
    assert!(pid.starts_with(&format!("{node}#{}.", cluster.node(&node).boot)), "{pid}");
    // The leaf's parent is the shell, and that is what the row names.
    until(SOON, "the leaf is seen", || cluster.sampler.living("web").len() == 1);
    assert_eq!(cluster.sampler.living("web")[0].process, pid);
    assert!(is_alive(i32::try_from(row["os_pid"].as_i64().unwrap()).unwrap()));

    for index in 0..3 {
        rows(&cluster, "web", "runs", |row| row["status"] == "running");
        let shown = cluster.ordu(index, &["show", "web", "--json"]).json();
        assert_eq!((&shown["pid"], &shown["os_pid"]), (&row["pid"], &row["os_pid"]));
        let listed = cluster.ordu(index, &["ps", "--json"]).json();
        assert_eq!(listed, json!([shown]), "ps and show agree");
        let name = cluster.ordu(index, &["lookup", "web", "--json"]).json();
        assert_eq!(keys(&name), ["fence", "name", "node", "pid", "since", "value"]);
        assert_eq!((&name["pid"], &name["node"], &name["fence"]), (&row["pid"], &row["node"], &row["fence"]));
        assert_eq!(cluster.ordu(index, &["names", "--json", "--prefix", "we"]).json(), json!([name]));
        assert_eq!(cluster.ordu(index, &["names", "--json", "--prefix", "x"]).json(), json!([]));
        let status = cluster.ordu(index, &["status", "--json"]).json();
        assert_eq!(
            (&status["children"], &status["running"], &status["names"], &status["members_up"], &status["members"]),
            (&json!(1), &json!(1), &json!(1), &json!(3), &json!(3)),
            "{status}"
        );
        assert_eq!((&status["healthy"], &status["name"]), (&json!(true), &json!(format!("n{}", index + 1))));
        for command in ["ps", "names", "status", "members", "events"] {
            assert!(!cluster.ordu(index, &[command]).ok().trim().is_empty(), "{command} for people");
        }
        cluster.start_child(index, "web").fails(1, &format!("already running on {node} ({pid})"));
        let again = cluster.ordu(index, &["start", "web", "--ensure", "--json", "--", "true"]).json();
        assert_eq!(again["pid"], row["pid"]);
    }
    let members = cluster.ordu(1, &["members", "--json"]).json();
    let names: Vec<&str> = members.as_array().unwrap().iter().map(|member| member["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["n1", "n2", "n3"]);
    let fields = "name boot addr status children labels kinds version rtt_ms cordoned full max_children";
    let mut fields: Vec<&str> = fields.split(' ').collect();
    fields.sort_unstable();
    for (member, node) in members.as_array().unwrap().iter().zip(&cluster.nodes) {
        assert_eq!(keys(member), fields);
        assert_eq!((&member["status"], &member["addr"]), (&json!("up"), &json!(node.quic.to_string())));
        assert_eq!(member["rtt_ms"].is_null(), node.name == "n2", "{member}");
        assert!(member["kinds"].as_array().unwrap().contains(&json!("exec")));
    }

    let other = (0..3).find(|&index| cluster.nodes[index].name != node).unwrap();
    cluster.ordu(other, &["stop", "web"]).ok();
    assert!(!is_alive(i32::try_from(row["os_pid"].as_i64().unwrap()).unwrap()), "stop returns when it has ended");
    cluster.ordu(other, &["stop", "web"]).fails(1, "web");
    cluster.ordu(other, &["show", "nobody"]).fails(1, "nobody");
    cluster.ordu(other, &["restart", "nobody"]).fails(1, "nobody");
    cluster.ordu(other, &["lookup", "web"]).fails(1, "web");
    for node in &cluster.nodes {
        until(SOON, "it is gone everywhere", || node.get("/v1/children") == json!([]));
    }
    // A name that was stopped can be had again, at once and by any node.
    for round in 0..5 {
        cluster.start_child(round % 3, "web").ok();
        cluster.ordu((round + 1) % 3, &["stop", "web"]).ok();
    }
    until(SOON, "nobody runs", || cluster.sampler.living("web").is_empty());
    assert_eq!(cluster.sampler.doubles(&["web".to_owned()], Instant::now() - Duration::from_secs(60)), [""; 0]);
    cluster.terminate_all();
}

#[test]
fn a_child_restarts_by_its_policy_and_its_exit_code() {
    let mut cluster = start("restarts", 2);
    let restarted = |row: &Value| row["restarts"].as_u64().unwrap_or(0) >= 1;
    let ended = |row: &Value| row["status"] == "done";
    // Restart kind, exit status of the program, whether it runs again, its reason.
    for (id, restart, code, again) in [
        ("permanent-0", "permanent", 0, true),
        ("permanent-3", "permanent", 3, true),
        ("transient-0", "transient", 0, false),
        ("transient-3", "transient", 3, true),
        ("temporary-0", "temporary", 0, false),
        ("temporary-3", "temporary", 3, false),
    ] {
        let script = format!("sleep 0.3; exit {code}");
        cluster.ordu(0, &["start", id, "--restart", restart, "--", "sh", "-c", &script]).ok();
        let row = rows(&cluster, id, "ended", if again { restarted } else { ended });
        let reason = row["reason"].as_str().unwrap_or_default().to_owned();
        let expected = if code == 0 { "normal" } else { "exit status 3" };
        assert!(reason.contains(expected), "{id}: {row}");
        if !again {
            assert_eq!(row["restarts"], 0, "{row}");
            cluster.ordu(1, &["start", id, "--", "sleep", "1000"]).ok();
        }
        cluster.ordu(1, &["stop", id]).ok();
    }
    // A signal is an abnormal end.
    let row = cluster.ordu(0, &["start", "killed", "--restart", "transient", "--json", "--", "sleep", "1000"]).json();
    let os_pid = i32::try_from(row["os_pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(os_pid), Signal::SIGKILL).unwrap();
    let row = rows(&cluster, "killed", "runs again", |row| restarted(row) && row["status"] == "running");
    assert!(row["reason"].as_str().unwrap_or_default().contains("SIGKILL"), "{row}");
    let before = row["fence"].as_str().unwrap().to_owned();
    // By hand: another process, a higher fence, and not counted as a restart after an abnormal exit.
    let row = cluster.ordu(1, &["restart", "killed", "--json"]).json();
    assert_eq!((&row["status"], &row["restarts"]), (&json!("running"), &json!(1)), "{row}");
    assert!(row["fence"].as_str().unwrap() > before.as_str(), "{row}");
    assert_ne!(row["os_pid"].as_i64(), Some(os_pid.into()));
    cluster.terminate_all();
}

#[test]
fn what_cannot_run_leaves_nothing() {
    let mut cluster = start("cannot_run", 2);
    for (command, part) in [
        (&["no-such-program"][..], "command not found: no-such-program"),
        (&["/etc/passwd"], "permission denied"),
        (&["/no/such/file"], "command not found"),
    ] {
        for index in 0..2 {
            let arguments: Vec<&str> = ["start", "broken", "--"].iter().chain(command).copied().collect();
            cluster.ordu(index, &arguments).fails(1, part);
        }
    }
    cluster.ordu(0, &["start", "broken", "--cwd", "/no/such/dir", "--", "true"]).fails(1, "/no/such/dir");
    cluster.ordu(0, &["start", "broken", "--node", "n9", "--", "true"]).fails(1, "n9");
    for node in &cluster.nodes {
        until(SOON, "nothing is kept", || node.get("/v1/children") == json!([]) && node.get("/v1/names") == json!([]));
    }
    cluster.ordu(0, &["show", "broken"]).fails(1, "broken");
    // The node where failures happen does not pile up descriptors.
    let count = |cluster: &Cluster| cluster.nodes.iter().map(|node| descriptors(node.os_pid())).sum::<usize>();
    let before = count(&cluster);
    for _ in 0..20 {
        cluster.ordu(0, &["start", "broken", "--", "no-such-program"]).fails(1, "not found");
    }
    until(SOON, "descriptors are as before", || count(&cluster) <= before);
    cluster.terminate_all();
}

#[test]
fn nobody_there_is_3_and_a_deadline_is_4() {
    let mut cluster = start("deadlines", 2);
    // Nobody listens at this port: the node that had it has ended.
    let gone = cluster.nodes[1].door.address.to_string();
    cluster.nodes[1].signal(Signal::SIGTERM);
    assert!(cluster.nodes[1].wait(SOON).success());
    let scenario = &cluster.scenario;
    for command in [&["ps"][..], &["status"], &["stop", "web"], &["events"], &["drain"]] {
        let arguments: Vec<&str> = command.iter().chain(&["--http", gone.as_str()]).copied().collect();
        run(scenario, None, &arguments).fails(3, &gone);
    }
    run(scenario, None, &["start", "web", "--http", &gone, "--", "true"]).fails(3, &gone);

    // A program that does not stop in time: the wish stands, the outcome is unknown.
    let deaf = "trap '' TERM; while true; do sleep 0.1; done";
    let arguments = ["start", "deaf", "--json", "--stop-timeout", "3s", "--", "sh", "-c", deaf];
    let row = cluster.ordu(0, &arguments).json();
    let os_pid = i32::try_from(row["os_pid"].as_i64().unwrap()).unwrap();
    let asked = Instant::now();
    let outcome = cluster.ordu(0, &["stop", "deaf", "--timeout", "300ms"]);
    let took = asked.elapsed();
    outcome.fails(4, "deaf");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(is_alive(os_pid), "the deadline is the caller's, not the child's");
    until(SOON, "it is killed after its stop timeout", || !is_alive(os_pid));
    let killed = asked.elapsed();
    cluster.scenario.say(&format!("a deaf child with --stop-timeout 3s was gone {} after the stop", millis(killed)));
    assert!(killed >= Duration::from_millis(2900) && killed < Duration::from_secs(5), "{killed:?}");
    until(SOON, "it is not shown", || cluster.nodes[0].get("/v1/children") == json!([]));

    // The same, waited for.
    cluster.ordu(0, &["start", "deaf", "--stop-timeout", "500ms", "--", "sh", "-c", deaf]).ok();
    let outcome = cluster.ordu(0, &["stop", "deaf"]);
    let took = outcome.took;
    outcome.ok();
    assert!(took >= Duration::from_millis(450) && took < Duration::from_secs(3), "{took:?}");
    cluster.terminate_all();
}

#[test]
fn output_goes_to_the_file_that_show_names() {
    let mut cluster = start("output", 2);
    let script = "echo to out; echo to err >&2; echo \"$ORDU_CHILD_ID $ORDU_NODE $ORDU_PID $K $PWD\"; \
                  cat \"$ORDU_FENCE_FILE\"; echo; echo $ORDU_FENCE; sleep 1000; true";
    let arguments = ["start", "talker", "--json", "--env", "K=a b", "--cwd", "/", "--", "sh", "-c", script];
    let row = cluster.ordu(1, &arguments).json();
    let shown = cluster.ordu(0, &["show", "talker", "--json"]).json();
    assert_eq!(row["log"], shown["log"]);
    let log = shown["log"].as_str().unwrap().to_owned();
    let text = |field: &str| row[field].as_str().unwrap().to_owned();
    let identity = format!("talker {} {} a b /", text("node"), text("pid"));
    let expected = format!("to out\nto err\n{identity}\n{}\n{}\n", text("fence"), text("fence"));
    within(SOON, "its output is in the file", || {
        let now = std::fs::read_to_string(Path::new(&log)).unwrap_or_default();
        if now == expected { Ok(()) } else { Err(format!("{now:?}, expected {expected:?}")) }
    });
    // A child finds its node by its environment.
    let script = "sleep 0.2; $ORDU show inside --json > $OUT; sleep 1000; true";
    let out = cluster.scenario.path().join("inside.json");
    let binary = format!("ORDU={}", ordu_tests::ordu().display());
    let variable = format!("OUT={}", out.display());
    cluster.ordu(0, &["start", "inside", "--env", &binary, "--env", &variable, "--", "sh", "-c", script]).ok();
    within(SOON, "the child asked its own node", || {
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        serde_json::from_str::<Value>(&text).map_err(|error| format!("{error}: {text}"))
    });
    cluster.terminate_all();
}

#[test]
fn a_drained_node_gives_its_children_away_and_gets_them_back() {
    let mut cluster = start("drain", 3);
    let ids: Vec<String> = (0..12).map(|number| format!("c{number:02}")).collect();
    cluster.start_children(&[0, 1, 2], &ids);
    let before = cluster.sampler.spread(&ids);
    let began = Instant::now();
    cluster.ordu(0, &["drain", "n2"]).ok();
    within(Duration::from_secs(20), "n2 runs none", || {
        cluster.sampler.one_of_each(&ids)?;
        let spread = cluster.sampler.spread(&ids);
        if spread.contains_key("n2") { Err(format!("{spread:?}")) } else { Ok(()) }
    });
    let drained = began.elapsed();
    for node in &cluster.nodes {
        within(SOON, "everybody sees it draining", || {
            let members = node.door.get("/v1/members")?;
            if members[1]["status"] == "draining" { Ok(()) } else { Err(members.to_string()) }
        });
    }
    for number in 0..6 {
        cluster.start_child(1, &format!("later{number}")).ok();
    }
    until(SOON, "they are seen", || (0..6).all(|n| cluster.sampler.living(&format!("later{n}")).len() == 1));
    assert!((0..6).all(|n| cluster.sampler.living(&format!("later{n}"))[0].node != "n2"), "it gets no new ones");
    cluster.ordu(2, &["undrain", "n2"]).ok();
    within(Duration::from_secs(20), "it has its share again", || {
        cluster.sampler.one_of_each(&ids)?;
        let spread = cluster.sampler.spread(&ids);
        if spread == before { Ok(()) } else { Err(format!("{spread:?}, before {before:?}")) }
    });
    cluster.scenario.say(&format!("{} children drained in {}", before["n2"], millis(drained)));
    assert_eq!(cluster.sampler.doubles(&ids, began), [""; 0]);
    cluster.ordu(0, &["drain", "n9"]).fails(1, "n9");
    // Without a name: the node that is talked to.
    cluster.ordu(2, &["drain"]).ok();
    until(SOON, "n3 drains", || cluster.nodes[0].get("/v1/members")[2]["status"] == "draining");
    cluster.terminate_all();
}

#[test]
fn nodes_leave_one_after_another_and_exit_0() {
    let mut cluster = start("leave", 3);
    let ids: Vec<String> = (0..12).map(|number| format!("c{number:02}")).collect();
    cluster.start_children(&[0, 1, 2], &ids);
    for (round, signal) in [(0, Signal::SIGTERM), (1, Signal::SIGINT)] {
        let began = Instant::now();
        cluster.nodes[round].signal(signal);
        let status = cluster.nodes[round].wait(Duration::from_secs(35));
        assert!(status.success(), "{status}: {}", cluster.nodes[round].log_tail(10));
        let name = format!("n{}", round + 1);
        let left = ordu_tests::with_variable("ORDU_NODE", |node| node == name);
        let left: Vec<i32> = left.into_iter().filter(|pid| cluster.scenario.processes().contains(pid)).collect();
        assert!(left.is_empty(), "{name} left {left:?}");
        within(SOON, "one copy of each child", || cluster.sampler.one_of_each(&ids));
        let (absence, id) = cluster.sampler.longest_absence(&ids, began, Instant::now());
        cluster.scenario.say(&format!(
            "{name} left by {signal} in {}; longest absence of a child {} ({id})",
            millis(began.elapsed()),
            millis(absence)
        ));
        let members = cluster.nodes[2].get("/v1/members");
        assert_eq!(members[round]["status"], "left", "{members}");
    }
    assert_eq!(cluster.sampler.doubles(&ids, Instant::now() - Duration::from_secs(120)), [""; 0]);
    // The last one has nowhere to give its children to: they stop, and it goes.
    let began = Instant::now();
    cluster.nodes[2].signal(Signal::SIGTERM);
    let status = cluster.nodes[2].wait(Duration::from_secs(35));
    assert!(status.success(), "{status}: {}", cluster.nodes[2].log_tail(10));
    let took = began.elapsed();
    cluster.scenario.say(&format!("the last node left in {}", millis(took)));
    assert!(took < Duration::from_secs(10), "with nowhere to go there is nothing to wait for: {took:?}");
    cluster.sampler.copies_of_each(&ids, 0).unwrap();
    assert_eq!(cluster.scenario.processes(), [0; 0], "no process is left");
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut cluster = start("second_signal", 1);
    let deaf = "trap '' TERM; while true; do sleep 0.1; done";
    let arguments = ["start", "deaf", "--stop-timeout", "1m", "--", "sh", "-c", deaf];
    cluster.ordu(0, &arguments).ok();
    cluster.nodes[0].signal(Signal::SIGTERM);
    within(SOON, "it says that it stops", || {
        let log = cluster.nodes[0].log_tail(20);
        if log.contains("a second signal stops at once") { Ok(()) } else { Err(log) }
    });
    assert!(cluster.nodes[0].is_running());
    let began = Instant::now();
    cluster.nodes[0].signal(Signal::SIGTERM);
    let status = cluster.nodes[0].wait(SOON);
    assert!(status.success(), "{status}");
    cluster.scenario.say(&format!("a second signal: gone in {}", millis(began.elapsed())));
    assert!(began.elapsed() < Duration::from_secs(3));
    until(Duration::from_secs(1), "no process is left", || cluster.scenario.processes().is_empty());
}

#[test]
fn all_nodes_at_once_exit_0() {
    let scenario = Scenario::new("all_at_once");
    let plan = Plan { nodes: 3, arguments: &["--drain-timeout", "10s"], network: None };
    let mut cluster = Cluster::make(scenario, &plan);
    let ids: Vec<String> = (0..12).map(|number| format!("c{number:02}")).collect();
    cluster.start_children(&[0, 1, 2], &ids);
    let began = Instant::now();
    for node in &cluster.nodes {
        node.signal(Signal::SIGTERM);
    }
    for node in &mut cluster.nodes {
        let status = node.wait(Duration::from_secs(20));
        assert!(status.success(), "{}: {status}: {}", node.name, node.log_tail(10));
    }
    cluster.scenario.say(&format!("three nodes told at once were gone in {}", millis(began.elapsed())));
    assert!(began.elapsed() < Duration::from_secs(8), "with nowhere to go there is nothing to wait for");
    assert_eq!(cluster.scenario.processes(), [0; 0], "no process is left");
}

#[test]
fn a_node_that_lost_its_disk_comes_back_above_its_old_boot() {
    let mut cluster = start("lost_disk", 3);
    let ids: Vec<String> = (0..6).map(|number| format!("c{number}")).collect();
    cluster.start_children(&[0, 1, 2], &ids);
    // A few boots on the old disk first.
    for _ in 0..2 {
        cluster.nodes[1].kill_9();
        cluster.up(1);
        cluster.meet(3);
    }
    let old = cluster.nodes[1].boot;
    assert!(old >= 3, "boot {old}");
    cluster.nodes[1].kill_9();
    let fresh = cluster.scenario.path().join("data/n2-fresh").display().to_string();
    cluster.nodes[1].set_argument("--data-dir", &fresh);
    cluster.up(1);
    cluster.meet(3);
    for node in &cluster.nodes {
        within(SOON, "its boot is above the old one", || {
            let members = node.door.get("/v1/members")?;
            let member = &members[1];
            let is_above = member["boot"].as_u64() > Some(old) && member["status"] == "up";
            if is_above { Ok(()) } else { Err(format!("{}: {member}", node.name)) }
        });
    }
    within(SOON, "one copy of each child", || cluster.sampler.one_of_each(&ids));
    within(Duration::from_secs(20), "the nodes converge", || cluster.converged());
    let (_, took) = within(Duration::from_secs(20), "it runs children", || {
        let spread = cluster.sampler.spread(&ids);
        if spread.contains_key("n2") { Ok(()) } else { Err(format!("{spread:?}")) }
    });
    cluster.scenario.say(&format!("above boot {old} again, with children after {}", millis(took)));
    cluster.ordu(1, &["stop", "c0"]).ok();
    cluster.start_child(1, "new").ok();
    until(SOON, "it is seen", || cluster.sampler.living("new").len() == 1);
    let again = cluster.nodes[1].get("/v1/status")["boot"].as_u64();
    // What it was given is on its new disk.
    within(SOON, "the boot is stored", || {
        let stored = std::fs::read_to_string(format!("{fresh}/boot")).unwrap_or_default();
        if stored.trim().parse().ok() == again { Ok(()) } else { Err(format!("{stored}, {again:?}")) }
    });
    cluster.terminate_all();
}

#[test]
fn events_tell_what_happened() {
    let mut cluster = start("events", 2);
    cluster.start_child(0, "web").ok();
    cluster.ordu(1, &["stop", "web"]).ok();
    let about = |kind: &str, field: &str, value: &str| {
        within(SOON, &format!("an event {kind} of {value}"), || {
            let told = cluster.events.of(kind);
            let found = told.iter().find(|event| event.field(field) == value).cloned();
            found.ok_or_else(|| {
                format!("{:?}", cluster.events.all().iter().map(|e| e.what.to_string()).collect::<Vec<_>>())
            })
        });
    };
    about("member_up", "member", "n1");
    about("member_up", "member", "n2");
    about("child_starting", "child", "web");
    about("child_running", "child", "web");
    about("child_exited", "child", "web");
    about("name_registered", "name", "web");
    about("name_released", "name", "web");
    let lately = cluster.ordu(0, &["events", "--json"]).ok();
    let lines: Vec<Value> = lately.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["at"].is_string() && line["node"].is_string() && line["type"].is_string()));
    assert!(lines.iter().any(|line| line["type"] == "member_up" && line["member"] == "n2"), "{lately}");
    // Following tells what comes.
    let address = cluster.nodes[0].door.address.to_string();
    let follower = ordu_tests::spawn(&cluster.scenario, None, &["events", "-f", "--json", "--http", &address]);
    cluster.nodes[1].kill_9();
    within(SOON, "the follower hears of it", || {
        let heard = follower.stdout();
        if heard.contains(r#""type":"member_down""#) { Ok(()) } else { Err(heard) }
    });
    cluster.nodes[0].kill_9();
    follower.wait(SOON).fails(3, "went away");
}
