//! `ordu members | status | names | lookup | events | drain | undrain | cordon | uncordon | remove | rebalance`.

use clap::Args;
use ordu_supervisor::core::moves::REBALANCE_MAX;
use ordu_transport::core::id::validate_name;
use ureq::http::Method;

use super::children::parse_id;
use super::client::{Client, Connect, parse};
use super::table::{Table, age, or_dash, print, print_line};
use crate::failure::Failure;
use crate::rows::{Event, Member, Move, Moves, Name, Progress, Quorum, Status};

/// `ordu members`.
pub(crate) fn members(connect: &Connect) -> Result<(), Failure> {
    let answer = Client::new(connect)?.get("/v1/members")?;
    if connect.json {
        return print_line(&answer);
    }
    let mut table = Table::new(&["NAME", "STATUS", "BOOT", "ADDRESS", "CHILDREN", "KINDS", "VERSION", "RTT"]);
    for member in parse::<Vec<Member>>(&answer)? {
        table.row(vec![
            member.name.clone(),
            member.state(),
            member.boot.to_string(),
            member.addr,
            match member.max_children {
                Some(max) => format!("{} of {max}", member.children),
                None => member.children.to_string(),
            },
            or_dash(Some(member.kinds.join(",")).filter(|kinds| !kinds.is_empty())),
            member.version,
            or_dash(member.rtt_ms.map(|ms| format!("{ms:.1}ms"))),
        ]);
    }
    table.print()
}

/// `ordu status`.
pub(crate) fn status(connect: &Connect) -> Result<(), Failure> {
    let answer = Client::new(connect)?.get("/v1/status")?;
    if connect.json {
        return print_line(&answer);
    }
    let status = parse::<Status>(&answer)?;
    print(&format!(
        "cluster {} seen from {} (boot {}), {}\n\
         members   {} up of {}\n\
         children  {} running of {}\n\
         names     {}, {} conflicts lost\n\
         state     {}, {}{}\n{}",
        status.cluster,
        status.name,
        status.boot,
        if status.healthy { "healthy" } else { "not healthy" },
        status.members_up,
        status.members,
        status.running,
        status.children,
        status.names,
        status.conflicts_total,
        status.clock_hash,
        if status.converged { "converged" } else { "not converged yet" },
        status.progress.as_ref().map(describe_progress).unwrap_or_default(),
        status.quorum.as_ref().map(describe_quorum).unwrap_or_default(),
    ))
}

fn describe_quorum(quorum: &Quorum) -> String {
    let Quorum { needed, vouching, held, waits_ms, .. } = quorum;
    let verdict = match (held, waits_ms) {
        (true, _) => "this node runs children".to_owned(),
        (false, 0) => "this node runs no children".to_owned(),
        (false, ms) => {
            format!("this node has just begun, and runs children in {} s if {needed} answer then", ms.div_ceil(1_000))
        }
    };
    format!("quorum    {vouching} answer, {needed} needed: {verdict}\n")
}

fn describe_progress(progress: &Progress) -> String {
    let Progress { taken, expected } = progress;
    format!(": {taken} of {expected} entries taken ({} %)", taken.saturating_mul(100) / (*expected).max(1))
}

fn parse_name(text: &str) -> Result<String, String> {
    validate_name(text, true).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

fn parse_prefix(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { parse_name(text) }
}

#[derive(Debug, Args)]
pub(crate) struct Names {
    /// Only names that begin with this
    #[arg(long, value_name = "P", default_value = "", hide_default_value = true, value_parser = parse_prefix)]
    prefix: String,
    #[command(flatten)]
    connect: Connect,
}

impl Names {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let answer = Client::new(&self.connect)?.get(&format!("/v1/names?prefix={}", self.prefix))?;
        if self.connect.json {
            return print_line(&answer);
        }
        names_table(parse::<Vec<Name>>(&answer)?).print()
    }
}

#[derive(Debug, Args)]
pub(crate) struct Lookup {
    /// The name
    #[arg(value_parser = parse_name)]
    name: String,
    #[command(flatten)]
    connect: Connect,
}

impl Lookup {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let lookup = || Client::new(&self.connect)?.get(&format!("/v1/names/{}", self.name));
        let answer = lookup().map_err(|failure| failure.context(format!("lookup {}", self.name)))?;
        if self.connect.json {
            return print_line(&answer);
        }
        names_table(vec![parse::<Name>(&answer)?]).print()
    }
}

fn names_table(names: Vec<Name>) -> Table {
    let mut table = Table::new(&["NAME", "NODE", "PID", "AGE", "FENCE", "VALUE"]);
    for name in names {
        let value = match name.value {
            serde_json::Value::Null => "-".into(),
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        table.row(vec![name.name, name.node, name.pid, age(&name.since), name.fence, value]);
    }
    table
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Go on with what happens from now on
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    connect: Connect,
}

impl Events {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let path = format!("/v1/events?follow={}", self.follow);
        Client::new(&self.connect)?.stream(&path, self.follow, |data| {
            if self.connect.json { print_line(data) } else { print_line(&sentence(&parse::<Event>(data)?)) }
        })
    }
}

/// An event in one line.
pub(super) fn sentence(event: &Event) -> String {
    let about = [&event.member, &event.child, &event.name].into_iter().flatten();
    let mut line = format!("{}  {:<8}  {:<17}", event.at, event.node, event.kind);
    about.for_each(|about| line.push_str(&format!("  {about}")));
    let details = [
        ("", &event.reason),
        ("to ", &event.to),
        ("fence ", &event.fence),
        ("", &event.pid),
        ("winner ", &event.winner),
        ("loser ", &event.loser),
        ("by ", &event.policy),
        ("since ", &event.since),
    ];
    for (word, detail) in details {
        if let Some(detail) = detail {
            line.push_str(&format!("  {word}{detail}"));
        }
    }
    crate::failure::one_line(&line)
}

#[derive(Debug, Args)]
pub(crate) struct OneNode {
    /// The node; the one that is talked to if absent
    #[arg(value_parser = parse_id)]
    node: Option<String>,
    #[command(flatten)]
    connect: Connect,
}

impl OneNode {
    /// `ordu drain`, `undrain`, `cordon` or `uncordon`, by the verb.
    pub(crate) fn run(self, verb: &'static str, done: &'static str) -> Result<(), Failure> {
        let Self { node, connect } = self;
        let client = Client::new(&connect)?;
        let node = match node {
            Some(node) => node,
            None => parse::<Status>(&client.get("/v1/status")?)?.name,
        };
        let changed = client.change(Method::POST, &format!("/v1/nodes/{node}/{verb}"), None);
        changed.map_err(|failure| failure.context(format!("{verb} {node}")))?;
        if connect.json {
            print_line(&serde_json::json!({"node": node}).to_string())
        } else {
            print_line(&format!("{node} {done}"))
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The node
    #[arg(value_parser = parse_id)]
    node: String,
    #[command(flatten)]
    connect: Connect,
}

impl Remove {
    pub(crate) fn run(self) -> Result<(), Failure> {
        OneNode { node: Some(self.node), connect: self.connect }.run("remove", "is forgotten")
    }
}

#[derive(Debug, Args)]
pub(crate) struct Rebalance {
    /// Show what would move, and move nothing
    #[arg(long)]
    dry_run: bool,
    /// Move no more than so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=MOVES_MAX))]
    max_moves: Option<u32>,
    #[command(flatten)]
    connect: Connect,
}

/// Most moves that a node is asked for.
const MOVES_MAX: i64 = REBALANCE_MAX as i64;

impl Rebalance {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let Self { dry_run, max_moves, connect } = self;
        let most = max_moves.map(|most| format!("&max_moves={most}")).unwrap_or_default();
        let path = format!("/v1/rebalance?dry_run={dry_run}{most}");
        let answer = Client::new(&connect)?.change(Method::POST, &path, None);
        let answer = answer.map_err(|failure| failure.context("rebalance"))?;
        if connect.json {
            return print_line(&answer);
        }
        let Moves { moves } = parse(&answer)?;
        let mut text: String =
            moves.iter().map(|Move { child, from, to }| format!("{child}: {from} -> {to}\n")).collect();
        text += &match (moves.len(), dry_run) {
            (0, _) => "every child runs where it belongs\n".to_owned(),
            (count, true) => format!("{count} would move\n"),
            (count, false) => format!("{count} move, a few at a time; `ordu ps` shows them\n"),
        };
        print(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let event = Event {
            at: "2026-01-01T00:00:00.000Z".into(),
            node: "n1".into(),
            kind: "child_exited".into(),
            child: Some("web".into()),
            reason: Some("exit\nstatus 3".into()),
            ..Event::default()
        };
        assert_eq!(sentence(&event), "2026-01-01T00:00:00.000Z  n1        child_exited       web  exit status 3");
    }
}
