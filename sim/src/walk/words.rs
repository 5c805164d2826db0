//! A walk's finding, in words: the shortest list of actions that leads to it.

use std::fmt;

use ordu_registry::core::delta;
use ordu_registry::core::delta::{Key, Payload};
use ordu_supervisor::core::Message;

use super::book::Book;
use super::state::{Action, State};
use super::worlds::Op;

/// How a promise is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// What is wrong.
    pub what: String,
    /// The fewest actions that lead to it.
    pub actions: Vec<String>,
    /// What then happened by itself, where it shows only at rest.
    pub then: Vec<String>,
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        for (number, action) in self.actions.iter().enumerate() {
            writeln!(f, "{:>4}. {action}", number + 1)?;
        }
        if !self.then.is_empty() {
            writeln!(f, "      then, by itself:")?;
        }
        self.then.iter().try_for_each(|action| writeln!(f, "      {action}"))
    }
}

pub(super) fn tell(first: State, actions: &[Action], then: &[Action], what: String, book: &mut Book) -> Trace {
    let mut state = first;
    let mut told = Vec::new();
    for action in actions.iter().chain(then) {
        told.push(words(&state, *action, book));
        state = state.after(*action, book).0;
    }
    let then = told.split_off(actions.len());
    Trace { what, actions: told, then }
}

fn words(state: &State, action: Action, book: &Book) -> String {
    match action {
        Action::Deliver { from, to, lane } => {
            let taken = if book.world.bursts { usize::MAX } else { 1 };
            let messages = state.lane(from, to, lane, book).iter().take(taken);
            let messages: Vec<String> = messages.map(|message| message_words(book.message(*message))).collect();
            format!("n{to} takes from n{from}: {}", messages.join("; "))
        }
        Action::Notice { node, peer } => {
            format!("n{node} {}", state.notice_words(usize::from(node), usize::from(peer)))
        }
        Action::Meet { one, other } => format!("n{one} and n{other} begin a session"),
        Action::Op(number) => match State::op(book, number) {
            Op::Register { node, process, name } => format!("process {process} on n{node} registers {name}"),
            Op::Unregister { node, process, name } => format!("process {process} on n{node} gives up {name}"),
            Op::End { node, process } => format!("process {process} on n{node} ends"),
            Op::Start { node } => format!("somebody asks n{node} to start the child"),
            Op::Terminate { node } => format!("somebody asks n{node} to terminate the child"),
            Op::Restart { node } => format!("somebody asks n{node} to restart the child"),
        },
        Action::Started { node, serial } => format!("the init of n{node}'s process {serial} is over"),
        Action::Ended { node, serial } => format!("n{node}'s process {serial} has ended"),
        Action::Beat { node } => format!("1.3 s pass on n{node}"),
        Action::Cut { node } => format!("n{node} is cut off"),
        Action::Heal => "the cut heals".to_owned(),
        Action::Crash { node } => format!("n{node} crashes"),
        Action::Restart { node } => format!("n{node} is restarted"),
        Action::Break { one, other } => format!("the session of n{one} and n{other} breaks at n{one}"),
    }
}

fn message_words(message: &Message) -> String {
    match message {
        Message::Names(message) => format!("names, {}", delta_words(message)),
        Message::Desired(message) => format!("desired, {}", delta_words(message)),
        Message::Actual(message) => format!("actual, {}", delta_words(message)),
        Message::Marks(message) => format!("marks, {}", delta_words(message)),
        Message::Facts(message) => format!("facts, {}", delta_words(message)),
        Message::Digests(_) => "digests".to_owned(),
        Message::Control(control) => format!("{control:?}"),
    }
}

fn delta_words<K: Key, V: Payload>(message: &delta::Message<K, V>) -> String {
    match message {
        delta::Message::Digest { .. } => "a digest".to_owned(),
        delta::Message::Pull { .. } => "a pull".to_owned(),
        delta::Message::Delta { events, closing, .. } => {
            let answers = closing.as_ref().is_some_and(|closing| closing.purpose == delta::Purpose::Answer);
            let events: Vec<String> = events
                .iter()
                .map(|event| {
                    let verb = if event.is_remove() { "removes" } else { "puts" };
                    format!("{:?}#{} {verb} {:?}", event.dot.actor, event.dot.counter, event.key)
                })
                .collect();
            format!("{}a delta [{}]", if answers { "in answer to a pull " } else { "" }, events.join(", "))
        }
        delta::Message::Ack { .. } => "an acknowledgement".to_owned(),
        delta::Message::State { answer, .. } => format!("a part of a state, of {} events", answer.events.len()),
        delta::Message::More(ask) if ask.spans.is_empty() => "an ask for more of a state".to_owned(),
        delta::Message::More(_) => "an ask for what differs".to_owned(),
        delta::Message::Had { had: delta::Had::All, .. } => "that all have had it".to_owned(),
        delta::Message::Had { had: delta::Had::Branch { .. }, .. } => "that its branch has had it".to_owned(),
        delta::Message::Had { had: delta::Had::Asked, .. } => "whether its branch has had it".to_owned(),
        delta::Message::Had { had: delta::Had::Turned, .. } => "that the receiver is above it".to_owned(),
        delta::Message::Goal { .. } => "who has it up to here".to_owned(),
    }
}
