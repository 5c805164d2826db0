//! What every node of a cluster told: the streams of `/v1/events` of all node processes, collected.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;

use crate::http::Door;

/// One event, and when it was heard.
#[derive(Debug, Clone)]
pub struct Event {
    /// The node that was listened to.
    pub from: String,
    /// When it arrived here.
    pub heard: Instant,
    /// The event.
    pub what: Value,
}

impl Event {
    /// Its type.
    pub fn kind(&self) -> &str {
        self.field("type")
    }

    /// A field's text; empty if it is not there.
    pub fn field(&self, name: &str) -> &str {
        self.what[name].as_str().unwrap_or_default()
    }
}

/// The collected events of a cluster; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct EventLog(Arc<Mutex<Vec<Event>>>);

impl EventLog {
    /// Listens to a node process until it ends. Each process is to be listened to once.
    pub(crate) fn listen(&self, node: &str, door: Door) {
        let (log, node) = (self.clone(), node.to_owned());
        std::thread::spawn(move || {
            let heard = door.stream("/v1/events", |data| {
                let what = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
                log.lock().push(Event { from: node.clone(), heard: Instant::now(), what });
            });
            // The node was killed or ended; that is what the scenario is about.
            drop(heard);
        });
    }

    /// The events of one type.
    pub fn of(&self, kind: &str) -> Vec<Event> {
        self.lock().iter().filter(|event| event.kind() == kind).cloned().collect()
    }

    /// The events of one type since a time.
    pub fn since(&self, time: Instant, kind: &str) -> Vec<Event> {
        self.lock().iter().filter(|event| event.heard >= time && event.kind() == kind).cloned().collect()
    }

    /// All events, in the order in which they were heard.
    pub fn all(&self) -> Vec<Event> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
