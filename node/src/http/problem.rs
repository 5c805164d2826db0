//! Refusals as HTTP answers: problem+json, RFC 9457.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::backend::Refusal;
use crate::rows::Problem;

impl Refusal {
    /// HTTP status, one word for programs, one sentence for people.
    pub(crate) fn parts(self) -> (StatusCode, &'static str, String) {
        match self {
            Refusal::Invalid(why) => (StatusCode::BAD_REQUEST, "invalid", why),
            Refusal::NotYet(what) => {
                (StatusCode::BAD_REQUEST, "not_yet", format!("{what}: not yet built in this version of ordu"))
            }
            Refusal::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "this node asks for a bearer token: --http-token-file or ORDU_HTTP_TOKEN_FILE".into(),
            ),
            Refusal::Forbidden(why) => (StatusCode::FORBIDDEN, "forbidden", why),
            Refusal::NotFound(what) => (StatusCode::NOT_FOUND, "not_found", what),
            Refusal::Method => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "the path does not take that method".into())
            }
            Refusal::AlreadyThere(child) => {
                (StatusCode::CONFLICT, "already_there", format!("{} is there already", child.id))
            }
            Refusal::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!("the body is longer than {} bytes", super::BODY_BYTES_MAX),
            ),
            Refusal::InitFailed(why) => (StatusCode::UNPROCESSABLE_ENTITY, "init_failed", why),
            Refusal::Ended(why) => (StatusCode::UNPROCESSABLE_ENTITY, "ended", why),
            Refusal::NoEligibleNode(why) => (StatusCode::SERVICE_UNAVAILABLE, "no_eligible_node", why),
            Refusal::ClusterFull(why) => (StatusCode::SERVICE_UNAVAILABLE, "cluster_full", why),
            Refusal::NodeIsUp(why) => (StatusCode::CONFLICT, "node_is_up", why),
            Refusal::NodeUnreachable(why) => (StatusCode::SERVICE_UNAVAILABLE, "node_unreachable", why),
            Refusal::Timeout(what) => (StatusCode::GATEWAY_TIMEOUT, "timeout", what),
            Refusal::Busy => {
                (StatusCode::SERVICE_UNAVAILABLE, "busy", "too many requests wait on this node; ask again later".into())
            }
            Refusal::Closed => (StatusCode::SERVICE_UNAVAILABLE, "closed", "this node is on its way out".into()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        // What is there already is the answer, not an apology.
        if let Refusal::AlreadyThere(child) = self {
            return (StatusCode::CONFLICT, Json(*child)).into_response();
        }
        let (status, code, detail) = self.parts();
        let problem = Problem {
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or("Error").into(),
            status: status.as_u16(),
            detail,
            code: code.into(),
        };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
