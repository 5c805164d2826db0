//! Requests that only look, the page, and what monitoring asks for.

use std::fmt::Write;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, Uri, header};
use axum::response::IntoResponse;
use ordu_transport::core::id::validate_name;
use serde::Deserialize;

use super::children::check_name;
use super::{App, Segment, query};
use crate::backend::Refusal;
use crate::rows::{Child, Explanation, Member, Name, StartRequest, Status};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamesQuery {
    #[serde(default)]
    prefix: String,
}

pub(super) async fn status(State(app): State<Arc<App>>) -> Json<Status> {
    Json(app.backend.status())
}

pub(super) async fn members(State(app): State<Arc<App>>) -> Json<Vec<Member>> {
    Json(app.backend.members())
}

pub(super) async fn children(State(app): State<Arc<App>>) -> Json<Vec<Child>> {
    Json(app.backend.children())
}

pub(super) async fn child(State(app): State<Arc<App>>, Segment(id): Segment) -> Result<Json<Child>, Refusal> {
    check_name(&id)?;
    app.backend.child(&id).map(Json).ok_or_else(|| Refusal::NotFound(format!("there is no child {id}")))
}

pub(super) async fn explain(State(app): State<Arc<App>>, Segment(id): Segment) -> Result<Json<Explanation>, Refusal> {
    check_name(&id)?;
    app.backend.explain(&id).map(Json).ok_or_else(|| Refusal::NotFound(format!("there is no child {id}")))
}

pub(super) async fn spec(State(app): State<Arc<App>>, Segment(id): Segment) -> Result<Json<StartRequest>, Refusal> {
    check_name(&id)?;
    let spec = app.backend.spec(&id).map(Json);
    spec.ok_or_else(|| Refusal::NotFound(format!("there is no child {id} that should run")))
}

pub(super) async fn names(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Vec<Name>>, Refusal> {
    let NamesQuery { prefix } = query(&uri)?;
    Ok(Json(app.backend.names(&prefix)))
}

pub(super) async fn name(State(app): State<Arc<App>>, Segment(name): Segment) -> Result<Json<Name>, Refusal> {
    validate_name(&name, true).map_err(|error| Refusal::Invalid(format!("{name:?} is not a name: {error}")))?;
    app.backend.name(&name).map(Json).ok_or_else(|| Refusal::NotFound(format!("nobody holds the name {name}")))
}

pub(super) async fn healthz(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    if app.backend.status().healthy {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not healthy\n")
    }
}

/// Whether the node takes its share: not while it drains or leaves.
pub(super) async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    let status = app.backend.status();
    let is_up = app.backend.members().iter().any(|member| member.name == status.name && member.status == "up");
    match status.healthy && is_up {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}

pub(super) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let text = metrics_text(&app.backend.status(), &app.backend.children());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

fn metrics_text(status: &Status, children: &[Child]) -> String {
    let mut text = String::new();
    let labels = format!("cluster=\"{}\",node=\"{}\"", status.cluster, status.name);
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (extra, value) in samples {
            let _ = writeln!(text, "{name}{{{labels}{extra}}} {value}");
        }
    };
    let one = |value: u64| [(String::new(), value)];
    family("ordu_members_up", "gauge", "Members that are up, this node included.", &one(status.members_up));
    family("ordu_members", "gauge", "Members known.", &one(status.members));
    family("ordu_children", "gauge", "Children that should run.", &one(status.children));
    family("ordu_children_running", "gauge", "Children that run.", &one(status.running));
    let mut by_status = std::collections::BTreeMap::<&str, u64>::new();
    for child in children {
        *by_status.entry(&child.status).or_default() += 1;
    }
    let by_status: Vec<_> =
        by_status.into_iter().map(|(status, count)| (format!(",status=\"{status}\""), count)).collect();
    family("ordu_children_by_status", "gauge", "Children known, by status.", &by_status);
    family("ordu_names", "gauge", "Names that lookups show.", &one(status.names));
    family(
        "ordu_name_conflicts_total",
        "counter",
        "Processes that lost a name conflict.",
        &one(status.conflicts_total),
    );
    family(
        "ordu_checkpoints",
        "gauge",
        "Checkpoints that this node keeps for children of others.",
        &one(status.checkpoints),
    );
    family("ordu_converged", "gauge", "1 if every member that is up has our state.", &one(status.converged.into()));
    let progress = status.progress.clone().unwrap_or_default();
    let (taken, left) = (progress.taken, progress.expected.saturating_sub(progress.taken));
    family("ordu_sync_taken", "gauge", "Entries that came of what this node lacks and takes now.", &one(taken));
    family("ordu_sync_left", "gauge", "Entries that are still expected of it.", &one(left));
    if let Some(quorum) = &status.quorum {
        family("ordu_quorum_needed", "gauge", "Members that a quorum takes.", &one(quorum.needed));
        family(
            "ordu_quorum_vouching",
            "gauge",
            "Members that vouch for this node, itself included.",
            &one(quorum.vouching),
        );
        family("ordu_quorum_members", "gauge", "Members that count, down or not.", &one(quorum.members));
        family("ordu_quorum_held", "gauge", "1 if this node may run children.", &one(quorum.held.into()));
    }
    family("ordu_healthy", "gauge", "1 if this node serves.", &one(status.healthy.into()));
    family("ordu_boot", "gauge", "This node's boot number.", &one(status.boot));
    text
}

pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("openapi.json"))
}

/// The page loads nothing from elsewhere and runs nothing but its own script.
const PAGE_HEADERS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-cache"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

pub(super) async fn page() -> impl IntoResponse {
    (PAGE_HEADERS, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], include_str!("page.html"))
}

pub(super) async fn page_js() -> impl IntoResponse {
    (PAGE_HEADERS, [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("page.js"))
}

pub(super) async fn page_css() -> impl IntoResponse {
    (PAGE_HEADERS, [(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("page.css"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Quorum;

    #[test]
    fn a_quorum_is_measured_where_one_is_needed() {
        let status = Status { cluster: "c".into(), name: "n1".into(), ..Status::default() };
        assert!(!metrics_text(&status, &[]).contains("quorum"));
        let quorum = Quorum { needed: 3, vouching: 2, members: 5, held: false, waits_ms: 0 };
        let text = metrics_text(&Status { quorum: Some(quorum), ..status }, &[]);
        let value = |name: &str| {
            let line = format!("ordu_quorum_{name}{{cluster=\"c\",node=\"n1\"}} ");
            text.lines().find_map(|text| text.strip_prefix(&line)).map(ToOwned::to_owned)
        };
        let values = ["needed", "vouching", "members", "held"].map(|name| value(name).unwrap());
        assert_eq!(values, ["3", "2", "5", "0"], "{text}");
    }
}
