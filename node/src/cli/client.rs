//! A blocking HTTP client for one node: one-line errors, and the exit code that belongs to each.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::{Agent, Body, Timeout};

use crate::failure::Failure;
use crate::rows::{Child, Problem, StartRequest, Status};
use crate::text::{format_duration, parse_duration};

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 30;
/// How much of a stream is read at once.
const PIECE_BYTES: usize = 64 << 10;
/// How long to wait for a connection at most.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// What the node gets on top of the deadline, so that it is the one who says that the deadline passed.
const DEADLINE_MARGIN: Duration = Duration::from_secs(2);

/// Which node to talk to, and for how long.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connect {
    /// The node to talk to; any node works for the whole cluster
    #[arg(long, env = "ORDU_HTTP", value_name = "IP:PORT", default_value = "127.0.0.1:7600", value_parser = parse_address)]
    http: String,
    /// File with the bearer token that the node asks for
    #[arg(long, env = "ORDU_HTTP_TOKEN_FILE", value_name = "FILE")]
    http_token_file: Option<PathBuf>,
    /// After this long the command gives up; the outcome is then unknown (exit 4)
    #[arg(long, value_name = "D", default_value = "30s", value_parser = parse_duration)]
    timeout: Duration,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Connect {
    /// The node's address.
    pub(super) fn address(&self) -> &str {
        &self.http
    }
}

/// Checks a `HOST:PORT`.
pub(crate) fn parse_address(text: &str) -> Result<String, String> {
    let is_host = |host: &str| {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bare {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
        }
    };
    match text.rsplit_once(':') {
        Some((host, port)) if is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(text.to_owned()),
        _ => Err("it is not of the form HOST:PORT".into()),
    }
}

/// Reads a bearer token: the file's one line.
pub(crate) fn read_token(file: &std::path::Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read the token file {}: {error}", file.display())))?;
    let token = text.trim();
    if token.is_empty() || token.contains(|c: char| !c.is_ascii_graphic()) {
        return Err(Failure::usage(format!("{} does not hold a token: one line without spaces", file.display())));
    }
    Ok(token.to_owned())
}

/// A client of one node.
pub(crate) struct Client {
    agent: Agent,
    address: String,
    token: Option<String>,
    timeout: Duration,
}

impl Client {
    pub(crate) fn new(connect: &Connect) -> Result<Self, Failure> {
        let token = connect.http_token_file.as_deref().map(read_token).transpose()?;
        let config = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_MAX.min(connect.timeout)))
            .build();
        Ok(Self { agent: config.new_agent(), address: connect.http.clone(), token, timeout: connect.timeout })
    }

    /// What a GET answers, as JSON text.
    pub(crate) fn get(&self, path: &str) -> Result<String, Failure> {
        self.text(self.request(Method::GET, path, None, Some(self.timeout))?)
    }

    /// Asks for a change and waits for it until the deadline; what that answers, as JSON text.
    pub(crate) fn change(&self, method: Method, path: &str, body: Option<String>) -> Result<String, Failure> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{joint}timeout={}", format_duration(self.timeout.max(Duration::from_millis(1))));
        self.text(self.request(method, &path, body, Some(self.timeout.saturating_add(DEADLINE_MARGIN)))?)
    }

    /// Reads a stream of server-sent events to its end, which may never come; `take` gets each event's data.
    pub(crate) fn stream(
        &self,
        path: &str,
        is_endless: bool,
        mut take: impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let response = self.request(Method::GET, path, None, (!is_endless).then_some(self.timeout))?;
        if !response.status().is_success() {
            return self.text(response).map(drop);
        }
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line =
                line.map_err(|error| Failure::unreachable(format!("the node at {} went away: {error}", self.address)))?;
            if let Some(data) = line.strip_prefix("data:") {
                take(data.trim_start())?;
            }
        }
        if is_endless {
            return Err(Failure::unreachable(format!("the node at {} went away", self.address)));
        }
        Ok(())
    }

    /// Reads an answer that is no JSON as it comes, to its end, which may be far away; `take` gets each piece.
    pub(crate) fn bytes(
        &self,
        path: &str,
        is_endless: bool,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let response = self.request(Method::GET, path, None, (!is_endless).then_some(self.timeout))?;
        if !response.status().is_success() {
            return self.text(response).map(drop);
        }
        let mut reader = response.into_body().into_reader();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match reader.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(read) => take(&piece[..read])?,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let why = format!("the answer of the node at {} broke off: {error}", self.address);
                    return Err(Failure::unreachable(why));
                }
            }
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        timeout: Option<Duration>,
    ) -> Result<Response<Body>, Failure> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let built = request.body(body.unwrap_or_default());
        let built = built.map_err(|error| Failure::usage(format!("{} cannot be asked: {error}", self.address)))?;
        let configured = self.agent.configure_request(built).timeout_global(timeout).build();
        self.agent.run(configured).map_err(|error| self.failure(error))
    }

    fn failure(&self, error: ureq::Error) -> Failure {
        let address = &self.address;
        match error {
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                Failure::unreachable(format!("cannot reach the node at {address}: no connection in time"))
            }
            ureq::Error::Timeout(_) => Failure::timed_out(format!(
                "the node at {address} did not answer within {}; the outcome is unknown",
                format_duration(self.timeout)
            )),
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                Failure::unreachable(format!(
                    "cannot reach the node at {address}: connection refused; is `ordu up` running there? \
                     (--http or ORDU_HTTP says where)"
                ))
            }
            error => Failure::unreachable(format!("cannot reach the node at {address}: {error}")),
        }
    }

    fn text(&self, mut response: Response<Body>) -> Result<String, Failure> {
        let status = response.status();
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.map_err(|error| self.failure(error))?;
        if status.is_success() {
            return Ok(text);
        }
        if status == StatusCode::CONFLICT
            && let Ok(child) = serde_json::from_str::<Child>(&text)
        {
            return Err(Failure::refused(child.already()));
        }
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => Err(refusal(status.as_u16(), &problem.code, problem.detail)),
            Err(_) => Err(Failure::unreachable(format!(
                "{} answers {status} as no Ordu node does; is that the right port?",
                self.address
            ))),
        }
    }
}

/// A client of a node of this host, for `ordu dev`.
pub(crate) struct NodeClient(Client);

impl NodeClient {
    pub(crate) fn new(address: std::net::SocketAddr) -> Result<Self, Failure> {
        let http = address.to_string();
        let connect = Connect { http, http_token_file: None, timeout: Duration::from_secs(30), json: true };
        Client::new(&connect).map(Self)
    }

    pub(crate) fn status(&self) -> Result<Status, Failure> {
        parse(&self.0.get("/v1/status")?)
    }

    pub(crate) fn start(&self, request: &StartRequest) -> Result<Child, Failure> {
        let body = serde_json::to_string(request).map_err(|error| Failure::usage(error.to_string()))?;
        parse(&self.0.change(Method::POST, "/v1/children", Some(body))?)
    }
}

/// Reads an answer; one that is not what it should be comes from no node of this version.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(answer: &str) -> Result<T, Failure> {
    serde_json::from_str(answer).map_err(|error| {
        Failure::unreachable(format!("the node's answer is not understood ({error}); is it of another version?"))
    })
}

/// What a command says and exits with, if it is refused with this status, word and sentence.
pub(crate) fn refusal(status: u16, code: &str, message: String) -> Failure {
    match (status, code) {
        (504, _) => Failure::timed_out(message),
        (503, "closed" | "unreachable") => Failure::unreachable(message),
        (400 | 401 | 403 | 405 | 413, _) => Failure::usage(message),
        _ => Failure::refused(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{REFUSED, TIMED_OUT, UNREACHABLE, USAGE};

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for good in ["127.0.0.1:7600", "[::1]:7600", "node-1.example.org:80"] {
            assert_eq!(parse_address(good), Ok(good.to_owned()));
        }
        for bad in
            ["", "7600", ":7600", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "a:99999", "a/b:1", "::1:7600", "a b:1"]
        {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_refusal_has_its_exit_code() {
        let code = |status: u16, code: &str| refusal(status, code, "no".into()).code;
        assert_eq!(code(404, "not_found"), REFUSED);
        assert_eq!(code(422, "init_failed"), REFUSED);
        assert_eq!(code(409, "node_is_up"), REFUSED);
        assert_eq!(code(503, "no_eligible_node"), REFUSED);
        assert_eq!(code(503, "cluster_full"), REFUSED);
        assert_eq!(code(400, "invalid"), USAGE);
        assert_eq!(code(400, "not_yet"), USAGE);
        assert_eq!(code(401, "unauthorized"), USAGE);
        assert_eq!(code(413, "too_large"), USAGE);
        assert_eq!(code(503, "closed"), UNREACHABLE);
        assert_eq!(code(504, "timeout"), TIMED_OUT);
    }
}
