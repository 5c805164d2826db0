//! Who may ask: a bearer token where there is one, and no page of another site in any case.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use crate::backend::Refusal;

/// Paths that anybody may ask: they tell nothing about the cluster.
const OPEN: [&str; 5] = ["/", "/page.js", "/page.css", "/healthz", "/readyz"];

pub(super) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match judge(app.token.as_deref(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn judge(token: Option<&str>, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).or_else(|| uri.authority().map(|authority| authority.as_str())).unwrap_or("");
    // A page that a browser loaded from elsewhere may send requests here in its user's name.
    if let Some(origin) = headers.get(header::ORIGIN)
        && origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_none_or(|(_, from)| from != host)
    {
        return Err(Refusal::Forbidden("requests from pages of other sites are refused".into()));
    }
    match token {
        _ if OPEN.contains(&uri.path()) => Ok(()),
        Some(token) => {
            let given = text(header::AUTHORIZATION).and_then(|value| value.split_once(' '));
            let is_right = given.is_some_and(|(scheme, given)| {
                scheme.eq_ignore_ascii_case("bearer") && is_equal(given.trim().as_bytes(), token.as_bytes())
            });
            if is_right { Ok(()) } else { Err(Refusal::Unauthorized) }
        }
        // Without a token, a name that somebody else's DNS resolves to this address would make such a page ours.
        None if is_local_host(host) => Ok(()),
        None => Err(Refusal::Forbidden("without a token a node answers under its IP address or localhost only".into())),
    }
}

fn is_local_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.is_empty() || bare.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok()
}

/// Compares without telling by its time how much was right.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(token: Option<&str>, path: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap());
        }
        judge(token, &path.parse().unwrap(), &map)
    }

    #[test]
    fn a_token_is_asked_for_and_compared() {
        let host = ("host", "n1.example:7600");
        assert_eq!(ask(Some("secret"), "/v1/status", &[host]), Err(Refusal::Unauthorized));
        for wrong in ["Bearer secre", "Bearer secret2", "Basic secret", "secret", "Bearer"] {
            let asked = ask(Some("secret"), "/v1/status", &[host, ("authorization", wrong)]);
            assert_eq!(asked, Err(Refusal::Unauthorized), "{wrong}");
        }
        assert_eq!(ask(Some("secret"), "/v1/status", &[host, ("authorization", "bearer secret")]), Ok(()));
        assert_eq!(ask(Some("secret"), "/healthz", &[host]), Ok(()));
        assert_eq!(ask(Some("secret"), "/metrics", &[host]), Err(Refusal::Unauthorized));
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let own = ("host", "127.0.0.1:7600");
        assert_eq!(ask(None, "/v1/status", &[own]), Ok(()));
        assert_eq!(ask(None, "/v1/status", &[own, ("origin", "http://127.0.0.1:7600")]), Ok(()));
        for origin in ["http://evil.example", "http://127.0.0.1:7601", "null"] {
            assert!(matches!(ask(None, "/v1/status", &[own, ("origin", origin)]), Err(Refusal::Forbidden(_))));
        }
        for host in ["localhost:7600", "LOCALHOST", "[::1]:7600", "127.0.0.1", "[::1]"] {
            assert_eq!(ask(None, "/v1/status", &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example:7600", "evil.example", "127.0.0.1.evil.example"] {
            assert!(matches!(ask(None, "/v1/status", &[("host", host)]), Err(Refusal::Forbidden(_))), "{host}");
        }
    }
}
