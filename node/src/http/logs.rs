//! `GET /v1/children/{id}/logs`: what a child printed, as plain text, and what it prints from now on.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, Uri, header};
use axum::response::IntoResponse;
use futures_util::StreamExt;
use serde::Deserialize;

use super::children::check_name;
use super::{App, Segment, query};
use crate::backend::Refusal;
use crate::logs::{LINES_DEFAULT, LINES_MAX};

/// What a program prints is shown as text, whatever it looks like.
const HEADERS: [(HeaderName, &str); 3] = [
    (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogsQuery {
    #[serde(default)]
    follow: bool,
    lines: Option<u64>,
}

pub(super) async fn logs(
    State(app): State<Arc<App>>,
    Segment(id): Segment,
    uri: Uri,
) -> Result<impl IntoResponse, Refusal> {
    check_name(&id)?;
    let LogsQuery { follow, lines } = query(&uri)?;
    let lines = lines.unwrap_or(LINES_DEFAULT);
    if lines > LINES_MAX {
        return Err(Refusal::Invalid(format!("lines: {lines} are more than {LINES_MAX}")));
    }
    let permit = app.log_streams.clone().try_acquire_owned().map_err(|_| Refusal::Busy)?;
    let output = app.backend.logs(&id, lines, follow).await?;
    let output = output.map(move |bytes| {
        let _held_by_the_stream = &permit;
        bytes.inspect_err(|error| tracing::warn!(child = %id, %error, "a log broke off"))
    });
    Ok((HEADERS, Body::from_stream(output)))
}
