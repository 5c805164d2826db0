//! `ordu start | stop | restart | show | explain | ps`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ordu_transport::core::id::validate_name;
use ureq::http::Method;

use super::client::{Client, Connect, parse};
use super::explain;
use super::table::{Table, age, or_dash, print, print_line};
use crate::exec::{ExecArgs, KIND, Limits, RunAs, STOP_TIMEOUT_DEFAULT, StopSignal};
use crate::failure::{Failure, one_line};
use crate::placed;
use crate::rows::{Child, StartRequest};
use crate::text::{format_duration, parse_duration, parse_pair};

/// A child's or node's name.
pub(crate) fn parse_id(text: &str) -> Result<String, String> {
    validate_name(text, false).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Restart {
    Permanent,
    Transient,
    Temporary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Placement {
    Uniform,
    LeastLoaded,
}

fn parse_apart(text: &str) -> Result<String, String> {
    placed::parse(text, true).map(|apart| placed::text(&apart))
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// The child's name, unique in the cluster
    #[arg(value_parser = parse_id)]
    id: String,
    /// Succeed if it is there already
    #[arg(long)]
    ensure: bool,
    /// When it is started again after it ended
    #[arg(long, value_enum, default_value = "permanent")]
    restart: Restart,
    /// Set an environment variable
    #[arg(long, value_name = "K=V", value_parser = parse_pair)]
    env: Vec<(String, String)>,
    /// A pair that is shown in its row
    #[arg(long, value_name = "K=V", value_parser = parse_pair)]
    label: Vec<(String, String)>,
    /// Run it only on nodes that have this label (`ordu up --label`)
    #[arg(long, value_name = "K=V", value_parser = parse_pair)]
    require: Vec<(String, String)>,
    /// Run it on no node that has this label
    #[arg(long, value_name = "K=V", value_parser = parse_pair)]
    avoid: Vec<(String, String)>,
    /// Of the nodes that may run it, choose one that has most of these labels
    #[arg(long, value_name = "K=V", value_parser = parse_pair)]
    prefer: Vec<(String, String)>,
    /// Choose its node by a hash of its name, or the one that has fewest children for its weight [default: uniform]
    #[arg(long, value_enum, value_name = "P")]
    placement: Option<Placement>,
    /// Never run it on a node that has a child with this label (`--label`); with @LABEL, on none with the same value of that
    /// label as such a node. While there is none it waits
    #[arg(long, value_name = "K=V[@LABEL]", value_parser = parse_apart, conflicts_with = "spread")]
    apart: Option<String>,
    /// Run it where fewest children with this label are; with @LABEL, counted over nodes with the same value of that label
    #[arg(long, value_name = "K=V[@LABEL]", value_parser = parse_apart)]
    spread: Option<String>,
    /// Run it on this node only
    #[arg(long, value_name = "N", value_parser = parse_id)]
    node: Option<String>,
    /// Working directory, on whichever node runs it; a relative one is taken from here
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Run it as this user, and this group if it is not the user's own; only where its node runs as root
    #[arg(long, value_name = "USER[:GROUP]")]
    user: Option<RunAs>,
    /// Limit each of its processes (nofile, nproc, memory, cpu, core, fsize, data, stack, memlock, sigpending) or, where its
    /// node may make cgroups, all of them together (memory.max, cpu.max, pids.max): nofile=1024, memory=64M, cpu.max=0.5
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    limit: Vec<(String, String)>,
    /// Ask it to stop by this signal: TERM, INT, QUIT, HUP, USR1, USR2, WINCH, ABRT or KILL
    #[arg(long, value_name = "SIGNAL", default_value = "TERM")]
    stop_signal: StopSignal,
    /// From the stop signal to SIGKILL when it is stopped [default: 10s]
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    stop_timeout: Option<Duration>,
    /// Put it into quarantine when it ends after so many restarts within --within; `ordu restart` ends that
    #[arg(long, value_name = "N")]
    max_restarts: Option<u32>,
    /// The window of --max-restarts [default: 60s]
    #[arg(long, value_name = "D", value_parser = parse_duration, requires = "max_restarts")]
    within: Option<Duration>,
    /// When it is put into quarantine, have its node give its children away and end with exit code 1
    #[arg(long, requires = "max_restarts")]
    escalate: bool,
    /// When it is moved, start it at its new node before it stops at the old one: for a while there are two
    #[arg(long)]
    start_first: bool,
    #[command(flatten)]
    connect: Connect,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    cmd: Vec<String>,
}

impl Start {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let (id, ensure, connect) = (self.id.clone(), self.ensure, self.connect.clone());
        let request = self.request().map_err(|failure| failure.context(format!("start {id}")))?;
        let start = || -> Result<String, Failure> {
            let body = serde_json::to_string(&request).map_err(|error| Failure::usage(error.to_string()))?;
            let path = if ensure { "/v1/children?ensure=true" } else { "/v1/children" };
            Client::new(&connect)?.change(Method::POST, path, Some(body))
        };
        show_child(&connect, start().map_err(|failure| failure.context(format!("start {id}")))?)
    }

    fn request(self) -> Result<StartRequest, Failure> {
        let cwd = self.cwd.map(std::path::absolute).transpose();
        let cwd = cwd.map_err(|error| Failure::usage(format!("--cwd: {error}")))?;
        let env: BTreeMap<_, _> = self.env.into_iter().collect();
        let stop_timeout = self.stop_timeout.unwrap_or(STOP_TIMEOUT_DEFAULT);
        let limits = Limits::from_pairs(self.limit);
        let args =
            ExecArgs { cmd: self.cmd, env, cwd, user: self.user, limits, stop_signal: self.stop_signal, stop_timeout };
        args.check().map_err(Failure::usage)?;
        let args = serde_json::to_value(args).map_err(|error| Failure::usage(error.to_string()))?;
        let restart = match self.restart {
            Restart::Permanent => "permanent",
            Restart::Transient => "transient",
            Restart::Temporary => "temporary",
        };
        Ok(StartRequest {
            id: self.id,
            kind: KIND.into(),
            args,
            restart: Some(restart.into()),
            node: self.node,
            labels: some(self.label),
            require: some(self.require),
            avoid: some(self.avoid),
            prefer: some(self.prefer),
            placement: self
                .placement
                .filter(|placement| *placement == Placement::LeastLoaded)
                .map(|_| "least-loaded".into()),
            apart: self.apart,
            spread: self.spread,
            max_restarts: self.max_restarts,
            within: self.within.map(format_duration),
            escalate: self.escalate,
            start_first: self.start_first,
        })
    }
}

fn some(pairs: Vec<(String, String)>) -> Option<BTreeMap<String, String>> {
    (!pairs.is_empty()).then(|| pairs.into_iter().collect())
}

/// A command about one child.
#[derive(Debug, Args)]
pub(crate) struct OneChild {
    /// The child's name
    #[arg(value_parser = parse_id)]
    id: String,
    #[command(flatten)]
    connect: Connect,
}

impl OneChild {
    /// Returns when it has ended.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        let Self { id, connect } = self;
        let stop = || Client::new(&connect)?.change(Method::DELETE, &format!("/v1/children/{id}"), None);
        stop().map_err(|failure| failure.context(format!("stop {id}")))?;
        if connect.json {
            print_line(&serde_json::json!({"id": id}).to_string())
        } else {
            print_line(&format!("stopped {id}"))
        }
    }

    /// Returns when it runs again.
    pub(crate) fn restart(self) -> Result<(), Failure> {
        let Self { id, connect } = self;
        let restart = || Client::new(&connect)?.change(Method::POST, &format!("/v1/children/{id}/restart"), None);
        show_child(&connect, restart().map_err(|failure| failure.context(format!("restart {id}")))?)
    }

    pub(crate) fn show(self) -> Result<(), Failure> {
        let Self { id, connect } = self;
        let show = || Client::new(&connect)?.get(&format!("/v1/children/{id}"));
        let answer = show().map_err(|failure| failure.context(format!("show {id}")))?;
        if connect.json { print_line(&answer) } else { print(&in_full(&parse::<Child>(&answer)?)) }
    }

    pub(crate) fn explain(self) -> Result<(), Failure> {
        let Self { id, connect } = self;
        let explain = || Client::new(&connect)?.get(&format!("/v1/children/{id}/explain"));
        let answer = explain().map_err(|failure| failure.context(format!("explain {id}")))?;
        if connect.json { print_line(&answer) } else { explain::print(parse(&answer)?) }
    }
}

/// Everything that there is to say of one child, a line each.
fn in_full(child: &Child) -> String {
    let lines = [
        ("id", child.id.clone()),
        ("kind", child.kind.clone()),
        ("status", format!("{} for {}", child.status, age(&child.since))),
        ("node", or_dash(child.node.as_ref())),
        ("pid", or_dash(child.pid.as_ref())),
        ("os pid", or_dash(child.os_pid)),
        ("fence", or_dash(child.fence.as_ref())),
        ("restarts", child.restarts.to_string()),
        ("reason", or_dash(child.reason.as_ref())),
        ("labels", or_dash((!child.labels.is_empty()).then(|| pairs(&child.labels)))),
        ("log", or_dash(child.log.as_ref())),
    ];
    lines.iter().map(|(what, text)| format!("{what:<9} {}\n", one_line(text))).collect()
}

pub(super) fn pairs(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// `ordu ps`.
pub(crate) fn ps(connect: &Connect) -> Result<(), Failure> {
    let answer = Client::new(connect)?.get("/v1/children")?;
    if connect.json {
        return print_line(&answer);
    }
    children_table(&parse::<Vec<Child>>(&answer)?).print()
}

fn show_child(connect: &Connect, answer: String) -> Result<(), Failure> {
    if connect.json {
        return print_line(&answer);
    }
    children_table(&[parse::<Child>(&answer)?]).print()
}

fn children_table(children: &[Child]) -> Table {
    let mut table = Table::new(&["ID", "STATUS", "NODE", "PID", "OS PID", "RESTARTS", "AGE", "REASON"]);
    for child in children {
        table.row(vec![
            child.id.clone(),
            child.status.clone(),
            or_dash(child.node.as_ref()),
            or_dash(child.pid.as_ref()),
            or_dash(child.os_pid),
            child.restarts.to_string(),
            age(&child.since),
            or_dash(child.reason.as_ref()),
        ]);
    }
    table
}
