//! Bad input: one clear line, the exit code of the contract, nothing half-done.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use ordu_tests::{Answer, Cluster, Scenario, descriptors, run, until};
use serde_json::{Value, json};

/// What stands in a table for the node's own HTTP address, and for a port that somebody has.
const HTTP: &str = "{http}";
const TAKEN: &str = "{taken}";
/// What stands for the scenario's directory.
const ROOT: &str = "{root}";

/// Each line of a table fails with its exit code and one line of text that has the given part; afterwards the cluster is
/// as it was.
fn refuse(cluster: &Cluster, taken: &str, table: &[(&str, i32, &str)]) {
    let root = cluster.scenario.path().display().to_string();
    let before = shown(cluster);
    let http = cluster.nodes[0].door.address.to_string();
    for (line, code, part) in table {
        let fill = |word: &str| word.replace(HTTP, &http).replace(TAKEN, taken).replace(ROOT, &root);
        let words: Vec<String> = line.split(' ').map(|word| fill(&word.replace("\\x07", "\u{7}"))).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run(&cluster.scenario, None, &words).fails(*code, &fill(part));
        assert_eq!(shown(cluster), before, "{line}");
    }
}

fn shown(cluster: &Cluster) -> (Value, Value, usize) {
    let members = cluster.nodes[0].get("/v1/members").as_array().map_or(0, Vec::len);
    (cluster.nodes[0].get("/v1/children"), cluster.nodes[0].get("/v1/names"), members)
}

#[test]
fn commands_refuse_what_they_cannot_do() {
    let mut cluster = Cluster::start(Scenario::new("bad_commands"), 1);
    cluster.start_child(0, "web").ok();
    refuse(
        &cluster,
        "",
        &[
            ("frobnicate", 2, "frobnicate"),
            ("ps --frobnicate --http {http}", 2, "--frobnicate"),
            ("ps --http nowhere", 2, "nowhere"),
            ("ps --http 127.0.0.1:99999", 2, "127.0.0.1:99999"),
            ("ps --http 127.0.0.1:1", 3, "127.0.0.1:1"),
            ("ps --timeout 5 --http {http}", 2, "5"),
            ("ps --http-token-file {root}/no-such-file --http {http}", 2, "no-such-file"),
            ("start", 2, "ID"),
            ("start x --http {http}", 2, "CMD"),
            ("start a/b --http {http} -- true", 2, "a/b"),
            ("start a\\x07b --http {http} -- true", 2, "a"),
            ("start  --http {http} -- true", 2, ""),
            ("start x --env novalue --http {http} -- true", 2, "novalue"),
            ("start x --restart sometimes --http {http} -- true", 2, "sometimes"),
            ("start x --stop-timeout soon --http {http} -- true", 2, "soon"),
            ("start x --stop-signal CONT --http {http} -- true", 2, "CONT"),
            ("start x --user a:b:c --http {http} -- true", 2, "a:b:c"),
            ("start x --limit nofile --http {http} -- true", 2, "nofile"),
            ("start x --limit nofile=many --http {http} -- true", 2, "nofile=many"),
            ("start x --limit files=5 --http {http} -- true", 2, "is not one of core, cpu"),
            ("start x --user no-such-user --http {http} -- true", 1, "user not found: no-such-user"),
            ("start x --cwd /etc/passwd --http {http} -- true", 1, "no directory: /etc/passwd"),
            ("start x --node a/b --http {http} -- true", 2, "a/b"),
            ("start x --node n9 --http {http} -- true", 1, "n9"),
            ("start x --cwd /no/such/dir --http {http} -- true", 1, "/no/such/dir"),
            ("start x --http {http} -- no-such-program", 1, "command not found: no-such-program"),
            ("start x --http {http} -- /etc/passwd", 1, "/etc/passwd"),
            ("start web --http {http} -- true", 1, "already running on n1 (n1#1."),
            ("stop", 2, "ID"),
            ("stop a/b --http {http}", 2, "a/b"),
            ("stop nobody --http {http}", 1, "nobody"),
            ("restart nobody --http {http}", 1, "nobody"),
            ("show nobody --http {http}", 1, "nobody"),
            ("show a\\x07b --http {http}", 2, "a"),
            ("lookup nobody --http {http}", 1, "nobody"),
            ("lookup a%b --http {http}", 2, "a%b"),
            ("names --prefix a%b --http {http}", 2, "a%b"),
            ("explain nobody --http {http}", 1, "nobody"),
            ("explain a/b --http {http}", 2, "a/b"),
            ("drain n9 --http {http}", 1, "n9"),
            ("drain a/b --http {http}", 2, "a/b"),
            ("undrain n9 --http {http}", 1, "n9"),
            ("cordon n9 --http {http}", 1, "n9"),
            ("cordon a/b --http {http}", 2, "a/b"),
            ("uncordon n9 --http {http}", 1, "n9"),
            ("ca init {root}/ca", 2, "{root}/ca"),
            ("ca issue {root}/no-such-ca n1", 2, "{root}/no-such-ca"),
            ("ca issue {root}/ca n1", 2, "n1"),
            ("ca issue {root}/ca a/b", 2, "a/b"),
            ("ca issue {root}/ca ..", 2, ".."),
        ],
    );
    let long = "x".repeat(201);
    cluster.ordu(0, &["start", &long, "--", "true"]).fails(2, "200");
    assert!(!cluster.scenario.path().join("no-such-ca").exists());
    cluster.terminate_all();
}

#[test]
fn a_node_refuses_what_it_cannot_start_with() {
    let mut cluster = Cluster::start(Scenario::new("bad_up"), 1);
    let root = cluster.scenario.path().to_owned();
    let issue =
        |name: &str| run(&cluster.scenario, None, &["ca", "issue", &format!("{}/ca", root.display()), name]).ok();
    for name in ["x", "y", "z"] {
        issue(name);
    }
    std::fs::remove_file(root.join("ca/y/node.key")).unwrap();
    std::fs::write(root.join("ca/z/node.pem"), "this is no certificate\n").unwrap();
    std::fs::write(root.join("a-file"), "").unwrap();
    std::fs::create_dir(root.join("bad-boot")).unwrap();
    std::fs::write(root.join("bad-boot/boot"), "many\n").unwrap();
    std::fs::write(root.join("two-words"), "two words\n").unwrap();
    std::fs::write(root.join("empty"), "").unwrap();
    std::fs::write(root.join("bad.toml"), "drain-timeout = \"5s\"\ncolour = 1\n").unwrap();
    // A certificate and a key that do not belong together.
    issue("w");
    std::fs::copy(root.join("ca/x/node.key"), root.join("ca/w/node.key")).unwrap();

    let (udp, tcp) = (UdpSocket::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let up = "up --name x --ephemeral --listen 127.0.0.1:0 --http 127.0.0.1:0";
    let with = |rest: &str| format!("{up} {rest}");
    let udp_taken = format!("up --name x --ephemeral --http 127.0.0.1:0 --listen {}", udp.local_addr().unwrap());
    let tcp_taken = format!("up --name x --ephemeral --listen 127.0.0.1:0 --http {}", tcp.local_addr().unwrap());
    let join = with("--join 127.0.0.1:1");
    let table: Vec<(String, &str)> = vec![
        (udp_taken, "in use"),
        (tcp_taken, "in use"),
        (join, "ordu ca issue"),
        (with("--tls-dir {root}/no-such-dir"), "{root}/no-such-dir"),
        (with("--tls-dir {root}/ca/y"), "node.key"),
        (with("--tls-dir {root}/ca/z").replace("--name x", "--name z"), "node.pem"),
        (with("--tls-dir {root}/ca/w").replace("--name x", "--name w"), "node.key"),
        (with("--tls-dir {root}/ca/n1"), "is the certificate of node n1, not of x"),
        (with("--http-token-file {root}/no-such-file"), "{root}/no-such-file"),
        (with("--http-token-file {root}/empty"), "{root}/empty"),
        (with("--http-token-file {root}/two-words"), "{root}/two-words"),
        (with("--join nowhere"), "nowhere"),
        (with("--join 127.0.0.1:0"), "127.0.0.1:0"),
        (with("--drain-timeout 5"), "5"),
        (with("--config {root}/no-such-file"), "{root}/no-such-file"),
        (with("--config {root}/bad.toml"), "line 2, column 1: there is no setting `colour`"),
        (with("--expect 0"), "0"),
        (with("--expect-timeout soon"), "soon"),
        (with("--partition maybe"), "maybe"),
        (with("--redistribution lazy"), "lazy"),
        (with("--log-format xml"), "xml"),
        (with("--data-dir {root}/a-directory"), "--ephemeral"),
        (up.replace("--name x", "--name a/b"), "a/b"),
        (up.replace("--name x", "--name a\\x07b"), "a"),
        (up.replace("--name x", "--name .."), ".."),
        (up.replace("--ephemeral", "--data-dir {root}/a-file"), "{root}/a-file"),
        (up.replace("--ephemeral", "--data-dir {root}/bad-boot"), "{root}/bad-boot/boot"),
        (up.replace("--ephemeral", "--data-dir {root}/data/n1"), "in use"),
        (up.replace("--http 127.0.0.1:0", "--http 0.0.0.0:0"), "--http-token-file"),
        (up.replace("--listen 127.0.0.1:0", "--listen 0.0.0.0:0"), "--advertise"),
        (up.replace("--listen 127.0.0.1:0", "--listen nowhere"), "nowhere"),
        (up.replace("--listen 127.0.0.1:0", "--listen 192.0.2.1:7600"), "192.0.2.1:7600"),
        ("dev --nodes 0".into(), "0"),
        ("dev --nodes many".into(), "many"),
        ("dev --http 0.0.0.0:7600".into(), "0.0.0.0:7600"),
        ("dev --http {http}".into(), "in use"),
    ];
    let table: Vec<(&str, i32, &str)> = table.iter().map(|(line, part)| (line.as_str(), 2, *part)).collect();
    refuse(&cluster, "", &table);
    // An unreadable file: root reads everything, so it is a directory there.
    let secret = root.join("secret");
    std::fs::create_dir(&secret).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).unwrap();
    refuse(&cluster, "", &[(&with("--http-token-file {root}/secret"), 2, "{root}/secret")]);
    // Nothing half-done: no ephemeral directory is left, no process but the node and its keeper, no socket.
    let left: Vec<_> = std::fs::read_dir(root.join("tmp")).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
    until(Duration::from_secs(5), "only the node is left", || cluster.scenario.processes().len() == 2);
    cluster.terminate_all();
}

#[test]
fn http_answers_bad_requests_with_problems() {
    let mut cluster = Cluster::start(Scenario::new("bad_http"), 1);
    cluster.start_child(0, "web").ok();
    let before = shown(&cluster);
    let door = &cluster.nodes[0].door;
    let open = descriptors(cluster.nodes[0].os_pid());
    let ask = |method: &str, path: &str, body: &str| door.ask(method, path, body.as_bytes()).unwrap();
    let problem = |what: &str, answer: Answer, status: u16, part: &str| {
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        assert!(answer.head.contains("content-type: application/problem+json"), "{what}: {}", answer.head);
        let body = answer.json();
        assert_eq!(body["status"], status, "{what}: {body}");
        assert!(body["detail"].as_str().unwrap_or_default().contains(part), "{what}: no {part:?} in {body}");
        assert!(body["type"].is_string() && body["title"].is_string(), "{what}: {body}");
    };
    let child = |extra: &str| format!(r#"{{"id":"x","kind":"exec","args":{{"cmd":["sleep","1000"]}}{extra}}}"#);
    for (body, part) in [
        ("", ""),
        ("{", ""),
        ("[1]", ""),
        (r#"{"kind":"exec","args":{"cmd":["true"]}}"#, "id"),
        (r#"{"id":"a/b","args":{"cmd":["true"]}}"#, "id"),
        ("{\"id\":\"a\\u0007b\",\"args\":{\"cmd\":[\"true\"]}}", "id"),
        (r#"{"id":"","args":{"cmd":["true"]}}"#, "id"),
        (r#"{"id":"x","args":{"cmd":[]}}"#, "cmd"),
        (r#"{"id":"x","args":{"cmd":["true"],"colour":"red"}}"#, "colour"),
        (r#"{"id":"x","args":{"cmd":["true"],"user":"a:b:c"}}"#, "a:b:c"),
        (r#"{"id":"x","args":{"cmd":["true"],"limits":{"files":5}}}"#, "files"),
        (r#"{"id":"x","args":{"cmd":["true"],"stop_signal":"CONT"}}"#, "CONT"),
        (r#"{"id":"x","args":{"cmd":["true"],"cwd":"relative"}}"#, "cwd"),
        (r#"{"id":"x","args":{"cmd":["true"],"stop_timeout":5}}"#, "args: "),
        (&child(r#","colour":1"#), "colour"),
        (&child(r#","restart":"maybe""#), "restart"),
        (&child(r#","labels":{"a":1}"#), "string"),
        (&child(r#","labels":{"a b":"c"}"#), "a b"),
        (&child(r#","max_restarts":1001"#), "max_restarts"),
        (&child(r#","within":"3s""#), "within"),
        (&child(r#","node":"a/b""#), "node"),
    ] {
        problem(body, ask("POST", "/v1/children", body), 400, part);
    }
    problem("timeout", ask("POST", "/v1/children?timeout=soon", &child("")), 400, "timeout");
    problem("query", ask("POST", "/v1/children?colour=1", &child("")), 400, "colour");
    problem("query", ask("GET", "/v1/names?colour=1", ""), 400, "colour");
    problem("rebalance", ask("POST", "/v1/rebalance?max_moves=-1", ""), 400, "query");
    problem("logs", ask("GET", "/v1/children/web/logs?lines=-1", ""), 400, "lines");
    problem("logs", ask("GET", "/v1/children/a%2Fb/logs", ""), 400, "a/b");
    problem("slash", ask("GET", "/v1/children/a%2Fb", ""), 400, "a/b");
    problem("control", ask("DELETE", "/v1/children/a%07b", ""), 400, "");
    for (method, path) in [
        ("GET", "/v1/children/nobody"),
        ("GET", "/v1/children/nobody/explain"),
        ("GET", "/v1/children/nobody/logs"),
        ("DELETE", "/v1/children/nobody"),
        ("POST", "/v1/children/nobody/restart"),
        ("GET", "/v1/names/nobody"),
        ("POST", "/v1/nodes/n9/drain"),
        ("POST", "/v1/nodes/n9/undrain"),
        ("POST", "/v1/nodes/n9/cordon"),
        ("POST", "/v1/nodes/n9/uncordon"),
        ("GET", "/v2"),
    ] {
        problem(path, ask(method, path, ""), 404, "");
    }
    problem("method", ask("PUT", "/v1/status", ""), 405, "");
    problem("kind", ask("POST", "/v1/children", r#"{"id":"x","kind":"unknown"}"#), 503, "unknown");
    problem("node", ask("POST", "/v1/children", &child(r#","node":"n9""#)), 503, "n9");
    problem("program", ask("POST", "/v1/children", &child("").replace("sleep", "no-such-program")), 422, "not found");
    let conflict = ask("POST", "/v1/children", &child("").replace(r#""x""#, r#""web""#));
    assert_eq!((conflict.status, &conflict.json()["status"]), (409, &json!("running")), "{}", conflict.body);

    let long = format!(r#"{{"id":"x","args":{{"cmd":["true","{}"]}}}}"#, "x".repeat(1 << 20));
    problem("a body over 1 MiB", ask("POST", "/v1/children", &long), 413, "");
    // Not even HTTP.
    let mut socket = door.connect().unwrap();
    socket.write_all(b"\x16\x03\x01\x02\x00 no http \r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    // Connections that say nothing, or half of something.
    let idle: Vec<_> = (0..50).map(|_| door.connect().unwrap()).collect();
    for mut socket in &idle {
        socket.write_all(b"GET /v1/sta").unwrap();
    }
    assert_eq!(door.get("/v1/status").unwrap()["name"], "n1", "it serves others meanwhile");
    drop(idle);
    assert_eq!(shown(&cluster), before);
    until(Duration::from_secs(20), "descriptors are as before", || descriptors(cluster.nodes[0].os_pid()) <= open);
    assert!(cluster.nodes[0].is_running());
    cluster.terminate_all();
}

#[test]
fn a_token_is_needed_where_one_is_set() {
    let scenario = Scenario::new("token");
    let file = scenario.path().join("token");
    std::fs::write(&file, "a-long-secret\n").unwrap();
    let (right, wrong) = (file.display().to_string(), scenario.path().join("wrong").display().to_string());
    std::fs::write(&wrong, "another-secret\n").unwrap();
    let mut node = ordu_tests::spawn(
        &scenario,
        None,
        &[
            "up",
            "--name",
            "n1",
            "--ephemeral",
            "--listen",
            "127.0.0.1:0",
            "--http",
            "0.0.0.0:0",
            "--http-token-file",
            &right,
        ],
    );
    until(Duration::from_secs(10), "it is ready", || node.stdout().contains("ready "));
    let ready = node.stdout();
    let port = ready.trim().rsplit(':').next().unwrap().to_owned();
    let http = format!("127.0.0.1:{port}");
    run(&scenario, None, &["ps", "--http", &http]).fails(2, "token");
    run(&scenario, None, &["ps", "--http", &http, "--http-token-file", &wrong]).fails(2, "token");
    run(&scenario, None, &["ps", "--http", &http, "--http-token-file", &right]).ok();
    run(&scenario, None, &["start", "web", "--http", &http, "--", "sleep", "1000"]).fails(2, "token");
    assert_eq!(run(&scenario, None, &["ps", "--json", "--http", &http, "--http-token-file", &right]).json(), json!([]));
    assert!(node.is_running());
    node.signal(nix::sys::signal::Signal::SIGTERM);
    node.wait(Duration::from_secs(20)).ok();
    let left: Vec<_> = std::fs::read_dir(scenario.path().join("tmp")).unwrap().flatten().collect();
    assert!(left.is_empty(), "the ephemeral directory is gone: {left:?}");
}
