//! What the control room and its nodes say to one another: one JSON object a line, a command on the node's standard input
//! and its answer on the node's standard output, one at a time.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::worker::{self, Worker};
use super::{failover, heal, idle, lookup, names, propagate, raw, start};

/// Something that a node does when it is asked to.
pub(super) trait Task: Into<Command> {
    /// What comes of it.
    type Answer: Serialize + DeserializeOwned;

    /// Does it, on the node's main thread, which is none of its runtime's: blocking it delays nobody.
    ///
    /// # Errors
    /// Why it cannot be done, as a sentence.
    async fn run(self, worker: &Worker) -> Result<Self::Answer, String>;
}

macro_rules! commands {
    ($($name:ident($task:ty),)*) => {
        /// Everything that a node can be asked to do. Each piece of work has its tasks in its own file.
        #[derive(Debug, Serialize, Deserialize)]
        pub(super) enum Command { $($name($task)),* }

        $(impl From<$task> for Command {
            fn from(task: $task) -> Self {
                Command::$name(task)
            }
        })*

        impl Command {
            /// Does what is asked.
            pub(super) async fn run(self, worker: &Worker) -> Answer {
                match self {
                    $(Command::$name(task) => task.run(worker).await.and_then(to_value).into()),*
                }
            }
        }
    };
}

commands!(
    Up(worker::Up),
    AwaitMembers(worker::AwaitMembers),
    AwaitConverged(worker::AwaitConverged),
    Prepare(names::Prepare),
    Register(names::Register),
    AwaitNames(names::AwaitNames),
    Listen(raw::Listen),
    Ping(raw::Ping),
    Bulk(raw::Bulk),
    Plain(lookup::Plain),
    Lookup(lookup::Lookup),
    Ask(propagate::Ask),
    Echo(propagate::Echo),
    Start(start::Start),
    AwaitRunning(failover::AwaitRunning),
    AwaitTakeover(failover::AwaitTakeover),
    Copies(heal::Copies),
    AwaitDown(heal::AwaitDown),
    Look(heal::Look),
    Held(heal::Held),
    Measure(idle::Measure),
);

/// What a node answers to a command.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It is done, with this [`Task::Answer`].
    Done(Value),
    /// It could not be done; the text says why.
    Failed(String),
}

impl From<Result<Value, String>> for Answer {
    fn from(result: Result<Value, String>) -> Self {
        match result {
            Ok(value) => Answer::Done(value),
            Err(why) => Answer::Failed(why),
        }
    }
}

fn to_value(answer: impl Serialize) -> Result<Value, String> {
    serde_json::to_value(answer).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_returns_as_it_was_sent() {
        let line = serde_json::to_string(&Command::from(names::AwaitNames { count: 7 })).unwrap();
        assert_eq!(line, r#"{"AwaitNames":{"count":7}}"#);
        assert!(matches!(serde_json::from_str(&line), Ok(Command::AwaitNames(names::AwaitNames { count: 7 }))));
    }
}
