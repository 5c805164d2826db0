//! What a caller may ask to be started, checked; and a child's spec in the caller's words again.

use std::collections::BTreeMap;
use std::time::Duration;

use ordu_supervisor::core::spec::{self, Affinity, ChildSpec, Handover, Intensity, Placement};
use ordu_transport::core::id::validate_name;

use crate::backend::{Restart, Wish};
use crate::exec::{ExecArgs, KIND};
use crate::placed;
use crate::rows::StartRequest;
use crate::text::{format_duration, parse_duration};

/// Most labels of a child.
pub const LABELS_MAX: usize = 64;
/// Longest value of a label, in bytes.
pub const LABEL_BYTES_MAX: usize = 1024;
/// How long a child of another kind than `exec` may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The window of `max_restarts`, where none is given.
const WITHIN_DEFAULT: Duration = Duration::from_secs(60);

/// Checks a request.
///
/// # Errors
/// One sentence that begins with the field that is wrong.
pub fn check(request: StartRequest) -> Result<Wish, String> {
    validate_name(&request.id, false).map_err(|error| format!("id: {error}"))?;
    validate_name(&request.kind, false).map_err(|error| format!("kind: {error}"))?;
    if let Some(node) = &request.node {
        validate_name(node, false).map_err(|error| format!("node: {error}"))?;
    }
    let restart = match request.restart.as_deref() {
        None | Some("permanent") => Restart::Permanent,
        Some("transient") => Restart::Transient,
        Some("temporary") => Restart::Temporary,
        Some(other) => return Err(format!("restart: {other:?} is not one of permanent, transient, temporary")),
    };
    let intensity = intensity(&request, restart)?;
    let placed = placed::asked(&request)?;
    let labels = request.labels.unwrap_or_default();
    check_labels("labels", &labels)?;
    let [require, avoid, prefer] = [request.require, request.avoid, request.prefer].map(Option::unwrap_or_default);
    for (field, labels) in [("require", &require), ("avoid", &avoid), ("prefer", &prefer)] {
        check_labels(field, labels)?;
    }
    let affinity = Affinity { require, avoid, prefer };
    let args = match &request.args {
        serde_json::Value::Null => Vec::new(),
        args => args.to_string().into_bytes(),
    };
    let stop_timeout = if request.kind == KIND {
        ExecArgs::parse(&args).map_err(|why| format!("args: {why}"))?.stop_timeout
    } else {
        STOP_TIMEOUT
    };
    let StartRequest { id, kind, node, start_first, .. } = request;
    let handover = if start_first { Handover::StartFirst } else { Handover::StopFirst };
    Ok(Wish { id, kind, args, restart, node, stop_timeout, intensity, labels, affinity, placed, handover })
}

/// How often the child may be restarted after failures, within how long.
fn intensity(request: &StartRequest, restart: Restart) -> Result<Option<Intensity>, String> {
    let Some(restarts) = request.max_restarts else {
        return match (&request.within, request.escalate) {
            (Some(_), _) => Err("within: it needs max_restarts".into()),
            (None, true) => Err("escalate: it needs max_restarts".into()),
            (None, false) => Ok(None),
        };
    };
    let within = request.within.as_deref().map(parse_duration).transpose().map_err(|why| format!("within: {why}"))?;
    let within = within.unwrap_or(WITHIN_DEFAULT);
    let kind = match restart {
        Restart::Permanent => spec::Restart::Permanent,
        Restart::Transient => spec::Restart::Transient,
        Restart::Temporary => spec::Restart::Temporary,
    };
    let intensity = Intensity { restarts, within, escalates: request.escalate };
    intensity.check(kind).map_err(|why| format!("max_restarts, within: {why}"))?;
    Ok(Some(intensity))
}

/// Checks labels; the sentence begins with the field that says them.
pub(crate) fn check_labels(field: &str, labels: &BTreeMap<String, String>) -> Result<(), String> {
    if labels.len() > LABELS_MAX {
        return Err(format!("{field}: {} are more than {LABELS_MAX}", labels.len()));
    }
    for (key, value) in labels {
        validate_name(key, true).map_err(|error| format!("{field}: {key:?} is not a label's name: {error}"))?;
        if value.len() > LABEL_BYTES_MAX || value.contains(char::is_control) {
            return Err(format!(
                "{field}: the value of {key} is longer than {LABEL_BYTES_MAX} bytes, or no plain text"
            ));
        }
    }
    Ok(())
}

/// The request that would start such a child, with all its defaults.
pub(crate) fn request(spec: &ChildSpec) -> StartRequest {
    let restart = match spec.restart {
        spec::Restart::Permanent => "permanent",
        spec::Restart::Transient => "transient",
        spec::Restart::Temporary => "temporary",
    };
    let (mut node, mut placement, mut apart, mut spread) = (None, None, None, None);
    match &spec.placement {
        Placement::Uniform => {}
        Placement::Pinned(name) => node = Some(name.to_string()),
        Placement::LeastLoaded => placement = Some(placed::told(&spec.placement).0.to_owned()),
        Placement::Apart(of) if of.required => apart = Some(placed::text(of)),
        Placement::Apart(of) => spread = Some(placed::text(of)),
    }
    StartRequest {
        id: spec.id.to_string(),
        kind: spec.kind.to_string(),
        args: args(&spec.kind, &spec.args),
        restart: Some(restart.to_owned()),
        node,
        labels: Some(spec.labels.clone()),
        require: some(&spec.affinity.require),
        avoid: some(&spec.affinity.avoid),
        prefer: some(&spec.affinity.prefer),
        placement,
        apart,
        spread,
        max_restarts: spec.intensity.map(|intensity| intensity.restarts),
        within: spec.intensity.map(|intensity| format_duration(intensity.within)),
        escalate: spec.intensity.is_some_and(|intensity| intensity.escalates),
        start_first: spec.handover == Handover::StartFirst,
    }
}

fn some(labels: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    Some(labels.clone()).filter(|labels| !labels.is_empty())
}

/// Args of another kind are shown if they are JSON, as those that came over HTTP are.
fn args(kind: &str, args: &[u8]) -> serde_json::Value {
    let whole = if kind == KIND { ExecArgs::parse(args).ok() } else { None };
    let whole = whole.and_then(|args| serde_json::to_value(args).ok());
    whole.or_else(|| serde_json::from_slice(args).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web(fields: &str) -> Result<Wish, String> {
        let json = format!(r#"{{"id":"web","args":{{"cmd":["true"]}}{fields}}}"#);
        check(serde_json::from_str(&json).map_err(|error| error.to_string())?)
    }

    #[test]
    fn labels_are_names_with_short_plain_values() {
        let wish = web(r#","labels":{"team/web":"\u00e9 b","x":""}"#).unwrap();
        assert_eq!(wish.labels.get("team/web").map(String::as_str), Some("\u{e9} b"));
        let many: BTreeMap<_, _> = (0..=LABELS_MAX).map(|n| (n.to_string(), "")).collect();
        let long = "x".repeat(LABEL_BYTES_MAX + 1);
        for (labels, part) in [
            (serde_json::json!({"a b": ""}).to_string(), "\"a b\" is not a label's name"),
            (serde_json::json!({"": ""}).to_string(), "not a label's name"),
            (serde_json::json!({"a": long}).to_string(), "longer than 1024"),
            (serde_json::json!({"a": "x\ny"}).to_string(), "no plain text"),
            (serde_json::json!({"a": 1}).to_string(), "expected a string"),
            (serde_json::to_string(&many).unwrap(), "65 are more than 64"),
        ] {
            let why = web(&format!(r#","labels":{labels}"#)).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn a_spec_is_told_as_the_request_that_makes_it() {
        let json = r#"{"id":"web","kind":"exec","args":{"cmd":["a"],"env":{"K":"v"},"user":"www:7","limits":{"memory.max":"1G","nofile":64},"stop_signal":"INT","stop_timeout":"3s"},"restart":"transient","node":"n2","labels":{"a":"b"},"max_restarts":3,"within":"90s","escalate":true,"start_first":true}"#;
        let asked: StartRequest = serde_json::from_str(json).unwrap();
        let spec = crate::adapter::spec(check(asked.clone()).unwrap()).unwrap();
        assert_eq!(request(&spec), asked);
        for placed in [r#""placement":"least-loaded""#, r#""apart":"a=b""#, r#""spread":"a=b@zone""#] {
            let wish = web(&format!(",{placed}")).unwrap();
            let told = serde_json::to_string(&request(&crate::adapter::spec(wish).unwrap())).unwrap();
            assert!(told.contains(placed), "{told}");
        }
        let bare = crate::adapter::spec(web("").unwrap()).unwrap();
        let told = serde_json::to_string(&request(&bare)).unwrap();
        let expected = r#"{"id":"web","kind":"exec","args":{"cmd":["true"],"stop_timeout":"10s"},"restart":"permanent","labels":{}}"#;
        assert_eq!(told, expected);
    }
}
