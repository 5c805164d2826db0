//! The HTTP interface: JSON rows, changes, events, the page, and what monitoring asks for.

mod children;
mod events;
mod guard;
mod logs;
mod problem;
mod views;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::backend::{Backend, Refusal};

/// Longest body of a request.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Connections served at once; a further one waits to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a client may take to send a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// Connections that follow events at once, so that others are left for whoever wants something.
const EVENT_STREAMS_MAX: usize = 256;
/// Connections that read logs at once, for the same reason.
const LOG_STREAMS_MAX: usize = 64;
/// After a failed accept, for want of file descriptors most likely.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// What every handler has.
pub(crate) struct App {
    backend: Arc<dyn Backend>,
    token: Option<String>,
    event_streams: Arc<Semaphore>,
    log_streams: Arc<Semaphore>,
}

/// The part of a path that is a name. One that is no text is refused like every other nonsense.
struct Segment(String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let segment = Path::<String>::from_request_parts(parts, state).await;
        segment
            .map(|Path(text)| Self(text))
            .map_err(|error| Refusal::Invalid(format!("the path: {}", error.body_text())))
    }
}

/// All paths, for a node and the token that it asks for.
pub fn router(backend: Arc<dyn Backend>, token: Option<String>) -> Router {
    let event_streams = Arc::new(Semaphore::new(EVENT_STREAMS_MAX));
    let log_streams = Arc::new(Semaphore::new(LOG_STREAMS_MAX));
    let app = Arc::new(App { backend, token, event_streams, log_streams });
    Router::new()
        .route("/v1/status", get(views::status))
        .route("/v1/members", get(views::members))
        .route("/v1/children", get(views::children).post(children::start))
        .route("/v1/children/{id}", get(views::child).delete(children::stop))
        .route("/v1/children/{id}/spec", get(views::spec))
        .route("/v1/children/{id}/explain", get(views::explain))
        .route("/v1/children/{id}/restart", post(children::restart))
        .route("/v1/children/{id}/logs", get(logs::logs))
        .route("/v1/names", get(views::names))
        .route("/v1/names/{*name}", get(views::name))
        .route("/v1/nodes/{name}/drain", post(children::drain))
        .route("/v1/nodes/{name}/undrain", post(children::undrain))
        .route("/v1/nodes/{name}/cordon", post(children::cordon))
        .route("/v1/nodes/{name}/uncordon", post(children::uncordon))
        .route("/v1/nodes/{name}/remove", post(children::remove))
        .route("/v1/rebalance", post(children::rebalance))
        .route("/v1/events", get(events::events))
        .route("/metrics", get(views::metrics))
        .route("/healthz", get(views::healthz))
        .route("/readyz", get(views::readyz))
        .route("/openapi.json", get(views::openapi))
        .route("/", get(views::page))
        .route("/page.js", get(views::page_js))
        .route("/page.css", get(views::page_css))
        .fallback(async |uri: Uri| Refusal::NotFound(format!("there is no path {}", uri.path())))
        .method_not_allowed_fallback(async || Refusal::Method)
        .layer(from_fn_with_state(app.clone(), guard::guard))
        .with_state(app)
}

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, router: Router) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "an HTTP connection cannot be accepted");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                tracing::debug!(%error, "an HTTP connection ended early");
            }
            drop(permit);
        });
    }
}

/// Reads the query of a request; what it does not know is refused, not ignored.
fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Refusal> {
    let parsed = Query::<T>::try_from_uri(uri);
    parsed.map(|Query(query)| query).map_err(|error| Refusal::Invalid(format!("the query: {}", error.body_text())))
}
