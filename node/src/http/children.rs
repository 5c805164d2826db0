//! Requests about children and nodes that change something.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use ordu_supervisor::core::spec::{self, Intensity};
use ordu_transport::core::id::validate_name;
use serde::Deserialize;

use super::{App, BODY_BYTES_MAX, BODY_TIMEOUT, Segment, query};
use crate::backend::{Refusal, Restart, Wish};
use crate::exec::{ExecArgs, KIND};
use crate::rows::{Child, StartRequest};
use crate::text::parse_duration;

/// The deadline of a request that names none.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// The longest deadline a request may name.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
/// How much of a body that is too long is read and thrown away, so that its sender gets to read the answer.
const BODY_DRAIN_MAX: usize = 16 << 20;
/// How long a child of another kind may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The window of `max_restarts`, where none is given.
const WITHIN_DEFAULT: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StartQuery {
    timeout: Option<String>,
    #[serde(default)]
    ensure: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeQuery {
    timeout: Option<String>,
}

pub(super) async fn start(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    let StartQuery { timeout, ensure } = query(request.uri())?;
    let deadline = deadline(timeout)?;
    let body = tokio::time::timeout(BODY_TIMEOUT, read_body(request)).await;
    let body = body.map_err(|_| Refusal::Invalid(format!("the body did not come within {BODY_TIMEOUT:?}")))??;
    let wish = wish(&body)?;
    let was_there = ensure && app.backend.child(&wish.id).is_some_and(|child| child.status != "done");
    let child = app.backend.start(wish, ensure, deadline).await?;
    let status = if was_there { StatusCode::OK } else { StatusCode::CREATED };
    let location = format!("/v1/children/{}", child.id);
    Ok((status, [(header::LOCATION, location)], Json(child)).into_response())
}

pub(super) async fn stop(State(app): State<Arc<App>>, Segment(id): Segment, uri: Uri) -> Result<StatusCode, Refusal> {
    let deadline = change(&id, &uri)?;
    app.backend.stop(&id, deadline).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn restart(
    State(app): State<Arc<App>>,
    Segment(id): Segment,
    uri: Uri,
) -> Result<Json<Child>, Refusal> {
    let deadline = change(&id, &uri)?;
    Ok(Json(app.backend.restart(&id, deadline).await?))
}

pub(super) async fn drain(
    State(app): State<Arc<App>>,
    Segment(node): Segment,
    uri: Uri,
) -> Result<StatusCode, Refusal> {
    let deadline = change(&node, &uri)?;
    app.backend.drain(&node, deadline).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn undrain(
    State(app): State<Arc<App>>,
    Segment(node): Segment,
    uri: Uri,
) -> Result<StatusCode, Refusal> {
    let deadline = change(&node, &uri)?;
    app.backend.undrain(&node, deadline).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn rebalance() -> Refusal {
    Refusal::NotYet("rebalance".into())
}

/// Checks a path's name and reads the deadline.
fn change(name: &str, uri: &Uri) -> Result<Duration, Refusal> {
    check_name(name)?;
    let ChangeQuery { timeout } = query(uri)?;
    deadline(timeout)
}

pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    validate_name(name, false).map_err(|error| Refusal::Invalid(format!("{name:?} is not a name: {error}")))
}

fn deadline(timeout: Option<String>) -> Result<Duration, Refusal> {
    let Some(text) = timeout else { return Ok(TIMEOUT_DEFAULT) };
    parse_duration(&text)
        .map(|timeout| timeout.min(TIMEOUT_MAX))
        .map_err(|why| Refusal::Invalid(format!("timeout: {why}")))
}

fn wish(body: &[u8]) -> Result<Wish, Refusal> {
    let request: StartRequest =
        serde_json::from_slice(body).map_err(|error| Refusal::Invalid(format!("the body is not a child: {error}")))?;
    if request.labels.as_ref().is_some_and(|labels| labels.as_object().is_none_or(|labels| !labels.is_empty())) {
        return Err(Refusal::NotYet("labels".into()));
    }
    validate_name(&request.id, false).map_err(|error| Refusal::Invalid(format!("id: {error}")))?;
    validate_name(&request.kind, false).map_err(|error| Refusal::Invalid(format!("kind: {error}")))?;
    if let Some(node) = &request.node {
        validate_name(node, false).map_err(|error| Refusal::Invalid(format!("node: {error}")))?;
    }
    let restart = match request.restart.as_deref() {
        None | Some("permanent") => Restart::Permanent,
        Some("transient") => Restart::Transient,
        Some("temporary") => Restart::Temporary,
        Some(other) => {
            return Err(Refusal::Invalid(format!("restart: {other:?} is not one of permanent, transient, temporary")));
        }
    };
    let intensity = intensity(&request, restart).map_err(Refusal::Invalid)?;
    let args = match &request.args {
        serde_json::Value::Null => Vec::new(),
        args => args.to_string().into_bytes(),
    };
    let stop_timeout = if request.kind == KIND {
        ExecArgs::parse(&args).map_err(|why| Refusal::Invalid(format!("args: {why}")))?.stop_timeout
    } else {
        STOP_TIMEOUT
    };
    Ok(Wish { id: request.id, kind: request.kind, args, restart, node: request.node, stop_timeout, intensity })
}

/// How often the child may be restarted after failures, within how long.
fn intensity(request: &StartRequest, restart: Restart) -> Result<Option<(u32, Duration)>, String> {
    let Some(restarts) = request.max_restarts else {
        return if request.within.is_some() { Err("within: it needs max_restarts".into()) } else { Ok(None) };
    };
    let within = request.within.as_deref().map(parse_duration).transpose().map_err(|why| format!("within: {why}"))?;
    let within = within.unwrap_or(WITHIN_DEFAULT);
    let kind = match restart {
        Restart::Permanent => spec::Restart::Permanent,
        Restart::Transient => spec::Restart::Transient,
        Restart::Temporary => spec::Restart::Temporary,
    };
    Intensity { restarts, within }.check(kind).map_err(|why| format!("max_restarts, within: {why}"))?;
    Ok(Some((restarts, within)))
}

/// Reads a body of at most [`BODY_BYTES_MAX`] bytes.
async fn read_body(request: Request) -> Result<Vec<u8>, Refusal> {
    let mut frames = Body::into_data_stream(request.into_body());
    let (mut body, mut read) = (Vec::new(), 0);
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|error| Refusal::Invalid(format!("the body cannot be read: {error}")))?;
        read += frame.len();
        if read <= BODY_BYTES_MAX {
            body.extend_from_slice(&frame);
        } else if read > BODY_DRAIN_MAX {
            break;
        }
    }
    if read > BODY_BYTES_MAX { Err(Refusal::TooLarge) } else { Ok(body) }
}
