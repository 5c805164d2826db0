//! What a child printed, read from any node.
//!
//! The output lies in files of the node that runs the child. `Logs` finds that node by the child's row, reads there
//! itself or asks it over the session between the two, and, where the output is followed, goes after a child that moves.
//! Who is asked gets a child's name and nothing else: which file that is it knows itself.

mod local;
mod place;
mod remote;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use ordu_supervisor::Supervisor;
use ordu_supervisor::core::ChildId;
use ordu_transport::core::NodeName;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use self::place::{Next, Place};
use crate::backend::Refusal;
use crate::exec::{Exec, LogBegin};

pub(crate) use remote::serve;

/// What a child prints, as it comes.
pub type Output = BoxStream<'static, io::Result<Bytes>>;

/// Lines that are shown where nobody says how many.
pub const LINES_DEFAULT: u64 = 100;
/// Most lines that may be asked for; a log has no end of them otherwise.
pub const LINES_MAX: u64 = 1_000_000;
/// How long the node of a row may take to hold what the row says, or the row to change.
const SETTLE_MAX: Duration = Duration::from_secs(5);
/// How long a stream that broke off may take to be explained by the child's being elsewhere.
const BREAK_MAX: Duration = Duration::from_secs(15);

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Wish {
    id: ChildId,
    begin: LogBegin,
    follow: bool,
}

/// Why a node has nothing to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Nothing {
    /// It does not hold the child.
    NotHere,
    /// It holds the child, which has no log.
    NoLog,
    /// It reads as many as it may.
    Busy,
    /// Its disk does not do what it should.
    Unreadable(String),
    /// Too old to know such requests, or out of reach. Never sent.
    #[serde(skip)]
    Unreachable(String),
}

/// The logs of the cluster's children, as one node gets at them; cheap to clone.
#[derive(Clone)]
pub(crate) struct Logs {
    supervisor: Supervisor,
    exec: Exec,
}

impl Logs {
    pub(crate) fn new(supervisor: Supervisor, exec: Exec) -> Self {
        Self { supervisor, exec }
    }

    /// Reads the newest lines of a child's output, and with `follow` what it prints from then on, until it has ended.
    ///
    /// # Errors
    /// Why there is nothing to read.
    pub(crate) async fn open(&self, id: ChildId, lines: u64, follow: bool) -> Result<Output, Refusal> {
        let wish = Wish { id, begin: LogBegin::Lines(lines), follow };
        let mut place = self.place(&wish.id)?;
        let output = match self.output(&place, &wish).await {
            // The row may be older than the node, or the node than the row.
            Err(Nothing::NotHere) => {
                let moved = self.next(&wish.id, &place);
                if let Ok(Next::There(elsewhere)) = timeout(SETTLE_MAX, moved).await {
                    place = elsewhere;
                }
                self.output(&place, &wish).await
            }
            output => output,
        };
        let output = output.map_err(|nothing| refusal(&wish.id, &place.node, nothing))?;
        Ok(if follow { self.clone().go_after(wish.id, place, output).boxed() } else { output })
    }

    async fn output(&self, place: &Place, wish: &Wish) -> Result<Output, Nothing> {
        if place.node == self.supervisor.cluster().id().name {
            return local::output(&self.supervisor, &self.exec, wish).await;
        }
        remote::output(&self.supervisor, place, wish).await
    }

    /// One output after another, from wherever the child goes, until it has ended.
    fn go_after(
        self,
        id: ChildId,
        place: Place,
        output: Output,
    ) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
        stream::unfold(Some((self, id, place, output)), |state| async {
            let (logs, id, mut place, mut output) = state?;
            loop {
                let end = match output.next().await {
                    Some(Ok(bytes)) => return Some((Ok(bytes), Some((logs, id, place, output)))),
                    Some(Err(error)) => Some(error),
                    None => None,
                };
                place = match logs.after(&id, &place, end).await {
                    Ok(Some(place)) => place,
                    Ok(None) => return None,
                    Err(error) => return Some((Err(error), None)),
                };
                let wish = Wish { id: id.clone(), begin: LogBegin::Activation, follow: true };
                output = logs.output(&place, &wish).await.unwrap_or_else(|nothing| broken(&id, &place.node, nothing));
            }
        })
    }

    /// Where the child's output goes on once it ended, or broke off, at `place`: `None` if nowhere.
    async fn after(&self, id: &ChildId, place: &Place, broke: Option<io::Error>) -> io::Result<Option<Place>> {
        let patience = if broke.is_some() { BREAK_MAX } else { SETTLE_MAX };
        match timeout(patience, self.next(id, place)).await {
            Ok(Next::There(place)) => return Ok(Some(place)),
            Ok(Next::Over) => return Ok(None),
            Err(_) => {}
        }
        if let (Some(error), Ok(_)) = (broke, self.place(id)) {
            return Err(error);
        }
        // It is held by nobody, or by the same node anew.
        Ok(self.somewhere(id).await)
    }
}

/// An output that never began, where one was expected.
fn broken(id: &ChildId, node: &NodeName, nothing: Nothing) -> Output {
    let (_, _, why) = refusal(id, node, nothing).parts();
    stream::iter([Err(io::Error::other(why))]).boxed()
}

fn refusal(id: &ChildId, node: &NodeName, nothing: Nothing) -> Refusal {
    match nothing {
        Nothing::NotHere => Refusal::NodeUnreachable(format!(
            "{id} is on its way, or has just ended: {node}, which should run it, does not hold it; ask again"
        )),
        Nothing::NoLog => Refusal::NotFound(format!("{id} has no log on {node}: it has not been executed there yet")),
        Nothing::Busy => Refusal::Busy,
        Nothing::Unreadable(why) => {
            Refusal::NodeUnreachable(format!("the log of {id} cannot be read on {node}: {why}"))
        }
        Nothing::Unreachable(why) => Refusal::NodeUnreachable(format!("{node}, which runs {id}, {why}")),
    }
}
