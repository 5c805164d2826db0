//! What a node says of the cluster at one moment, with nothing in it that a terminal would obey.

use unicode_width::UnicodeWidthChar;

use super::super::client::{Client, parse};
use super::super::cluster::sentence;
use crate::failure::{Failure, one_line};
use crate::rows::{Child, Event, Member, Status};

/// Newest events that are kept to be shown.
const EVENTS_SHOWN_MAX: usize = 100;
/// What is shown for a character that is none to look at.
const STRANGE: char = '\u{fffd}';

/// The cluster as one node sees it.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) status: Status,
    pub(super) members: Vec<Member>,
    pub(super) children: Vec<Child>,
    /// A line each, the newest first.
    pub(super) events: Vec<String>,
}

impl Snapshot {
    /// Asks for everything, one question after the other.
    pub(super) fn fetch(client: &Client) -> Result<Self, Failure> {
        let status = parse(&client.get("/v1/status")?)?;
        let members = parse(&client.get("/v1/members")?)?;
        let children = parse(&client.get("/v1/children")?)?;
        // The lately happened is asked for anew each time: a stream that has silently died would show nothing for ever.
        let mut events = Vec::new();
        let told = client.stream("/v1/events?follow=false", false, |data| {
            events.push(parse::<Event>(data)?);
            Ok(())
        });
        let mut snapshot = Self::new(status, members, children, events);
        // A node may have no place for one more reader of events, and still tell everything else.
        if let Err(failure) = told {
            snapshot.events.insert(0, clean(&format!("the events could not be read to their end: {failure}")));
        }
        Ok(snapshot)
    }

    /// Takes what was answered, events in the order in which they happened.
    pub(super) fn new(
        mut status: Status,
        mut members: Vec<Member>,
        mut children: Vec<Child>,
        events: Vec<Event>,
    ) -> Self {
        [&mut status.cluster, &mut status.name].into_iter().for_each(tidy);
        for member in &mut members {
            member.status = member.state();
            let Member {
                name,
                addr,
                status,
                labels,
                kinds,
                version,
                boot: _,
                children: _,
                rtt_ms: _,
                cordoned: _,
                full: _,
                max_children: _,
            } = member;
            [name, addr, status, version].into_iter().chain(kinds).for_each(tidy);
            *labels = std::mem::take(labels).into_iter().map(tidy_pair).collect();
        }
        for child in &mut children {
            let Child { id, kind, node, pid, status, since, fence, reason, labels, log, os_pid: _, restarts: _ } =
                child;
            [id, kind, status, since].into_iter().for_each(tidy);
            [node, pid, fence, reason, log].into_iter().flatten().for_each(tidy);
            *labels = std::mem::take(labels).into_iter().map(tidy_pair).collect();
        }
        let events = events.iter().rev().take(EVENTS_SHOWN_MAX).map(|event| clean(&event_line(event))).collect();
        Self { status, members, children, events }
    }
}

/// An event with the time of day alone.
fn event_line(event: &Event) -> String {
    let line = sentence(event);
    match (line.strip_prefix(&event.at), event.at.get(11..19)) {
        (Some(rest), Some(time)) => format!("{time}{rest}"),
        _ => line,
    }
}

fn tidy(text: &mut String) {
    // Nearly every text is plain, and there are many.
    if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        *text = clean(text);
    }
}

fn tidy_pair((mut key, mut value): (String, String)) -> (String, String) {
    tidy(&mut key);
    tidy(&mut value);
    (key, value)
}

/// The text in one line, without control characters, and without those that have no width: these turn the direction of
/// writing, hide, or pile up on one cell.
pub(super) fn clean(text: &str) -> String {
    one_line(text).chars().map(|c| if c.width().unwrap_or(0) == 0 { STRANGE } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        assert_eq!(clean("a\u{1b}[2Jb\u{9b}31mc\u{7}\u{7f}"), "a\u{fffd}[2Jb\u{fffd}31mc\u{fffd}\u{fffd}");
        assert_eq!(clean("x\u{202e}y\u{200b}z e\u{301}"), "x\u{fffd}y\u{fffd}z e\u{fffd}");
        assert_eq!(clean("two\r\nlines \u{65e5}\u{672c}"), "two lines \u{65e5}\u{672c}");
    }

    #[test]
    fn an_event_has_its_time_of_day() {
        let event = Event { at: "2026-01-02T03:04:05.678Z".into(), node: "n1".into(), ..Event::default() };
        assert_eq!(event_line(&event), "03:04:05  n1");
        let strange = Event { at: "\u{65e5}\u{672c}soon".into(), ..Event::default() };
        assert!(event_line(&strange).starts_with("\u{65e5}\u{672c}soon"));
    }
}
