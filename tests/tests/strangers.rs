//! Who does not belong changes nothing: another CA, another cluster, another name, garbage, a second holder of a name.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::net::UdpSocket;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ordu_tests::{Cluster, Node, Scenario, Spawned, descriptors, is_alive, millis, resident_bytes, run, spawn, within};
use serde_json::Value;

/// For so long a stranger may try.
const SIEGE: Duration = Duration::from_secs(5);
const DATAGRAMS: usize = 20_000;
/// After so many datagrams the receiver gets a moment, so that its kernel does not drop them for it.
const BURST: usize = 40;
/// What a node's memory may grow by meanwhile: allocators keep some of what they got.
const RESIDENT_RISE_MAX: u64 = 8 << 20;
const REFUSED_MAX: Duration = Duration::from_secs(10);

/// What of a cluster a stranger must leave as it is.
#[derive(Debug, PartialEq)]
struct Picture {
    members: Vec<Value>,
    children: Vec<Value>,
    os_pids: Vec<i32>,
}

fn picture(cluster: &Cluster) -> Picture {
    let rows = |node: &Node, path: &str| node.get(path).as_array().cloned().unwrap_or_default();
    let mut members = Vec::new();
    for node in &cluster.nodes {
        for mut member in rows(node, "/v1/members") {
            member["rtt_ms"] = Value::Null;
            members.push(member);
        }
    }
    Picture {
        members,
        children: rows(&cluster.nodes[0], "/v1/children"),
        os_pids: cluster.nodes.iter().map(Node::os_pid).collect(),
    }
}

fn start(name: &'static str) -> (Cluster, Vec<String>) {
    let cluster = Cluster::start(Scenario::new(name), 3);
    let ids: Vec<String> = (0..6).map(|number| format!("c{number}")).collect();
    cluster.start_children(&[0, 1, 2], &ids);
    within(Duration::from_secs(10), "the nodes converge", || cluster.converged());
    (cluster, ids)
}

/// The picture is as before, nobody was held as down meanwhile, and no child was touched.
#[track_caller]
fn nothing_changed(cluster: &Cluster, ids: &[String], before: &Picture, since: Instant) {
    within(Duration::from_secs(5), "everything is as before", || {
        let now = picture(cluster);
        if now == *before { Ok(()) } else { Err(format!("{now:?}\nbefore: {before:?}")) }
    });
    for kind in ["member_down", "member_left", "name_conflict", "child_exited", "child_moved"] {
        let told = cluster.events.since(since, kind);
        assert!(told.is_empty(), "{told:?}");
    }
    for id in ids {
        assert_eq!(cluster.sampler.lives(id).len(), 1, "{id} was started again");
    }
}

/// A node of the test's own making, with the cluster's addresses to join.
fn stranger(cluster: &Cluster, name: &str, cluster_name: &str, tls_dir: &Path, data_dir: &str) -> Spawned {
    let (tls_dir, seeds) = (tls_dir.display().to_string(), cluster.nodes.iter().map(|node| node.quic.to_string()));
    let seeds: Vec<String> = seeds.collect();
    let data_dir = cluster.scenario.path().join(data_dir).display().to_string();
    let mut arguments = vec!["up", "--name", name, "--cluster", cluster_name, "--tls-dir", &tls_dir];
    arguments.extend(["--data-dir", &data_dir, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    for seed in &seeds {
        arguments.extend(["--join", seed.as_str()]);
    }
    spawn(&cluster.scenario, None, &arguments)
}

fn cluster_name(cluster: &Cluster) -> String {
    cluster.nodes[0].get("/v1/status")["cluster"].as_str().unwrap().to_owned()
}

fn ca(cluster: &Cluster, arguments: &[&str]) {
    let all: Vec<&str> = std::iter::once("ca").chain(arguments.iter().copied()).collect();
    run(&cluster.scenario, None, &all).ok();
}

#[test]
fn nodes_that_do_not_belong_stay_outside() {
    let (mut cluster, ids) = start("strangers");
    let (before, since) = (picture(&cluster), Instant::now());
    let resident: Vec<u64> = before.os_pids.iter().map(|&pid| resident_bytes(pid)).collect();
    let open: Vec<usize> = before.os_pids.iter().map(|&pid| descriptors(pid)).collect();

    let (own, other) = (cluster.scenario.path().join("ca"), cluster.scenario.path().join("other-ca"));
    ca(&cluster, &["init", &other.display().to_string()]);
    for name in ["n4", "n2"] {
        ca(&cluster, &["issue", &other.display().to_string(), name]);
    }
    ca(&cluster, &["issue", &own.display().to_string(), "n5"]);
    let name = cluster_name(&cluster);
    let mut strangers = [
        stranger(&cluster, "n4", &name, &other.join("n4"), "stranger-1"),
        // One that even bears a member's name.
        stranger(&cluster, "n2", &name, &other.join("n2"), "stranger-2"),
        // The right CA, but another cluster.
        stranger(&cluster, "n5", "elsewhere", &own.join("n5"), "stranger-3"),
    ];
    for stranger in &mut strangers {
        within(Duration::from_secs(10), "the stranger is ready", || {
            if stranger.stdout().contains("ready ") { Ok(()) } else { Err(stranger.stderr()) }
        });
    }
    let siege = Instant::now();
    while siege.elapsed() < SIEGE {
        assert_eq!(picture(&cluster), before);
        sleep(Duration::from_millis(50));
    }
    for stranger in &mut strangers {
        assert!(stranger.is_running(), "it goes on alone: {}", stranger.stderr());
        let line = stranger.stdout();
        let http = line.split("http=").nth(1).unwrap().trim().to_owned();
        let members = run(&cluster.scenario, None, &["members", "--json", "--http", &http]).json();
        let up = members.as_array().unwrap().iter().filter(|member| member["status"] == "up").count();
        assert_eq!(up, 1, "{members}");
    }
    drop(strangers);
    nothing_changed(&cluster, &ids, &before, since);
    resources(&cluster, &before.os_pids, &resident, &open);
    cluster.terminate_all();
}

#[test]
fn a_certificate_under_another_name_is_refused() {
    let (mut cluster, ids) = start("wrong_name");
    let (before, since) = (picture(&cluster), Instant::now());
    let own = cluster.scenario.path().join("ca");
    ca(&cluster, &["issue", &own.display().to_string(), "n5"]);
    let outcome = stranger(&cluster, "n4", &cluster_name(&cluster), &own.join("n5"), "stranger").wait(REFUSED_MAX);
    let took = outcome.took;
    outcome.fails(2, "is for the name n5, not n4");
    cluster.scenario.say(&format!("refused after {}", millis(took)));
    nothing_changed(&cluster, &ids, &before, since);
    cluster.terminate_all();
}

#[test]
fn garbage_changes_nothing() {
    let (mut cluster, ids) = start("garbage");
    let (before, since) = (picture(&cluster), Instant::now());
    let resident: Vec<u64> = before.os_pids.iter().map(|&pid| resident_bytes(pid)).collect();
    let open: Vec<usize> = before.os_pids.iter().map(|&pid| descriptors(pid)).collect();
    let target = cluster.nodes[0].quic;
    let sockets: Vec<UdpSocket> = (0..8).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let mut random = Random(cluster.scenario.tag() | 1);
    let sending = Instant::now();
    for number in 0..DATAGRAMS {
        let bytes = garbage(&mut random, number);
        // An error here is the answer to an earlier one of ours.
        let _ = sockets[number % sockets.len()].send_to(&bytes, target);
        if number % BURST == 0 {
            sleep(Duration::from_millis(2));
        }
    }
    let answered: usize = sockets.iter().map(answers).sum();
    cluster.scenario.say(&format!("{DATAGRAMS} datagrams in {}, {answered} answers", millis(sending.elapsed())));
    nothing_changed(&cluster, &ids, &before, since);
    resources(&cluster, &before.os_pids, &resident, &open);
    // It serves as before.
    cluster.start_child(0, "after").ok();
    cluster.ordu(0, &["stop", "after"]).ok();
    cluster.terminate_all();
}

#[test]
fn a_second_living_node_of_one_name_is_refused() {
    let (mut cluster, ids) = start("second_holder");
    let (before, since) = (picture(&cluster), Instant::now());
    let (name, holder) = (cluster_name(&cluster), cluster.nodes[1].quic.to_string());
    let tls_dir = cluster.nodes[1].tls_dir.clone();
    let higher = cluster.scenario.path().join("second-higher");
    std::fs::create_dir_all(&higher).unwrap();
    std::fs::write(higher.join("boot"), "1000\n").unwrap();
    for (what, data_dir) in [("a fresh data directory", "second-fresh"), ("a higher boot", "second-higher")] {
        let outcome = stranger(&cluster, "n2", &name, &tls_dir, data_dir).wait(REFUSED_MAX);
        cluster.scenario.say(&format!("{what}: exit {} after {}", outcome.code, millis(outcome.took)));
        assert_eq!(outcome.code, 2, "{what}: {}", outcome.stderr);
        let last = outcome.stderr.trim_end().lines().last().unwrap_or_default();
        assert!(last.starts_with("ordu: ") && last.contains(&holder), "{what}: no {holder} in: {}", outcome.stderr);
        nothing_changed(&cluster, &ids, &before, since);
    }
    // On the holder's own data directory it does not even come that far.
    let own = cluster.nodes[1].data_dir.display().to_string();
    let outcome = stranger(&cluster, "n2", &name, &tls_dir, &own).wait(REFUSED_MAX);
    outcome.fails(2, "in use");
    nothing_changed(&cluster, &ids, &before, since);
    cluster.terminate_all();
}

/// Memory and descriptors of the nodes are as before, once connections that are on their way out are gone.
#[track_caller]
fn resources(cluster: &Cluster, pids: &[i32], resident: &[u64], open: &[usize]) {
    within(Duration::from_secs(15), "the descriptors are as before", || {
        let now: Vec<usize> = pids.iter().map(|&pid| descriptors(pid)).collect();
        if now.iter().zip(open).all(|(now, before)| now <= before) { Ok(()) } else { Err(format!("{now:?}, {open:?}")) }
    });
    let now: Vec<u64> = pids.iter().map(|&pid| resident_bytes(pid)).collect();
    let rises: Vec<u64> = now.iter().zip(resident).map(|(now, before)| now.saturating_sub(*before)).collect();
    cluster.scenario.say(&format!("memory rose by {:?} KiB from {:?} KiB", kib(&rises), kib(resident)));
    assert!(rises.iter().all(|&rise| rise <= RESIDENT_RISE_MAX), "{rises:?}");
    assert!(pids.iter().all(|&pid| is_alive(pid)));
}

fn kib(bytes: &[u64]) -> Vec<u64> {
    bytes.iter().map(|bytes| bytes / 1024).collect()
}

/// How many datagrams came back to a socket.
fn answers(socket: &UdpSocket) -> usize {
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 2048];
    std::iter::from_fn(|| socket.recv_from(&mut buffer).ok()).count()
}

/// Noise of all lengths: plain, and in the forms of QUIC's packets.
fn garbage(random: &mut Random, number: usize) -> Vec<u8> {
    let (short, any, long) = (1 + random.below(64), 1 + random.below(1472), 1200 + random.below(200));
    match number % 8 {
        0 => random.bytes(short),
        1 => random.bytes(any),
        // An Initial of version 1, whole but for its payload, which is noise.
        2 => long_packet(random, long, 0xc3, [0, 0, 0, 1]),
        // An Initial of a version that does not exist: asks for version negotiation.
        3 => long_packet(random, long, 0xc0, [0xfa, 0xce, 0xb0, 0x0c]),
        // 0-RTT and handshake packets of connections that nobody has.
        4 => long_packet(random, long, 0xd3, [0, 0, 0, 1]),
        5 => long_packet(random, long, 0xe3, [0, 0, 0, 1]),
        // A short header: looks like a packet of a connection, and asks for a stateless reset.
        6 => packet(random, any.max(40), &[0x40]),
        // A connection id longer than there may be.
        _ => packet(random, long, &[0xff, 0, 0, 0, 1, 255]),
    }
}

/// Two connection ids of 8 bytes, no token, and the length of the rest.
fn long_packet(random: &mut Random, length: usize, first: u8, version: [u8; 4]) -> Vec<u8> {
    let mut head = vec![first];
    head.extend(version);
    for _ in 0..2 {
        head.push(8);
        head.extend(random.bytes(8));
    }
    head.push(0);
    let rest = u16::try_from(length - head.len() - 2).unwrap_or(0);
    head.extend((rest | 0x4000).to_be_bytes());
    packet(random, length, &head)
}

fn packet(random: &mut Random, length: usize, head: &[u8]) -> Vec<u8> {
    let mut bytes = random.bytes(length);
    bytes[..head.len()].copy_from_slice(head);
    bytes
}

/// Xorshift: noise that a failing run can be told by its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or(0)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}
