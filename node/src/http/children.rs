//! Requests about children and nodes that change something.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use ordu_supervisor::core::moves::REBALANCE_MAX;
use ordu_transport::core::id::validate_name;
use serde::Deserialize;

use super::{App, BODY_BYTES_MAX, BODY_TIMEOUT, Segment, query};
use crate::backend::{Refusal, Wish};
use crate::rows::{Child, Moves, StartRequest, StartResult};
use crate::text::parse_duration;
use crate::wish;

/// The deadline of a request that names none.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// The longest deadline a request may name.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
/// Most children that one request starts.
const STARTS_MAX: usize = 10_000;
/// How much of a body that is too long is read and thrown away, so that its sender gets to read the answer.
const BODY_DRAIN_MAX: usize = 16 << 20;

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
    if body.trim_ascii_start().starts_with(b"[") {
        return start_many(&app, &body, ensure, deadline).await;
    }
    let wish = wish(&body)?;
    let was_there = ensure && app.backend.child(&wish.id).is_some_and(|child| child.status != "done");
    let child = app.backend.start(wish, ensure, deadline).await?;
    let status = if was_there { StatusCode::OK } else { StatusCode::CREATED };
    let location = format!("/v1/children/{}", child.id);
    Ok((status, [(header::LOCATION, location)], Json(child)).into_response())
}

/// Starts all children of a list, and answers what became of each, in their order.
async fn start_many(app: &App, body: &[u8], ensure: bool, deadline: Duration) -> Result<Response, Refusal> {
    let requests: Vec<StartRequest> = serde_json::from_slice(body)
        .map_err(|error| Refusal::Invalid(format!("the body is not a list of children: {error}")))?;
    if requests.len() > STARTS_MAX {
        return Err(Refusal::Invalid(format!("the list: {} children are more than {STARTS_MAX}", requests.len())));
    }
    let ids: Vec<String> = requests.iter().map(|request| request.id.clone()).collect();
    let checked: Vec<Result<Wish, String>> = requests.into_iter().map(wish::check).collect();
    let (mut bad, mut good) = (Vec::new(), Vec::new());
    for checked in checked {
        match checked {
            Ok(wish) => {
                good.push(wish);
                bad.push(None);
            }
            Err(why) => bad.push(Some(Refusal::Invalid(why))),
        }
    }
    let mut answers = app.backend.start_many(good, ensure, deadline).await.into_iter();
    let results = ids.into_iter().zip(bad).map(|(id, bad)| {
        let answer = bad.map_or_else(|| answers.next().unwrap_or(Err(Refusal::Closed)), Err);
        result(id, answer)
    });
    Ok(Json(results.collect::<Vec<StartResult>>()).into_response())
}

fn result(id: String, answer: Result<Child, Refusal>) -> StartResult {
    match answer {
        Ok(child) => StartResult { id, child: Some(child), status: None, code: None, error: None },
        Err(refusal) => {
            let there = match &refusal {
                Refusal::AlreadyThere(child) => Some(child.already()),
                _ => None,
            };
            let (status, code, detail) = refusal.parts();
            let error = Some(there.unwrap_or(detail));
            StartResult { id, child: None, status: Some(status.as_u16()), code: Some(code.into()), error }
        }
    }
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

pub(super) async fn cordon(
    State(app): State<Arc<App>>,
    Segment(node): Segment,
    uri: Uri,
) -> Result<StatusCode, Refusal> {
    let deadline = change(&node, &uri)?;
    app.backend.cordon(&node, true, deadline).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn uncordon(
    State(app): State<Arc<App>>,
    Segment(node): Segment,
    uri: Uri,
) -> Result<StatusCode, Refusal> {
    let deadline = change(&node, &uri)?;
    app.backend.cordon(&node, false, deadline).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Segment(node): Segment,
    uri: Uri,
) -> Result<StatusCode, Refusal> {
    let deadline = change(&node, &uri)?;
    app.backend.remove(&node, deadline).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RebalanceQuery {
    timeout: Option<String>,
    #[serde(default)]
    dry_run: bool,
    max_moves: Option<usize>,
}

pub(super) async fn rebalance(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Moves>, Refusal> {
    let RebalanceQuery { timeout, dry_run, max_moves } = query(&uri)?;
    // It waits for nothing.
    deadline(timeout)?;
    let most = max_moves.unwrap_or(REBALANCE_MAX);
    if most > REBALANCE_MAX {
        return Err(Refusal::Invalid(format!("max_moves: {most} are more than {REBALANCE_MAX}")));
    }
    Ok(Json(app.backend.rebalance(most, dry_run)))
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
    wish::check(request).map_err(Refusal::Invalid)
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
