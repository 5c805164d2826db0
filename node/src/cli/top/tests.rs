//! The model and the view together: what somebody sees who presses these keys while these answers come.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};

use super::keys::action;
use super::model::Model;
use super::snapshot::Snapshot;
use super::view::{Brush, draw};
use crate::failure::Failure;
use crate::rows::{Child, Event, Member, Status};

const INTERVAL: Duration = Duration::from_secs(1);

fn child(id: &str, restarts: u64) -> Child {
    Child {
        id: id.into(),
        kind: "exec".into(),
        node: Some("n1".into()),
        pid: Some("n1#1.7".into()),
        os_pid: Some(4711),
        status: "running".into(),
        restarts,
        since: "2026-01-01T00:00:00.000Z".into(),
        fence: Some("00ff".into()),
        reason: None,
        labels: BTreeMap::from([("tier".into(), format!("of-{id}"))]),
        log: Some(format!("/var/{id}.log")),
    }
}

fn member(name: &str, children: u64) -> Member {
    Member {
        name: name.into(),
        boot: 3,
        addr: "127.0.0.1:7600".into(),
        status: "up".into(),
        children,
        labels: BTreeMap::from([("zone".into(), "east".into())]),
        kinds: vec!["exec".into()],
        version: "0.1.0".into(),
        rtt_ms: (name != "n1").then_some(0.25),
        cordoned: false,
        full: false,
        max_children: None,
    }
}

fn snapshot(children: Vec<Child>) -> Snapshot {
    let status = Status {
        cluster: "shop".into(),
        name: "n1".into(),
        boot: 3,
        healthy: true,
        members_up: 2,
        members: 2,
        children: 10,
        running: 9,
        names: 11,
        conflicts_total: 0,
        checkpoints: 0,
        clock_hash: "ab".into(),
        converged: true,
        progress: None,
        quorum: None,
    };
    let event = |at: &str, about: &str| Event {
        at: format!("2026-01-01T{at}.000Z"),
        node: "n1".into(),
        kind: "child_running".into(),
        child: Some(about.into()),
        ..Event::default()
    };
    let events = vec![event("00:00:01", "older"), event("00:00:02", "newer")];
    Snapshot::new(status, vec![member("n1", 4), member("n2", 9)], children, events)
}

/// A model, a clock and a terminal.
struct Desk {
    model: Model,
    begin: Instant,
    now: Instant,
    terminal: Terminal<TestBackend>,
    is_coloured: bool,
}

impl Desk {
    fn new(width: u16, height: u16, children: Vec<Child>) -> Self {
        let begin = Instant::now();
        let model = Model::new("127.0.0.1:7600".into(), INTERVAL, snapshot(children), begin);
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        Self { model, begin, now: begin, terminal, is_coloured: true }
    }

    fn press(&mut self, codes: impl IntoIterator<Item = KeyCode>) {
        for code in codes {
            let key = KeyEvent::new(code, KeyModifiers::NONE);
            self.model.handle_action(action(key, self.model.is_writing).unwrap());
        }
    }

    fn write(&mut self, text: &str) {
        self.press(text.chars().map(KeyCode::Char));
    }

    fn answer(&mut self, children: Vec<Child>) {
        self.model.handle_answer(self.now, Ok(snapshot(children)));
    }

    fn buffer(&mut self) -> Buffer {
        let wall = "2026-01-01T00:05:00Z".parse().unwrap();
        let brush = Brush { wall, now: self.now, is_coloured: self.is_coloured };
        let model = &mut self.model;
        self.terminal.draw(|frame| draw(frame.buffer_mut(), model, brush)).unwrap();
        self.terminal.backend().buffer().clone()
    }

    fn lines(&mut self) -> Vec<String> {
        let buffer = self.buffer();
        let width = usize::from(buffer.area.width.max(1));
        let line = |cells: &[ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect::<String>();
        buffer.content.chunks(width).map(|cells| line(cells).trim_end().to_owned()).collect()
    }

    /// What is in the first column of the table of children.
    fn ids(&mut self) -> Vec<String> {
        let lines = self.lines();
        let rows = lines.iter().skip_while(|line| !line.starts_with("ID")).skip(1);
        let rows = rows.take_while(|line| line.contains("  n1  "));
        rows.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }

    /// What is reversed in the table of children: the selected row.
    fn selected(&mut self) -> String {
        let buffer = self.buffer();
        let lines = self.lines();
        let heading = lines.iter().position(|line| line.starts_with("ID")).unwrap();
        let is_reversed =
            |y: usize| buffer.content[y * usize::from(buffer.area.width)].modifier.contains(Modifier::REVERSED);
        let rows = (heading + 1)..lines.len();
        let found: Vec<usize> = rows.filter(|&y| is_reversed(y)).collect();
        assert_eq!(found.len(), 1, "{lines:#?}");
        lines[found[0]].split(' ').next().unwrap().to_owned()
    }
}

fn many(count: usize) -> Vec<Child> {
    (0..count).map(|number| child(&format!("c{number:05}"), 0)).collect()
}

#[test]
fn everything_is_on_a_usual_terminal() {
    let mut desk = Desk::new(110, 36, vec![child("api", 0), child("web", 3)]);
    let text = desk.lines().join("\n");
    for part in [
        "cluster shop  healthy  converged  0s old, from n1 (127.0.0.1:7600)",
        "members 2 up of 2  children 9 running of 10  names 11, 0 conflicts lost",
        "\nn1     up      4         -      zone=east\nn2     up      9         0.2ms  zone=east\n",
        "\napi  n1    running  0         5m     -\nweb  n1    running  3         5m     -\n",
        "\npid n1#1.7  os pid 4711  fence 00ff\nreason  -\nlabels  tier=of-api\nlog     /var/api.log\n",
        "00:00:02  n1        child_running      newer\n00:00:01  n1        child_running      older\n",
        "q leave",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    desk.press([KeyCode::Down]);
    assert!(desk.lines().join("\n").contains("labels  tier=of-web"));
    desk.press([KeyCode::Tab, KeyCode::Down]);
    assert!(desk.lines().join("\n").contains("\nn2\nup, boot 3, at 127.0.0.1:7600"), "{:#?}", desk.lines());
}

#[test]
fn a_long_reason_is_told_whole() {
    let mut wordy = child("wordy", 0);
    wordy.reason = Some("why ".repeat(30) + "\u{65e5}end");
    let mut desk = Desk::new(60, 40, vec![wordy]);
    let text = desk.lines().join("\n");
    // A wide character is two cells, of which the second is blank here.
    assert!(text.contains(&format!("reason  {}\n", "why ".repeat(13).trim_end())), "{text}");
    assert!(text.contains("\u{65e5} end\n") && text.contains("\nlabels  tier"), "{text}");
}

#[test]
fn rows_are_sorted_by_any_column_and_back() {
    let mut desk = Desk::new(100, 36, vec![child("a", 2), child("b", 9), child("c", 5), child("d", 2)]);
    assert_eq!(desk.ids(), ["a", "b", "c", "d"]);
    desk.press([KeyCode::Right; 3]);
    assert_eq!(desk.ids(), ["a", "d", "c", "b"]);
    assert!(desk.lines().iter().any(|line| line.contains("RESTARTS^")));
    desk.write("r");
    assert_eq!(desk.ids(), ["b", "c", "d", "a"]);
    assert!(desk.lines().iter().any(|line| line.contains("RESTARTSv")));
    // Round the corner on either side.
    desk.press([KeyCode::Left; 4]);
    desk.press([KeyCode::Right]);
    assert_eq!(desk.ids(), ["a", "b", "c", "d"]);
}

#[test]
fn a_filter_looks_at_ids_reasons_and_labels() {
    let mut children = vec![child("api", 0), child("web", 0), child("worker", 0)];
    children[2].reason = Some("Exit status 3".into());
    let mut desk = Desk::new(100, 36, children.clone());
    desk.write("/exit");
    assert_eq!(desk.ids(), ["worker"]);
    assert!(desk.lines().iter().any(|line| line.starts_with("filter: exit")));
    desk.press([KeyCode::Esc]);
    assert_eq!(desk.ids(), ["api", "web", "worker"]);
    desk.write("/tier=of-W");
    desk.press([KeyCode::Enter]);
    assert_eq!(desk.ids(), ["web", "worker"]);
    assert!(desk.lines().iter().any(|line| line.ends_with("/tier=of-W 1-2 of 2 of 3")), "{:#?}", desk.lines());
    // It goes for what comes later, too.
    children.push(child("warden", 0));
    desk.answer(children);
    assert_eq!(desk.ids(), ["warden", "web", "worker"]);
    desk.write("/xx");
    assert!(desk.ids().is_empty());
    desk.press([KeyCode::Backspace, KeyCode::Backspace, KeyCode::Esc]);
    assert_eq!(desk.ids().len(), 4);
    assert!(!desk.model.is_over);
    desk.press([KeyCode::Esc]);
    assert!(desk.model.is_over);
}

#[test]
fn a_filter_is_no_longer_than_it_may_be() {
    let mut desk = Desk::new(40, 10, many(3));
    desk.write("/");
    desk.write(&"\u{e9}".repeat(500));
    assert_eq!(desk.model.filter().chars().count(), 100);
}

#[test]
fn the_selected_row_stays_selected_while_rows_come_and_go() {
    let mut desk = Desk::new(100, 36, vec![child("b", 0), child("d", 0), child("f", 0)]);
    desk.press([KeyCode::Down]);
    assert_eq!(desk.selected(), "d");
    desk.answer(vec![child("a", 0), child("b", 0), child("c", 0), child("d", 1), child("e", 0), child("f", 0)]);
    assert_eq!(desk.selected(), "d");
    desk.write("r");
    assert_eq!(desk.selected(), "d");
    desk.write("r");
    // Gone: whoever is in its place.
    desk.answer(vec![child("a", 0), child("b", 0), child("c", 0), child("e", 0)]);
    assert_eq!(desk.selected(), "e");
    desk.answer(vec![child("a", 0)]);
    assert_eq!(desk.selected(), "a");
    desk.answer(Vec::new());
    assert!(desk.lines().join("\n").contains("no child"));
    desk.answer(vec![child("z", 0)]);
    assert_eq!(desk.selected(), "z");
}

#[test]
fn thousands_of_rows_are_scrolled() {
    let mut desk = Desk::new(100, 36, many(5000));
    let height = desk.ids().len();
    assert!(height >= 8, "{height}");
    desk.press([KeyCode::PageDown]);
    assert_eq!(desk.selected(), format!("c{height:05}"));
    desk.press([KeyCode::End]);
    assert_eq!((desk.selected().as_str(), desk.ids().len()), ("c04999", height));
    desk.press([KeyCode::Down, KeyCode::PageDown]);
    assert_eq!(desk.selected(), "c04999");
    desk.press([KeyCode::Up]);
    assert_eq!(desk.selected(), "c04998");
    // A hundred more before it: it stays where it is on the screen.
    let before = desk.lines();
    let mut children: Vec<Child> = (0..100).map(|number| child(&format!("b{number:05}"), 0)).collect();
    children.extend(many(5000));
    desk.answer(children);
    assert_eq!(desk.selected(), "c04998");
    let line = |lines: &[String]| lines.iter().position(|line| line.starts_with("c04998"));
    assert_eq!(line(&desk.lines()), line(&before));
    desk.press([KeyCode::Home]);
    assert_eq!(desk.selected(), "b00000");
}

#[test]
fn no_size_is_too_small() {
    for height in 0..40 {
        for width in [0, 1, 2, 3, 7, 8, 9, 20, 33, 79, 80, 300] {
            for focus in [0, 1] {
                let mut desk = Desk::new(width, height, many(100));
                desk.press(std::iter::repeat_n(KeyCode::Tab, focus));
                desk.lines();
                desk.press([KeyCode::End]);
                desk.model.handle_answer(desk.now, Err(Failure::unreachable("gone")));
                desk.write("/c0");
                desk.lines();
                desk.terminal.backend_mut().resize(width / 2, height / 2);
                desk.lines();
            }
        }
    }
    let mut desk = Desk::new(20, 5, many(100));
    desk.press([KeyCode::End]);
    assert_eq!(desk.selected(), "c00099");
}

#[test]
fn what_is_wrong_is_said_and_how_old_the_rest_is() {
    let mut desk = Desk::new(100, 30, many(3));
    desk.now = desk.begin + Duration::from_secs(3);
    assert!(desk.lines()[0].contains("3s old"), "{:#?}", desk.lines());
    desk.now = desk.begin + Duration::from_secs(7);
    assert!(desk.lines()[2].starts_with("7s OLD, asking on: the node has not answered yet"), "{:#?}", desk.lines());
    let failure = Failure::unreachable("cannot reach\nthe node: \u{1b}[31mrefused");
    desk.model.handle_answer(desk.now, Err(failure));
    let said = "7s OLD, asking on: cannot reach the node: \u{fffd}[31mrefused";
    assert!(desk.lines()[2].starts_with(said), "{:#?}", desk.lines());
    assert_eq!(desk.ids().len(), 3);
    desk.answer(many(4));
    assert!(desk.lines()[0].contains("0s old") && desk.lines()[2].starts_with("NAME"), "{:#?}", desk.lines());
}

#[test]
fn no_text_of_the_cluster_reaches_the_terminal_as_anything_but_text() {
    let evil = "\u{1b}]0;owned\u{7}\u{9b}2J\r\n\u{8}\u{202e}\u{200f}\u{7f}x\u{301}";
    let mut bad = child(evil, 1);
    bad.node = Some(evil.into());
    bad.status = evil.into();
    bad.since = evil.into();
    bad.kind = evil.into();
    bad.reason = Some(evil.into());
    bad.log = Some(evil.into());
    bad.pid = Some(evil.into());
    bad.fence = Some(evil.into());
    bad.labels = BTreeMap::from([(evil.into(), evil.into())]);
    let mut worse = member(evil, 0);
    worse.labels = bad.labels.clone();
    (worse.addr, worse.version, worse.status, worse.kinds) = (evil.into(), evil.into(), evil.into(), vec![evil.into()]);
    let event = Event { at: evil.into(), reason: Some(evil.into()), child: Some(evil.into()), ..Event::default() };
    let mut status = snapshot(Vec::new()).status;
    (status.cluster, status.name) = (evil.into(), evil.into());
    let mut desk = Desk::new(200, 50, Vec::new());
    let answer = Snapshot::new(status, vec![worse], vec![bad], vec![event]);
    desk.model.handle_answer(desk.now, Ok(answer));
    desk.model.handle_answer(desk.now, Err(Failure::unreachable(evil)));
    desk.write("/x");
    desk.model.handle_action(super::keys::Action::Write('\u{1b}'));
    for _ in 0..2 {
        let buffer = desk.buffer();
        let shown: String = buffer.content.iter().map(|cell| cell.symbol()).collect();
        assert!(shown.contains("\u{fffd}]0;owned\u{fffd}"), "{shown}");
        let strange = shown.chars().find(|c| c.is_control() || "\u{202e}\u{200f}\u{301}".contains(*c));
        assert_eq!(strange, None, "{shown}");
        desk.press([KeyCode::Enter, KeyCode::Tab, KeyCode::Char('/')]);
    }
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let mut desk = Desk::new(100, 30, many(3));
    let is_coloured = |buffer: Buffer| buffer.content.iter().any(|cell| cell.fg != Color::Reset);
    assert!(is_coloured(desk.buffer()));
    desk.is_coloured = false;
    desk.model.handle_answer(desk.now, Err(Failure::unreachable("gone")));
    assert!(!is_coloured(desk.buffer()));
}
