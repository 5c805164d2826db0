//! Output that lies on this node.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use ordu_supervisor::Supervisor;
use ordu_supervisor::core::{ChildId, ChildStatus};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{Nothing, Output, Wish};
use crate::exec::{Exec, KIND, LogReader};

/// How often a followed log is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A read that goes on.
struct Reading {
    reader: LogReader,
    /// Up to which byte; to the last one there ever is, if the output is followed.
    end: u64,
    followed: Option<(Supervisor, ChildId)>,
    /// The child is not here any more: what it left is all there is.
    is_over: bool,
}

/// Reads what a child of this node printed.
pub(super) async fn output(supervisor: &Supervisor, exec: &Exec, wish: &Wish) -> Result<Output, Nothing> {
    if !is_held(supervisor, &wish.id, true) {
        return Err(Nothing::NotHere);
    }
    let (exec, Wish { id, begin, follow }) = (exec.clone(), wish.clone());
    let name = id.clone();
    let opened = blocking(move || {
        let Some(reader) = exec.read_log(&name, begin)? else { return Ok(None) };
        let end = if follow { u64::MAX } else { reader.end()? };
        Ok(Some((reader, end)))
    });
    let (reader, end) = opened.await.map_err(|error| Nothing::Unreadable(error.to_string()))?.ok_or(Nothing::NoLog)?;
    let followed = follow.then(|| (supervisor.clone(), id));
    let reading = Reading { reader, end, followed, is_over: false };
    Ok(stream::try_unfold(reading, |reading| reading.next()).boxed())
}

impl Reading {
    /// The next bytes, and what reads on after them.
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        loop {
            let (reader, read) = {
                let (mut reader, end) = (self.reader, self.end);
                blocking(move || reader.read(end).map(|read| (reader, read))).await?
            };
            self.reader = reader;
            if !read.is_empty() {
                return Ok(Some((read.into(), self)));
            }
            match &self.followed {
                None => return Ok(None),
                Some(_) if self.is_over => return Ok(None),
                // What it printed last is read after its end was seen.
                Some((supervisor, id)) if !is_held(supervisor, id, false) => self.is_over = true,
                Some(_) => sleep(LOOK_INTERVAL).await,
            }
        }
    }
}

/// Whether this node has the child, or, if that is asked for, had it when it was done.
fn is_held(supervisor: &Supervisor, id: &ChildId, or_done: bool) -> bool {
    let Some(row) = supervisor.child(id) else { return false };
    let is_here = row.node.is_some_and(|node| node == supervisor.cluster().id().name);
    is_here && &*row.kind == KIND && (or_done || row.status != ChildStatus::Done)
}

/// Runs what reads files where that holds up nobody.
async fn blocking<T: Send + 'static>(read: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(read).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
