//! The args of a child of kind `exec`, as callers write them: JSON with `cmd`, `env`, `cwd`, `user`, `limits`,
//! `stop_signal` and `stop_timeout`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::limits::Limits;
use super::signals::StopSignal;
use super::user::RunAs;
use crate::text::duration;

/// The kind's name.
pub const KIND: &str = "exec";
/// How long a program may take to stop unless its args say so.
pub const STOP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// The longest a program may be given to stop.
pub(super) const STOP_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// What to run, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecArgs {
    /// Program and arguments.
    pub cmd: Vec<String>,
    /// Environment variables on top of the node's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Working directory; the node's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
    /// As whom it runs: `USER` or `USER:GROUP`, names or numbers; as the node if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<RunAs>,
    /// What it may use.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// By what it is asked to stop.
    #[serde(default, skip_serializing_if = "StopSignal::is_default")]
    pub stop_signal: StopSignal,
    /// From the stop signal to SIGKILL.
    #[serde(default = "stop_timeout_default", with = "duration")]
    pub stop_timeout: Duration,
}

fn stop_timeout_default() -> Duration {
    STOP_TIMEOUT_DEFAULT
}

impl ExecArgs {
    /// A command, and nothing else said of it.
    pub fn new(cmd: Vec<String>) -> Self {
        Self {
            cmd,
            env: BTreeMap::new(),
            cwd: None,
            user: None,
            limits: Limits::default(),
            stop_signal: StopSignal::default(),
            stop_timeout: STOP_TIMEOUT_DEFAULT,
        }
    }

    /// Reads and checks args. The error is one sentence for whoever wrote them.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let args: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        args.check()?;
        Ok(args)
    }

    /// Whether they can be run at all; that the program exists is found out where it runs.
    pub fn check(&self) -> Result<(), String> {
        if self.cmd.first().is_none_or(String::is_empty) {
            return Err("cmd names no program".into());
        }
        if self.cmd.iter().any(|argument| argument.contains('\0')) {
            return Err("cmd holds a NUL character".into());
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(format!("env: {name:?} is not a variable's name"));
            }
            if value.contains('\0') {
                return Err(format!("env: the value of {name} holds a NUL character"));
            }
        }
        if self.cwd.as_ref().is_some_and(|cwd| !cwd.is_absolute()) {
            return Err("cwd is not an absolute path".into());
        }
        self.limits.check().map_err(|why| format!("limits: {why}"))?;
        if self.stop_timeout > STOP_TIMEOUT_MAX {
            return Err("stop_timeout is longer than 24h".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn args_are_read_with_defaults_and_written_back() {
        let args = ExecArgs::parse(br#"{"cmd":["sleep","5"]}"#).unwrap();
        assert_eq!(args.stop_timeout, Duration::from_secs(10));
        assert_eq!(serde_json::to_string(&args).unwrap(), r#"{"cmd":["sleep","5"],"stop_timeout":"10s"}"#);
        let text = r#"{"cmd":["a"],"env":{"K":"V=1"},"cwd":"/","user":"nobody:7","limits":{"memory.max":"1G","nofile":64},"stop_signal":"INT","stop_timeout":"250ms"}"#;
        assert_eq!(serde_json::to_string(&ExecArgs::parse(text.as_bytes()).unwrap()).unwrap(), text);
    }

    #[test]
    fn all_args_are_described_for_callers_of_http() {
        let described: serde_json::Value = serde_json::from_str(include_str!("../http/openapi.json")).unwrap();
        let described = &described["components"]["schemas"]["ExecArgs"]["properties"];
        let names = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let user = "7:7".parse().ok();
        let limits: BTreeMap<_, _> =
            names(&described["limits"]["properties"]).into_iter().map(|name| (name, "1".into())).collect();
        let full = ExecArgs {
            env: BTreeMap::from([("K".into(), "V".into())]),
            cwd: Some("/".into()),
            user,
            limits: Limits::from_pairs(limits),
            stop_signal: StopSignal(nix::sys::signal::Signal::SIGINT),
            ..ExecArgs::new(vec!["a".into()])
        };
        full.check().unwrap();
        assert_eq!(names(described), names(&serde_json::to_value(&full).unwrap()));
        for signal in described["stop_signal"]["enum"].as_array().unwrap() {
            signal.as_str().unwrap().parse::<StopSignal>().unwrap();
        }
    }

    #[test]
    fn args_that_cannot_run_are_refused_with_a_sentence() {
        for (json, expected) in [
            (r#"{}"#, "missing field `cmd`"),
            (r#"{"cmd":[]}"#, "no program"),
            (r#"{"cmd":[""]}"#, "no program"),
            (r#"{"cmd":["a\u0000"]}"#, "NUL"),
            (r#"{"cmd":["a"],"env":{"A=B":""}}"#, "not a variable"),
            (r#"{"cmd":["a"],"env":{"":""}}"#, "not a variable"),
            (r#"{"cmd":["a"],"cwd":"tmp"}"#, "absolute"),
            (r#"{"cmd":["a"],"stop_timeout":"soon"}"#, "\"soon\""),
            (r#"{"cmd":["a"],"stop_timeout":"999h"}"#, "24h"),
            (r#"{"cmd":["a"],"colour":"red"}"#, "unknown field `colour`"),
            (r#"{"cmd":["a"],"user":""}"#, "not of the form USER"),
            (r#"{"cmd":["a"],"user":7}"#, "string"),
            (r#"{"cmd":["a"],"limits":{"nofile":"many"}}"#, "limits: nofile=many"),
            (r#"{"cmd":["a"],"limits":{"files":1}}"#, "\"files\" is not one of"),
            (r#"{"cmd":["a"],"stop_signal":"STOP"}"#, "\"STOP\" is not one of TERM"),
            ("[", "EOF"),
        ] {
            let why = ExecArgs::parse(json.as_bytes()).unwrap_err();
            assert!(why.contains(expected), "{json}: {why}");
        }
    }
}
