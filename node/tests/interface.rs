//! The HTTP interface and the command line over a node that is made up: rows as JSON, errors, exit codes.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "those are banned from the cores only")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use ordu_node::backend::{Answer, Answers, Backend, Refusal, Restart, Wish};
use ordu_node::http;
use ordu_node::rows::{
    Child, Event, Explanation, Member, Move, Moves, Name, Progress, StartRequest, StartResult, Status,
};
use ordu_supervisor::core::Intensity;

const ORDU: &str = env!("CARGO_BIN_EXE_ordu");

/// A node that knows one running child, `web`, and answers to other ids as they are called.
#[derive(Default)]
struct MadeUp {
    asked: Mutex<Vec<(Wish, bool, Duration)>>,
    /// Whether its events go on for ever, without a further one.
    is_endless: AtomicBool,
    /// Which nodes were to be cordoned, or not any more.
    cordoned: Mutex<Vec<(String, bool)>>,
}

fn web() -> Child {
    Child {
        id: "web".into(),
        kind: "exec".into(),
        node: Some("n2".into()),
        pid: Some("n2#1.7".into()),
        os_pid: Some(4242),
        status: "running".into(),
        restarts: 1,
        since: "2026-01-02T03:04:05.678Z".into(),
        fence: Some("00ff".into()),
        reason: None,
        labels: Default::default(),
        log: Some("/data/logs/web.log".into()),
    }
}

fn waiting() -> Child {
    let reason = Some("exit status 3".into());
    Child { id: "waiting".into(), status: "backoff".into(), pid: None, os_pid: None, reason, ..web() }
}

fn event(kind: &str) -> Event {
    let at = "2026-01-02T03:04:05.678Z".into();
    Event { at, node: "n1".into(), kind: kind.into(), child: Some("web".into()), ..Event::default() }
}

impl Backend for MadeUp {
    fn status(&self) -> Status {
        Status {
            cluster: "ordu".into(),
            name: "n1".into(),
            boot: 3,
            healthy: true,
            members_up: 2,
            members: 3,
            children: 2,
            running: 1,
            names: 1,
            conflicts_total: 0,
            checkpoints: 0,
            clock_hash: "00000000000000ab".into(),
            converged: true,
            progress: Some(Progress { taken: 3, expected: 12 }),
            quorum: None,
        }
    }

    fn members(&self) -> Vec<Member> {
        let member = |name: &str, status: &str, rtt_ms| Member {
            name: name.into(),
            boot: 1,
            addr: "127.0.0.1:7600".into(),
            status: status.into(),
            children: 1,
            labels: Default::default(),
            kinds: vec!["exec".into()],
            version: "0.1.0".into(),
            rtt_ms,
            cordoned: name == "n1",
            full: name == "n2",
            max_children: (name == "n2").then_some(1),
        };
        vec![member("n1", "up", None), member("n2", "down", Some(0.25))]
    }

    fn children(&self) -> Vec<Child> {
        vec![waiting(), web()]
    }

    fn child(&self, id: &str) -> Option<Child> {
        self.children().into_iter().find(|child| child.id == id)
    }

    fn spec(&self, id: &str) -> Option<StartRequest> {
        let web = r#"{"id":"web","kind":"exec","args":{"cmd":["a"],"stop_timeout":"10s"},"restart":"permanent","labels":{"k":"v"}}"#;
        (id == "web").then(|| serde_json::from_str(web).unwrap())
    }

    fn explain(&self, id: &str) -> Option<Explanation> {
        (id == "web").then(|| serde_json::from_str(EXPLAINED).unwrap())
    }

    fn names(&self, prefix: &str) -> Vec<Name> {
        let name = |name: &str, value| Name {
            name: name.into(),
            pid: "n2#1.7".into(),
            node: "n2".into(),
            since: "2026-01-02T03:04:05.678Z".into(),
            fence: "00ff".into(),
            value,
        };
        let names = [name("shop/cart", serde_json::json!("v")), name("web", serde_json::Value::Null)];
        names.into_iter().filter(|name| name.name.starts_with(prefix)).collect()
    }

    fn name(&self, name: &str) -> Option<Name> {
        self.names("").into_iter().find(|row| row.name == name)
    }

    fn events(&self) -> (Vec<Event>, BoxStream<'static, Event>) {
        let endless = self.is_endless.load(Ordering::Relaxed).then(stream::pending);
        let live = stream::iter([event("child_exited")]).chain(stream::iter(endless).flatten());
        (vec![event("child_starting"), event("child_running")], live.boxed())
    }

    fn logs<'a>(&'a self, id: &'a str, lines: u64, follow: bool) -> Answer<'a, ordu_node::logs::Output> {
        let line = |text: String| Ok(text.into());
        let printed = vec![line(format!("{lines} lines\n")), line("\u{e9}\n".into()), line("half".into())];
        let broken = (id == "waiting").then(|| Err(std::io::Error::other("the disk is gone")));
        let endless = follow.then(stream::pending);
        let output = stream::iter(printed).chain(stream::iter(broken)).chain(stream::iter(endless).flatten());
        // As from a real log, what is there is sent before the next comes.
        let output = output.then(async |bytes| {
            tokio::task::yield_now().await;
            bytes
        });
        let known = self.child(id).map(|_| output.boxed());
        Box::pin(std::future::ready(known.ok_or_else(|| Refusal::NotFound(format!("there is no child {id}")))))
    }

    fn start(&self, wish: Wish, ensure: bool, deadline: Duration) -> Answer<'_, Child> {
        let answer = match wish.id.as_str() {
            "web" if ensure => Ok(web()),
            "web" => Err(Refusal::AlreadyThere(Box::new(web()))),
            "waiting" if ensure => Ok(waiting()),
            "waiting" => Err(Refusal::AlreadyThere(Box::new(waiting()))),
            "broken" => Err(Refusal::InitFailed("command not found: nope".into())),
            "surplus" => Err(Refusal::ClusterFull("5 children should run already".into())),
            "homeless" => Err(Refusal::NoEligibleNode("no node named n9 is up".into())),
            "slow" => Err(Refusal::Timeout("slow: accepted, but it does not run yet".into())),
            "late" => Err(Refusal::Closed),
            id => Ok(Child { id: id.into(), ..web() }),
        };
        self.asked.lock().unwrap().push((wish, ensure, deadline));
        Box::pin(std::future::ready(answer))
    }

    fn start_many(&self, wishes: Vec<Wish>, ensure: bool, deadline: Duration) -> Answers<'_, Child> {
        let answers: Vec<_> = wishes.into_iter().map(|wish| self.start(wish, ensure, deadline)).collect();
        Box::pin(async {
            let mut done = Vec::new();
            for answer in answers {
                done.push(answer.await);
            }
            done
        })
    }

    fn stop<'a>(&'a self, id: &'a str, _deadline: Duration) -> Answer<'a, ()> {
        let known = self.child(id).map(drop);
        Box::pin(std::future::ready(known.ok_or_else(|| Refusal::NotFound(format!("there is no child {id}")))))
    }

    fn restart<'a>(&'a self, id: &'a str, _deadline: Duration) -> Answer<'a, Child> {
        if id == "hangs" {
            return Box::pin(std::future::pending());
        }
        let known = self.child(id);
        Box::pin(std::future::ready(known.ok_or_else(|| Refusal::NotFound(format!("there is no child {id}")))))
    }

    fn drain<'a>(&'a self, node: &'a str, _deadline: Duration) -> Answer<'a, ()> {
        let known = self.members().into_iter().any(|member| member.name == node);
        let answer = if known { Ok(()) } else { Err(Refusal::NotFound(format!("there is no member {node}"))) };
        Box::pin(std::future::ready(answer))
    }

    fn rebalance(&self, most: usize, _dry_run: bool) -> Moves {
        let moves = [("web", "n1", "n2"), ("db", "n2", "n1")].into_iter().take(most);
        let row =
            |(child, from, to): (&str, &str, &str)| Move { child: child.into(), from: from.into(), to: to.into() };
        Moves { moves: moves.map(row).collect() }
    }

    fn remove<'a>(&'a self, node: &'a str, deadline: Duration) -> Answer<'a, ()> {
        self.drain(node, deadline)
    }

    fn undrain<'a>(&'a self, node: &'a str, deadline: Duration) -> Answer<'a, ()> {
        self.drain(node, deadline)
    }

    fn cordon<'a>(&'a self, node: &'a str, on: bool, deadline: Duration) -> Answer<'a, ()> {
        self.cordoned.lock().unwrap().push((node.to_owned(), on));
        self.drain(node, deadline)
    }
}

struct Served {
    address: SocketAddr,
    backend: Arc<MadeUp>,
    _runtime: tokio::runtime::Runtime,
}

/// Serves the made-up node for as long as the answer is held.
fn serve(token: Option<&str>) -> Served {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let backend = Arc::new(MadeUp::default());
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(http::serve(listener, http::router(backend.clone(), token.map(str::to_owned))));
    Served { address, backend, _runtime: runtime }
}

impl Served {
    fn ordu(&self, line: &str) -> Output {
        ordu(&format!("{line} --http {}", self.address))
    }

    /// One request as bytes; status, head and body of the answer.
    fn ask(&self, request: &str, body: &[u8]) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head = format!(
            "{request}\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
    }

    fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.ask(&format!("GET {path} HTTP/1.1"), b"");
        (status, body)
    }

    fn post(&self, path: &str, body: &str) -> (u16, String) {
        let (status, _, body) = self.ask(&format!("POST {path} HTTP/1.1"), body.as_bytes());
        (status, body)
    }
}

/// Runs the binary; options go before a command's own `--`.
fn ordu(line: &str) -> Output {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if let (Some(dashes), Some(http)) =
        (words.iter().position(|&word| word == "--"), words.iter().rposition(|&word| word == "--http"))
        && http > dashes
    {
        let option: Vec<&str> = words.drain(http..http + 2).collect();
        words.splice(dashes..dashes, option);
    }
    let clean = std::env::vars().filter(|(name, _)| name.starts_with("ORDU_")).map(|(name, _)| name);
    let mut command = Command::new(ORDU);
    for name in clean {
        command.env_remove(name);
    }
    command.args(words).output().unwrap()
}

fn says(output: &Output, code: i32, expected: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.contains(expected), "{error}");
    assert_eq!(error.lines().count(), usize::from(code != 0), "one line: {error}");
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

const WEB: &str = r#"{"id":"web","kind":"exec","node":"n2","pid":"n2#1.7","os_pid":4242,"status":"running","restarts":1,"since":"2026-01-02T03:04:05.678Z","fence":"00ff","reason":null,"labels":{},"log":"/data/logs/web.log"}"#;

const EXPLAINED: &str = r#"{"id":"web","status":"running","node":"n2","reason":null,"placement":"uniform","pinned_to":null,"restart":"permanent","require":{"zone":"east"},"avoid":{},"prefer":{"disk":"ssd"},"apart_from":null,"seat":"n2","decider":null,"next":"n3","moves":false,"why":"n2 is where it belongs","nodes":[{"node":"n2","status":"up","cordoned":false,"order":1,"weight":1,"preferred":1,"children":null,"near":null,"beside":null,"reason":null},{"node":"n3","status":"up","cordoned":false,"order":2,"weight":1,"preferred":0,"children":null,"near":null,"beside":null,"reason":null},{"node":"n1","status":"up","cordoned":false,"order":null,"weight":1,"preferred":0,"children":null,"near":null,"beside":null,"reason":"it lacks the label zone=east"}],"eligible":52,"ineligible":1,"left_out":50}"#;

#[test]
fn rows_are_those_of_the_contract() {
    let served = serve(None);
    let (status, body) = served.get("/v1/children/web");
    assert_eq!((status, body.as_str()), (200, WEB));
    let waiting = r#"{"id":"waiting","kind":"exec","node":"n2","pid":null,"os_pid":null,"status":"backoff","restarts":1,"since":"2026-01-02T03:04:05.678Z","fence":"00ff","reason":"exit status 3","labels":{},"log":"/data/logs/web.log"}"#;
    assert_eq!(served.get("/v1/children").1, format!("[{waiting},{WEB}]"));
    assert_eq!(
        served.get("/v1/members").1,
        r#"[{"name":"n1","boot":1,"addr":"127.0.0.1:7600","status":"up","children":1,"labels":{},"kinds":["exec"],"version":"0.1.0","rtt_ms":null,"cordoned":true,"full":false,"max_children":null},{"name":"n2","boot":1,"addr":"127.0.0.1:7600","status":"down","children":1,"labels":{},"kinds":["exec"],"version":"0.1.0","rtt_ms":0.25,"cordoned":false,"full":true,"max_children":1}]"#
    );
    assert_eq!(
        served.get("/v1/status").1,
        r#"{"cluster":"ordu","name":"n1","boot":3,"healthy":true,"members_up":2,"members":3,"children":2,"running":1,"names":1,"conflicts_total":0,"checkpoints":0,"clock_hash":"00000000000000ab","converged":true,"progress":{"taken":3,"expected":12}}"#
    );
    let cart = r#"{"name":"shop/cart","pid":"n2#1.7","node":"n2","since":"2026-01-02T03:04:05.678Z","fence":"00ff","value":"v"}"#;
    assert_eq!(served.get("/v1/names?prefix=shop/").1, format!("[{cart}]"));
    assert_eq!(served.get("/v1/names/shop/cart").1, cart);
    assert!(served.get("/v1/names").1.contains(r#""value":null"#));
}

#[test]
fn json_of_a_command_is_what_get_answers() {
    let served = serve(None);
    for (line, path) in [
        ("ps", "/v1/children"),
        ("show web", "/v1/children/web"),
        ("explain web", "/v1/children/web/explain"),
        ("members", "/v1/members"),
        ("status", "/v1/status"),
        ("names --prefix shop/", "/v1/names?prefix=shop/"),
        ("lookup shop/cart", "/v1/names/shop/cart"),
    ] {
        assert_eq!(out(&served.ordu(&format!("{line} --json"))), served.get(path).1 + "\n", "{line}");
    }
}

#[test]
fn events_come_once_each() {
    let served = serve(None);
    let kinds = |text: &str| -> Vec<String> {
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str::<Event>(data).unwrap().kind).collect()
    };
    assert_eq!(kinds(&served.get("/v1/events").1), ["child_starting", "child_running", "child_exited"]);
    assert_eq!(kinds(&served.get("/v1/events?follow=false").1), ["child_starting", "child_running"]);
    let output = served.ordu("events --json");
    let first = r#"{"at":"2026-01-02T03:04:05.678Z","node":"n1","type":"child_starting","child":"web"}"#;
    assert_eq!(out(&output).lines().next(), Some(first));
    assert_eq!(out(&output).lines().count(), 2);
    // The node's end of the stream is its end: the follower says so.
    says(&served.ordu("events -f"), 3, "went away");
}

#[test]
fn logs_are_text_as_it_comes() {
    let served = serve(None);
    let (status, head, body) = served.ask("GET /v1/children/web/logs?lines=7 HTTP/1.0", b"");
    assert_eq!((status, body.as_str()), (200, "7 lines\n\u{e9}\nhalf"));
    assert!(head.contains("content-type: text/plain; charset=utf-8") && head.contains("nosniff"), "{head}");
    assert_eq!(out(&served.ordu("logs web")), "100 lines\n\u{e9}\nhalf");
    let lines = "{\"line\":\"3 lines\"}\n{\"line\":\"\u{e9}\"}\n{\"line\":\"half\"}\n";
    assert_eq!(out(&served.ordu("logs web -n 3 --json")), lines);
    says(&served.ordu("logs nobody -f"), 1, "logs nobody: there is no child nobody");
    // One that breaks off is not taken for a whole one.
    let output = served.ordu("logs waiting");
    says(&output, 3, "logs waiting: the answer of the node at");
    assert_eq!(out(&output), "100 lines\n\u{e9}\nhalf");
}

#[test]
fn a_start_says_what_was_asked() {
    let served = serve(None);
    let line = "start new --restart transient --env A=1 --env B=x=y --node n3 --stop-timeout 3s --max-restarts 5 --within 90s --escalate --cwd /tmp --label team=a --label b= --timeout 7s --json -- echo hi";
    let output = served.ordu(line);
    says(&output, 0, "");
    assert_eq!(serde_json::from_str::<Child>(&out(&output)).unwrap().id, "new");
    let (wish, ensure, deadline) = served.backend.asked.lock().unwrap().remove(0);
    assert_eq!((wish.id.as_str(), wish.kind.as_str(), wish.restart), ("new", "exec", Restart::Transient));
    assert_eq!((wish.node.as_deref(), ensure, deadline), (Some("n3"), false, Duration::from_secs(7)));
    let intensity = Intensity { escalates: true, ..Intensity::new(5, Duration::from_secs(90)) };
    assert_eq!((wish.stop_timeout, wish.intensity), (Duration::from_secs(3), Some(intensity)));
    assert_eq!(wish.labels.into_iter().collect::<Vec<_>>(), [("b".into(), "".into()), ("team".into(), "a".into())]);
    let args: serde_json::Value = serde_json::from_slice(&wish.args).unwrap();
    let expected =
        serde_json::json!({"cmd": ["echo", "hi"], "env": {"A": "1", "B": "x=y"}, "cwd": "/tmp", "stop_timeout": "3s"});
    assert_eq!(args, expected);
}

#[test]
fn many_are_started_by_one_request_and_each_is_told_of() {
    let served = serve(None);
    let child = |id: &str| format!(r#"{{"id":"{id}","args":{{"cmd":["true"]}}}}"#);
    let ids = ["new", "web", "bad id", "broken", "surplus", "slow", "last"];
    let list = format!(" [{}]", ids.map(child).join(","));
    let (status, answer) = served.post("/v1/children?timeout=7s", &list);
    assert_eq!(status, 200, "{answer}");
    let results: Vec<StartResult> = serde_json::from_str(&answer).unwrap();
    let told = |result: &StartResult| (result.status, result.code.clone().unwrap_or_default());
    assert_eq!(results.iter().map(|result| result.id.as_str()).collect::<Vec<_>>(), ids);
    for (at, status, code) in [
        (1, 409, "already_there"),
        (2, 400, "invalid"),
        (3, 422, "init_failed"),
        (4, 503, "cluster_full"),
        (5, 504, "timeout"),
    ] {
        assert_eq!((told(&results[at]), results[at].child.is_none()), ((Some(status), code.into()), true));
    }
    for at in [0, 6] {
        assert_eq!(results[at].child.as_ref().map(|child| child.id.as_str()), Some(ids[at]));
        assert_eq!((told(&results[at]), results[at].error.is_none()), ((None, String::new()), true));
    }
    assert_eq!(results[1].error.as_deref(), Some("already running on n2 (n2#1.7)"));
    assert!(results[2].error.as_deref().unwrap().starts_with("id: "));
    let asked: Vec<_> = std::mem::take(&mut *served.backend.asked.lock().unwrap());
    assert_eq!(asked.len(), ids.len() - 1);
    assert!(asked.iter().all(|(_, ensure, deadline)| !ensure && *deadline == Duration::from_secs(7)));
    let (_, answer) = served.post("/v1/children?ensure=true", &format!("[{}]", child("web")));
    assert!(answer.contains(r#""child":{"id":"web""#), "{answer}");
    assert!(served.backend.asked.lock().unwrap()[0].1);

    assert_eq!(served.post("/v1/children", "[]"), (200, "[]".into()));
    served.backend.asked.lock().unwrap().clear();
    let too_many = format!("[{}]", vec![child("a"); 10_001].join(","));
    for (body, part) in [
        ("[".to_owned(), "not a list of children"),
        (format!("[{},{{\"colour\":1}}]", child("new")), "not a list of children"),
        (too_many, "10001 children are more than 10000"),
    ] {
        let (status, answer) = served.post("/v1/children", &body);
        assert!(status == 400 && answer.contains(part), "{status}: {answer}");
    }
    assert_eq!(served.post("/v1/children", &format!("[{}]", " ".repeat(1 << 20))).0, 413);
    assert!(served.backend.asked.lock().unwrap().is_empty(), "none is started of a list that is refused");
}

#[test]
fn each_outcome_has_its_exit_code() {
    let served = serve(None);
    says(&served.ordu("start web -- true"), 1, "already running on n2 (n2#1.7)");
    says(&served.ordu("start waiting -- true"), 1, "already backoff");
    says(&served.ordu("start web --ensure -- true"), 0, "");
    says(&served.ordu("start waiting --ensure -- true"), 0, "");
    says(&served.ordu("start broken -- nope"), 1, "command not found: nope");
    says(&served.ordu("start homeless --node n9 -- true"), 1, "no node named n9");
    says(&served.ordu("start surplus -- true"), 1, "5 children should run already");
    says(&served.ordu("start slow -- true"), 4, "does not run yet");
    says(&served.ordu("start late -- true"), 3, "on its way out");
    says(&served.ordu("stop web"), 0, "");
    says(&served.ordu("stop nobody"), 1, "there is no child nobody");
    says(&served.ordu("restart web"), 0, "");
    says(&served.ordu("show nobody"), 1, "there is no child nobody");
    says(&served.ordu("explain nobody"), 1, "explain nobody: there is no child nobody");
    says(&served.ordu("lookup nobody"), 1, "nobody holds the name nobody");
    says(&served.ordu("drain"), 0, "");
    says(&served.ordu("drain n9"), 1, "there is no member n9");
    says(&served.ordu("undrain n2"), 0, "");
    says(&served.ordu("cordon n9"), 1, "there is no member n9");
    says(&served.ordu("uncordon n9"), 1, "there is no member n9");
    says(&served.ordu("remove n2"), 0, "");
    says(&served.ordu("rebalance --dry-run"), 0, "");
    says(&served.ordu("rebalance --max-moves 10001"), 2, "10001");
    says(&served.ordu("remove n9"), 1, "there is no member n9");
    says(&served.ordu("restart hangs --timeout 100ms"), 4, "the outcome is unknown");
}

#[test]
fn why_a_child_is_where_it_is_is_a_sentence_and_a_table() {
    let served = serve(None);
    let expected = "\
web is running on n2: n2 is where it belongs
it is permanent, placed uniformly, requires zone=east, prefers disk=ssd; without n2 it would go to n3
ORDER  NODE  STATUS  WEIGHT  PREFERRED  NOTE
1      n2    up      1       1 of 1     has it; its seat
2      n3    up      1       0 of 1     -
-      n1    up      1       0 of 1     it lacks the label zone=east
50 nodes are left out; 52 may run it, 1 may not
";
    assert_eq!(out(&served.ordu("explain web")), expected);
    assert_eq!(served.get("/v1/children/web/explain"), (200, EXPLAINED.to_owned()));
}

#[test]
fn a_node_is_cordoned_and_uncordoned() {
    let served = serve(None);
    assert_eq!(out(&served.ordu("cordon n2")), "n2 takes no more children, and keeps those that it has\n");
    assert_eq!(out(&served.ordu("uncordon --json")), "{\"node\":\"n1\"}\n");
    assert_eq!(served.post("/v1/nodes/n2/cordon", ""), (204, String::new()));
    let asked = served.backend.cordoned.lock().unwrap().clone();
    assert_eq!(asked, [("n2".to_owned(), true), ("n1".to_owned(), false), ("n2".to_owned(), true)]);
    let members = out(&served.ordu("members"));
    assert!(members.lines().nth(1).unwrap().starts_with("n1    up, cordoned  1 "), "{members}");
    assert!(
        members.lines().nth(2).unwrap().starts_with("n2    down, full    1     127.0.0.1:7600  1 of 1 "),
        "{members}"
    );
    assert_eq!(served.get("/v1/nodes/n2/cordon").0, 405);
    assert_eq!(served.post("/v1/nodes/n2/cordon?colour=1", "").0, 400);
}

#[test]
fn bad_usage_is_one_line_and_exit_2() {
    for (line, expected) in [
        ("start a/b -- true", "a/b"),
        ("start web", "CMD"),
        ("frobnicate", "frobnicate"),
        ("ps --frobnicate", "--frobnicate"),
        ("ps --http nowhere", "HOST:PORT"),
        ("ps --http-token-file /no/such/file", "/no/such/file"),
        ("start web --label ab -- true", "K=V"),
        ("start web --max-restarts many -- true", "--max-restarts"),
        ("start web --within 3s -- true", "--max-restarts"),
        ("start web --max-restarts 3 --within soon -- true", "soon"),
        ("bench --nodes 1", "1"),
        ("up --partition quorum:1 --name n1", "not a number from 2 to 16"),
        ("up --expect 0 --name n1", "0 is not in 1..=1000"),
        ("up --name n1 --ephemeral --join 127.0.0.1:1", "ordu ca issue"),
        ("up --name n1 --ephemeral --tls-dir /no/such", "/no/such/ca.pem"),
        ("up --name a/b --ephemeral", "a/b"),
        ("up --name n1 --ephemeral --http 0.0.0.0:0", "--http-token-file"),
        ("dev --nodes 0", "0"),
        ("dev --http 0.0.0.0:7600", "loopback"),
        ("ca issue /no/such n1", "/no/such"),
        ("ca issue /tmp a/b", "a/b"),
    ] {
        says(&ordu(line), 2, expected);
    }
}

#[test]
fn completions_know_the_commands() {
    for (shell, part) in [("bash", "complete -F"), ("zsh", "#compdef ordu"), ("fish", "complete -c ordu")] {
        let output = ordu(&format!("completions {shell}"));
        says(&output, 0, "");
        let script = out(&output);
        assert!(script.contains(part) && script.contains("apply") && script.contains("max-restarts"), "{shell}");
        assert!(!script.contains("__keeper"), "{shell}");
    }
    says(&ordu("completions tcsh"), 2, "tcsh");
}

#[test]
fn a_node_that_is_not_there_is_exit_3() {
    // Bound and dropped: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    says(&ordu(&format!("ps --http 127.0.0.1:{port}")), 3, "connection refused");
    says(&ordu(&format!("start web --http 127.0.0.1:{port} -- true")), 3, "start web: cannot reach the node");
}

#[test]
fn a_certificate_under_another_name_is_exit_2() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca");
    says(&ordu(&format!("ca init {}", ca.display())), 0, "");
    says(&ordu(&format!("ca init {}", ca.display())), 2, "exists already");
    says(&ordu(&format!("ca issue {} n1", ca.display())), 0, "");
    says(&ordu(&format!("ca issue {} n1", ca.display())), 2, "exists already");
    let line = format!("up --name n2 --ephemeral --tls-dir {}/n1", ca.display());
    says(&ordu(&line), 2, "is the certificate of node n1, not of n2");
}

#[test]
fn bad_requests_are_problems() {
    let served = serve(None);
    let problem = |(status, body): (u16, String), expected: u16, code: &str, detail: &str| {
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (status, problem["code"].as_str(), problem["status"].as_u64()),
            (expected, Some(code), Some(expected.into()))
        );
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{body}");
    };
    let exec = |extra: &str| format!(r#"{{"id":"x","kind":"exec","args":{{"cmd":["true"]}}{extra}}}"#);
    problem(served.post("/v1/children", "{"), 400, "invalid", "not a child");
    problem(served.post("/v1/children", r#"{"id":"a/b","kind":"exec"}"#), 400, "invalid", "id: '/'");
    problem(
        served.post("/v1/children", r#"{"id":"x","kind":"exec","args":{}}"#),
        400,
        "invalid",
        "missing field `cmd`",
    );
    problem(served.post("/v1/children", &exec(r#","colour":1"#)), 400, "invalid", "colour");
    problem(served.post("/v1/children", &exec(r#","restart":"maybe""#)), 400, "invalid", "restart");
    problem(served.post("/v1/children", &exec(r#","labels":{"a b":"c"}"#)), 400, "invalid", "not a label's name");
    problem(served.get("/v1/children/nobody/spec"), 404, "not_found", "nobody");
    for (fields, part) in [
        (r#","max_restarts":1001"#, "more than 1000"),
        (r#","max_restarts":-1"#, "-1"),
        (r#","within":"3s""#, "needs max_restarts"),
        (r#","max_restarts":3,"within":"0s""#, "within: 0ns is not between"),
        (r#","max_restarts":3,"within":"25h""#, "is not between 1ms and 24h"),
        (r#","max_restarts":3,"restart":"temporary""#, "never restarted"),
    ] {
        problem(served.post("/v1/children", &exec(fields)), 400, "invalid", part);
    }
    problem(served.post("/v1/children?timeout=soon", &exec("")), 400, "invalid", "timeout");
    problem(served.post("/v1/children?colour=1", &exec("")), 400, "invalid", "colour");
    problem(served.post("/v1/rebalance?max_moves=10001", ""), 400, "invalid", "max_moves");
    problem(served.post("/v1/rebalance?dry_run=perhaps", ""), 400, "invalid", "query");
    problem(served.get("/v1/children/nobody/logs"), 404, "not_found", "nobody");
    problem(served.get("/v1/children/web/logs?follow=1"), 400, "invalid", "query");
    problem(served.get("/v1/children/web/logs?lines=1000001"), 400, "invalid", "1000000");
    problem(served.get("/v1/children/a%2Fb/logs"), 400, "invalid", "a/b");
    problem(served.get("/v1/children/nobody"), 404, "not_found", "nobody");
    problem(served.get("/v1/children/a%2Fb"), 400, "invalid", "a/b");
    problem(served.get("/v1/children/nobody/explain"), 404, "not_found", "nobody");
    problem(served.get("/v1/children/a%2Fb/explain"), 400, "invalid", "a/b");
    problem(served.post("/v1/children/web/explain", ""), 405, "method_not_allowed", "method");
    problem(served.get("/v1/children/%ff"), 400, "invalid", "UTF-8");
    problem(served.get("/v1/names/%ff"), 400, "invalid", "UTF-8");
    problem(served.get("/v2"), 404, "not_found", "/v2");
    problem(served.post("/v1/status", ""), 405, "method_not_allowed", "method");
    let (status, head, _) = served.ask("GET /v2 HTTP/1.1", b"");
    assert!(status == 404 && head.contains("content-type: application/problem+json"), "{head}");
    assert_eq!(served.post("/v1/children", &exec("").replace("\"x\"", "\"web\"")), (409, WEB.to_owned()));
    assert_eq!(served.post("/v1/children", &exec("")).0, 201);
    assert_eq!(served.ask("DELETE /v1/children/web HTTP/1.1", b"").0, 204);
    assert_eq!(served.ask("DELETE /v1/children/nobody HTTP/1.1", b"").0, 404);
}

#[test]
fn readers_of_events_leave_room_for_others() {
    let served = serve(None);
    served.backend.is_endless.store(true, Ordering::Relaxed);
    let follow = || {
        let mut stream = TcpStream::connect(served.address).unwrap();
        write!(stream, "GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        (stream, String::from_utf8_lossy(&head).into_owned())
    };
    let readers: Vec<_> = (0..256).map(|_| follow()).collect();
    assert!(readers.iter().all(|(_, head)| head == "HTTP/1.1 200"));
    assert_eq!(follow().1, "HTTP/1.1 503");
    assert_eq!(served.get("/v1/status").0, 200);
}

#[test]
fn a_body_over_a_mebibyte_is_refused() {
    let served = serve(None);
    let body = |length: usize| {
        let rest = length - r#"{"id":"x","args":{"cmd":["true",""]}}"#.len();
        format!(r#"{{"id":"x","args":{{"cmd":["true","{}"]}}}}"#, "x".repeat(rest))
    };
    assert_eq!(served.post("/v1/children", &body(1 << 20)).0, 201);
    let (status, answer) = served.post("/v1/children", &body((1 << 20) + 1));
    assert!(status == 413 && answer.contains("too_large"), "{answer}");
    assert_eq!(served.post("/v1/children", &body(5 << 20)).0, 413);
}

#[test]
fn a_token_is_asked_for_and_given() {
    let served = serve(Some("secret"));
    assert_eq!(served.get("/v1/status").0, 401);
    assert_eq!(served.get("/healthz").0, 200);
    says(&served.ordu("ps"), 2, "--http-token-file");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "secret\n").unwrap();
    says(&served.ordu(&format!("ps --http-token-file {}", file.path().display())), 0, "");
    std::fs::write(file.path(), "wrong\n").unwrap();
    says(&served.ordu(&format!("ps --http-token-file {}", file.path().display())), 2, "token");
    std::fs::write(file.path(), "two words\n").unwrap();
    says(&served.ordu(&format!("ps --http-token-file {}", file.path().display())), 2, "one line without spaces");
}

#[test]
fn the_page_and_what_monitoring_asks_for() {
    let served = serve(None);
    let (_, head, page) = served.ask("GET / HTTP/1.1", b"");
    assert!(head.contains("text/html") && head.contains("content-security-policy") && page.contains("/page.js"));
    assert!(!page.contains("http://") && !page.contains("https://"), "nothing from elsewhere");
    assert!(served.get("/page.js").1.contains("/v1/children") && served.get("/page.css").0 == 200);
    assert_eq!(served.get("/healthz"), (200, "ok\n".into()));
    assert_eq!(served.get("/readyz"), (200, "ready\n".into()));
    let metrics = served.get("/metrics").1;
    assert!(metrics.contains("ordu_members_up{cluster=\"ordu\",node=\"n1\"} 2\n"), "{metrics}");
    assert!(
        metrics.contains("ordu_children_by_status{cluster=\"ordu\",node=\"n1\",status=\"backoff\"} 1\n"),
        "{metrics}"
    );
    let openapi: serde_json::Value = serde_json::from_str(&served.get("/openapi.json").1).unwrap();
    let told = |path: &str| serde_json::from_str::<serde_json::Value>(&served.get(path).1).unwrap();
    let explained = told("/v1/children/web/explain");
    for (schema, row) in [
        ("Child", serde_json::from_str(WEB).unwrap()),
        ("Member", told("/v1/members")[0].clone()),
        ("Candidate", explained["nodes"][0].clone()),
        ("Explanation", explained),
        ("StartResult", serde_json::json!({"id": "", "child": "", "status": 1, "code": "", "error": ""})),
    ] {
        let described = openapi["components"]["schemas"][schema]["properties"].as_object().unwrap();
        let keys = row.as_object().unwrap().keys().collect::<Vec<_>>();
        assert_eq!(described.keys().collect::<Vec<_>>(), keys, "{schema}");
    }
}
