//! Output that lies on another node: asking for it, and being asked.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use ordu_supervisor::Supervisor;
use ordu_transport::core::codec::{pack, unpack};
use ordu_transport::{Request, RequestError, Requests, Responder, Response};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::place::Place;
use super::{Logs, Nothing, Output, Wish, local};

/// What such requests are about, on the wire.
const TOPIC: &str = "logs";
/// How long a node may take to begin with its answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Logs that a node reads for others at once.
const READERS_MAX: usize = 128;
/// Longest explanation of another node that is repeated, in bytes.
const REASON_BYTES_MAX: usize = 300;

/// Asks the node of a place for a child's output.
pub(super) async fn output(supervisor: &Supervisor, place: &Place, wish: &Wish) -> Result<Output, Nothing> {
    let cluster = supervisor.cluster();
    let node = place.id.clone().or_else(|| cluster.view().get(&place.node).map(|member| member.id.clone()));
    let node = node.ok_or_else(|| Nothing::Unreachable("is no member".to_owned()))?;
    match cluster.request(&node, TOPIC, packed(wish), ANSWER_MAX).await {
        Ok(response) => Ok(stream::try_unfold(response, next).boxed()),
        Err(RequestError::NoSession) if cluster.is_connected(&node) => Err(Nothing::Unreachable(
            "has no session with this node: among many nodes only neighbours have; ask it, or another node".to_owned(),
        )),
        Err(RequestError::Busy) => Err(Nothing::Busy),
        Err(RequestError::Refused(why)) => Err(match unpack::<Nothing>(&why) {
            Ok(Nothing::Unreadable(why)) => Nothing::Unreadable(shortened(why)),
            Ok(nothing) => nothing,
            Err(error) => Nothing::Unreachable(format!("is not understood: {error}")),
        }),
        Err(error) => Err(Nothing::Unreachable(format!("cannot be asked: {error}"))),
    }
}

async fn next(mut response: Response) -> io::Result<Option<(Bytes, Response)>> {
    let bytes = response.next().await.map_err(|error| io::Error::other(format!("another node's log: {error}")))?;
    Ok(bytes.map(|bytes| (bytes, response)))
}

/// Answers other nodes until the cluster is closed.
pub(crate) async fn serve(logs: Logs, mut requests: Requests) {
    let readers = Arc::new(Semaphore::new(READERS_MAX));
    while let Some(request) = requests.recv().await {
        let (logs, permit) = (logs.clone(), readers.clone().try_acquire_owned());
        tokio::spawn(async move {
            match permit {
                Ok(_held) => answer(&logs, request).await,
                Err(_) => request.refuse(packed(&Nothing::Busy)).await,
            }
        });
    }
}

async fn answer(logs: &Logs, request: Request) {
    let wish = match unpack::<Wish>(request.body()) {
        Ok(wish) if request.topic() == TOPIC => wish,
        Ok(_) | Err(_) => {
            tracing::debug!(peer = %request.from(), "a request that is not understood");
            return request.refuse(packed(&Nothing::Unreadable("the request is not understood".to_owned()))).await;
        }
    };
    match local::output(&logs.supervisor, &logs.exec, &wish).await {
        Err(nothing) => request.refuse(packed(&nothing)).await,
        Ok(output) => {
            if let Ok(responder) = request.accept(Bytes::new()).await {
                send(output, responder).await;
            }
        }
    }
}

/// Sends an output as it is read there. One that breaks off, here, is told as that.
async fn send(mut output: Output, mut responder: Responder) {
    loop {
        let bytes = tokio::select! {
            bytes = output.next() => bytes,
            () = responder.gone() => return,
        };
        match bytes {
            Some(Ok(bytes)) => {
                if responder.send(bytes).await.is_err() {
                    return;
                }
            }
            Some(Err(error)) => return tracing::warn!(%error, "a log cannot be read on"),
            None => return responder.finish(),
        }
    }
}

fn packed(body: &impl Serialize) -> Bytes {
    let mut bytes = Vec::new();
    pack(body, &mut bytes);
    bytes.into()
}

fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(REASON_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use ordu_supervisor::core::ChildId;

    use super::*;
    use crate::exec::LogBegin;

    #[test]
    fn golden_bytes() {
        let wish = Wish { id: ChildId::new("web").unwrap(), begin: LogBegin::Lines(100), follow: true };
        assert_eq!(&packed(&wish)[..], b"\x93\xa3web\x81\xa5Linesd\xc3");
        assert_eq!(unpack::<Wish>(&packed(&wish)), Ok(wish));
        assert_eq!(&packed(&Nothing::NotHere)[..], b"\xa7NotHere");
    }

    #[test]
    fn a_name_that_is_a_path_is_no_wish() {
        for id in ["../../etc/passwd", "a/b", ".\0", ""] {
            let mut bytes = Vec::new();
            pack(&(id, LogBegin::Lines(1), false), &mut bytes);
            assert!(unpack::<Wish>(&bytes).is_err(), "{id}");
        }
    }
}
