//! `ordu apply`: children as a file declares them.
//!
//! The whole file is read and checked, and the whole difference to what is desired shown, before anything is changed. A
//! child that differs is stopped and then started as the file says: there is no moment at which two run. What an apply
//! started it marks with a label, the file's name, and only such children are ever stopped because they are not in the file.

mod file;
mod plan;

use std::path::PathBuf;

use clap::Args;
use ureq::http::Method;

use self::file::Declaration;
use self::plan::{Plan, Step};
use super::client::{Client, Connect, parse};
use super::table::{print, print_line};
use crate::failure::{Failure, REFUSED};
use crate::rows::{Child, StartRequest};

/// The label that says which file a child was started by.
pub(crate) const FILE_LABEL: &str = "ordu.apply";

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// A TOML file: [children.ID] with cmd, and env, cwd, user, limits, restart, node, labels, require, avoid, prefer,
    /// placement, apart, spread, stop_signal, stop_timeout, max_restarts, within, escalate
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Stop children that an earlier apply of the file started and that it declares no more
    #[arg(long)]
    prune: bool,
    /// Show the difference and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connect: Connect,
}

impl Apply {
    pub(crate) fn run(self) -> Result<(), Failure> {
        self.apply().map_err(|failure| failure.context(format!("apply {}", self.file.display())))
    }

    fn apply(&self) -> Result<(), Failure> {
        let declaration = Declaration::read(&self.file)?;
        let client = Client::new(&self.connect)?;
        let plan = self.plan(&client, &declaration)?;
        if !self.connect.json {
            print(&plan.for_people(self.dry_run))?;
        }
        if !self.dry_run {
            self.carry_out(&client, &plan)?;
        }
        if self.connect.json { print_line(&plan.json(&declaration.name, self.dry_run).to_string()) } else { Ok(()) }
    }

    /// What differs between the file and what is desired.
    fn plan(&self, client: &Client, declaration: &Declaration) -> Result<Plan, Failure> {
        let mut rows = parse::<Vec<Child>>(&client.get("/v1/children")?)?;
        // One that has ended is not desired any more.
        rows.retain(|row| row.status != "done");
        let mut plan = Plan::default();
        for request in &declaration.children {
            let is_there = rows.binary_search_by(|row| row.id.as_str().cmp(&request.id)).is_ok();
            let present = if is_there { present(client, &request.id)? } else { None };
            plan.add(&declaration.name, request, present.as_ref())?;
        }
        if self.prune {
            plan.prune(declaration, &rows);
        }
        Ok(plan)
    }

    fn carry_out(&self, client: &Client, plan: &Plan) -> Result<(), Failure> {
        for (done, step) in plan.steps.iter().enumerate() {
            let carried_out = match step {
                Step::Start(request) => start(client, request),
                Step::Replace(request, _) => stop(client, &request.id).and_then(|()| {
                    start(client, request).map_err(|failure| failure.context("it was stopped for its new start"))
                }),
                Step::Stop(id) => stop(client, id).map(|()| format!("stopped {id}")),
            };
            let said = carried_out.map_err(|failure| {
                failure.context(format!("{done} of {} done, then {}", plan.steps.len(), step.what()))
            })?;
            if !self.connect.json {
                print_line(&said)?;
            }
        }
        Ok(())
    }
}

/// The spec of a child, unless it has gone since.
fn present(client: &Client, id: &str) -> Result<Option<StartRequest>, Failure> {
    match client.get(&format!("/v1/children/{id}/spec")) {
        Ok(answer) => parse(&answer).map(Some),
        Err(failure) if failure.code == REFUSED => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn start(client: &Client, request: &StartRequest) -> Result<String, Failure> {
    let body = serde_json::to_string(request).map_err(|error| Failure::usage(error.to_string()))?;
    let child: Child = parse(&client.change(Method::POST, "/v1/children", Some(body))?)?;
    Ok(format!("started {}{}", child.id, child.node.map(|node| format!(" on {node}")).unwrap_or_default()))
}

/// Ends a child; one that has gone since needs no ending.
fn stop(client: &Client, id: &str) -> Result<(), Failure> {
    match client.change(Method::DELETE, &format!("/v1/children/{id}"), None) {
        Err(failure) if failure.code == REFUSED && present(client, id)?.is_none() => Ok(()),
        stopped => stopped.map(drop),
    }
}
