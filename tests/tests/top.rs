//! The live view on a real terminal: it shows what is there, goes on when the node is gone, and leaves nothing behind.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::Duration;

use nix::sys::signal::Signal;
use ordu_tests::{Cluster, Outcome, Scenario, Spawned, Terminal, run, spawn_on, until, within};

const SOON: Duration = Duration::from_secs(20);

/// Waits until something can be read on the screen.
#[track_caller]
fn shows(terminal: &Terminal, part: &str) {
    within(SOON, &format!("{part:?} is on the screen"), || match terminal.screen() {
        screen if screen.contains(part) => Ok(()),
        screen => Err(format!("\n{screen}")),
    });
}

fn top(cluster: &Cluster, terminal: &Terminal) -> Spawned {
    let address = cluster.nodes[0].door.address.to_string();
    spawn_on(&cluster.scenario, terminal, &["top", "--interval", "200ms", "--http", &address])
}

/// Waits for its end; nothing may be left of it on the terminal, nor said.
#[track_caller]
fn ends(top: Spawned, terminal: &Terminal, code: i32) {
    let Outcome { code: found, stderr, .. } = top.wait(SOON);
    assert_eq!((found, stderr.as_str()), (code, ""));
    within(SOON, "the terminal is as it was", || terminal.is_restored());
}

#[test]
fn children_are_seen_and_the_terminal_is_given_back() {
    let mut cluster = Cluster::start(Scenario::new("top"), 2);
    cluster.ordu(0, &["start", "first-one", "--label", "tier=front", "--", "sleep", "1000"]).ok();
    let terminal = Terminal::new(100, 36);
    let mut view = top(&cluster, &terminal);
    shows(&terminal, "first-one");
    shows(&terminal, "tier=front");
    assert!(terminal.is_restored().is_err(), "it has the terminal for itself");
    // What changes is seen, started by another node too.
    cluster.ordu(1, &["start", "second-one", "--", "sleep", "1000"]).ok();
    shows(&terminal, "second-one");
    shows(&terminal, "members 2 up of 2  children 2 running of 2");
    shows(&terminal, "1-2 of 2");
    terminal.press("/second\r");
    shows(&terminal, "/second 1-1 of 1 of 2");
    // Smaller than is of use, then of another size.
    for (columns, rows) in [(3, 1), (60, 12)] {
        terminal.resize(columns, rows);
        view.signal(Signal::SIGWINCH);
    }
    until(SOON, "it is drawn anew", || terminal.screen().lines().count() == 12);
    shows(&terminal, "second-one");
    assert!(view.is_running());
    terminal.press("q");
    ends(view, &terminal, 0);
    let written = terminal.written();
    // Colours are not wanted here.
    let colour = (0..10).find(|digit| written.contains(&format!("\u{1b}[38;5;{digit}m")));
    assert_eq!(colour, None, "{written:?}");
    cluster.terminate_all();
}

#[test]
fn it_outlives_its_node() {
    let mut cluster = Cluster::start(Scenario::new("top_node"), 1);
    cluster.ordu(0, &["start", "survivor", "--", "sleep", "1000"]).ok();
    let terminal = Terminal::new(120, 36);
    let mut view = top(&cluster, &terminal);
    shows(&terminal, "survivor");
    // Slow, not gone.
    cluster.nodes[0].signal(Signal::SIGSTOP);
    shows(&terminal, "s OLD, asking on: the node has not answered yet");
    cluster.nodes[0].signal(Signal::SIGCONT);
    until(SOON, "it answers", || !terminal.screen().contains("OLD"));
    cluster.nodes[0].kill_9();
    shows(&terminal, "s OLD, asking on: cannot reach the node");
    assert!(terminal.screen().contains("survivor"), "what was seen last goes on to be shown");
    assert!(view.is_running());
    cluster.up(0);
    until(SOON, "it answers", || !terminal.screen().contains("OLD"));
    shows(&terminal, "survivor");
    terminal.press("\u{3}");
    ends(view, &terminal, 0);
    // A signal finds the terminal given back, too.
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let terminal = Terminal::new(80, 24);
        let view = top(&cluster, &terminal);
        shows(&terminal, "survivor");
        view.signal(signal);
        ends(view, &terminal, 128 + signal as i32);
    }
    cluster.terminate_all();
}

/// Answers as a node does whose every text would give the terminal another title, clear it and ring its bell.
fn serve_evil(listener: &TcpListener) {
    for stream in listener.incoming().map_while(Result::ok) {
        let mut line = String::new();
        let mut reader = BufReader::new(&stream);
        reader.read_line(&mut line).expect("a request");
        let mut header = String::new();
        while reader.read_line(&mut header).is_ok_and(|read| read > 2) {
            header.clear();
        }
        let evil = r"EVIL\u001b]0;owned\u0007\u009b2J\u001b[2J\u202e";
        let body = match line.split(' ').nth(1).unwrap_or_default() {
            "/v1/status" => {
                r#"{"cluster":"EVIL","name":"EVIL","boot":1,"healthy":true,"members_up":1,"members":1,"children":1,
                "running":1,"names":1,"conflicts_total":0,"clock_hash":"EVIL","converged":true}"#
            }
            "/v1/members" => {
                r#"[{"name":"EVIL","boot":1,"addr":"EVIL","status":"EVIL","children":1,"labels":{"EVIL":"EVIL"},
                "kinds":["EVIL"],"version":"EVIL","rtt_ms":null}]"#
            }
            "/v1/children" => {
                r#"[{"id":"EVIL","kind":"EVIL","node":"EVIL","pid":"EVIL","os_pid":1,"status":"EVIL","restarts":0,
                "since":"EVIL","fence":"EVIL","reason":"EVIL","labels":{"EVIL":"EVIL"},"log":"EVIL"}]"#
            }
            _ => "data: {\"at\":\"EVIL\",\"node\":\"EVIL\",\"type\":\"EVIL\",\"reason\":\"EVIL\"}\n\n",
        };
        let body = body.replace("EVIL", evil);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        (&stream).write_all((head + &body).as_bytes()).expect("an answer is taken");
    }
}

#[test]
fn no_text_of_the_cluster_is_obeyed_by_the_terminal() {
    let scenario = Scenario::new("top_evil");
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || serve_evil(&listener));
    let terminal = Terminal::new(200, 36);
    let view = spawn_on(&scenario, &terminal, &["top", "--http", &address]);
    let shown = "EVIL\u{fffd}]0;owned\u{fffd}\u{fffd}2J\u{fffd}[2J\u{fffd}";
    for part in ["cluster ", "reason  ", "labels  ", "log     "] {
        shows(&terminal, &format!("{part}{shown}"));
    }
    terminal.press("\t");
    shows(&terminal, &format!("kinds   {shown}"));
    terminal.press("\u{1b}");
    ends(view, &terminal, 0);
    let written = terminal.written();
    let obeyed = ["\u{1b}]", "\u{7}", "\u{9b}", "\u{202e}"].into_iter().find(|part| written.contains(part));
    assert_eq!(obeyed, None, "{written:?}");
    // The terminal is cleared once, at the beginning.
    assert!(written.matches("\u{1b}[2J").count() <= 1, "{written:?}");
}

#[test]
fn it_says_in_a_line_why_it_cannot_begin() {
    let scenario = Scenario::new("top_refused");
    for part in ["`ordu status`", "`ordu ps --json`", "`ordu events -f`"] {
        run(&scenario, None, &["top"]).fails(2, part);
    }
    // A port at which nobody listens.
    let unreachable = ["top", "--http", "127.0.0.1:9"];
    for (arguments, code, part) in [
        (&unreachable[..], 3, "127.0.0.1:9"),
        (&["top", "--json"], 2, "`ordu ps --json`"),
        (&["top", "--interval", "99ms"], 2, "100ms"),
        (&["top", "--http-token-file", "no-such-file"], 2, "no-such-file"),
    ] {
        let terminal = Terminal::new(80, 24);
        spawn_on(&scenario, &terminal, arguments).wait(SOON).fails(code, part);
        assert_eq!(terminal.written(), "", "the terminal was not touched");
    }
}
