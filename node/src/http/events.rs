//! `GET /v1/events`: what happened lately and what happens from now on, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::Uri;
use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;

use super::{App, query};
use crate::backend::Refusal;

/// How often a quiet stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    /// Whether the stream goes on after what happened lately.
    #[serde(default = "yes")]
    follow: bool,
}

fn yes() -> bool {
    true
}

pub(super) async fn events(
    State(app): State<Arc<App>>,
    uri: Uri,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Refusal> {
    let EventsQuery { follow } = query(&uri)?;
    let permit = app.event_streams.clone().try_acquire_owned().map_err(|_| Refusal::Busy)?;
    let (recent, live) = app.backend.events();
    let live = if follow { live.boxed() } else { stream::empty().boxed() };
    let events = stream::iter(recent).chain(live).map(move |event| {
        let _held_by_the_stream = &permit;
        let data = serde_json::to_string(&event).unwrap_or_default();
        Ok(sse::Event::default().event(event.kind).data(data))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}
