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
use super::client::{Client, Connect, parse, refusal};
use super::table::{print, print_line};
use crate::failure::{Failure, REFUSED, TIMED_OUT, one_line};
use crate::http::BODY_BYTES_MAX;
use crate::rows::{Child, StartRequest, StartResult};

/// The label that says which file a child was started by.
pub(crate) const FILE_LABEL: &str = "ordu.apply";
/// Most children that one request starts: all of them are to run before its deadline.
const STARTS_AT_ONCE: usize = 500;

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// A TOML file: [children.ID] with cmd, and env, cwd, user, limits, restart, node, labels, require, avoid, prefer,
    /// placement, apart, spread, stop_signal, stop_timeout ("5s"), max_restarts, within ("60s"), escalate, start_first; at its
    /// top name = "...", by which its children are known. cmd is looked for on the node, from cwd; a relative cwd begins at
    /// the file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Stop children that were started by a file of this name and that it declares no more: its name = "..." or else the
    /// file's own, without directory and ending
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
        let all = plan.steps.len();
        let mut done = self.start_all(client, plan)?;
        for step in &plan.steps {
            let carried_out = match step {
                Step::Start(_) => continue,
                Step::Replace(request, _) => stop(client, &request.id).and_then(|()| {
                    start(client, request).map_err(|failure| failure.context("it was stopped for its new start"))
                }),
                Step::Stop(id) => stop(client, id).map(|()| format!("stopped {id}")),
            };
            let said = carried_out
                .map_err(|failure| failure.context(format!("{done} of {all} done, then {}", step.what())))?;
            self.say(&said)?;
            done += 1;
        }
        Ok(())
    }

    /// Starts what there is to start, many with one request, and says what became of each; returns how many.
    ///
    /// # Errors
    /// That of the first that was not started. It keeps none of the others from being tried, unless it timed out.
    fn start_all(&self, client: &Client, plan: &Plan) -> Result<usize, Failure> {
        let (all, mut done) = (plan.steps.len(), 0);
        let mut failed: Vec<(String, Failure)> = Vec::new();
        for (first, body) in bodies(&plan.steps)? {
            let asked = client.change(Method::POST, "/v1/children", Some(body));
            let results: Vec<StartResult> = asked
                .and_then(|answer| parse(&answer))
                .map_err(|failure| failure.context(format!("{done} of {all} done, then start {first}")))?;
            for StartResult { id, child, status, code, error } in results {
                if let Some(child) = child {
                    self.say(&started(&child))?;
                    done += 1;
                    continue;
                }
                let why = error.unwrap_or_default();
                self.say(&format!("not started: {id}: {}", one_line(&why)))?;
                let failure = refusal(status.unwrap_or_default(), &code.unwrap_or_default(), why);
                failed.push((id, failure));
            }
            if failed.iter().any(|(_, failure)| failure.code == TIMED_OUT) {
                break;
            }
        }
        let others = failed.len().saturating_sub(1);
        let Some((first, failure)) = failed.into_iter().next() else { return Ok(done) };
        let failure = failure.context(format!("{done} of {all} done, then start {first}"));
        let mut message = failure.message;
        if others > 0 {
            message.push_str(&format!("; {others} more were not started"));
        }
        let kept = plan.steps.iter().filter(|step| !matches!(step, Step::Start(_))).count();
        if kept > 0 {
            message.push_str(&format!("; {kept} to replace or stop are left as they are until all start"));
        }
        Err(Failure { message, ..failure })
    }

    fn say(&self, what: &str) -> Result<(), Failure> {
        if self.connect.json { Ok(()) } else { print_line(what) }
    }
}

/// The starts among the steps as bodies of requests, none longer than a node takes, each with the first child in it.
fn bodies(steps: &[Step]) -> Result<Vec<(&str, String)>, Failure> {
    let mut bodies: Vec<(&str, String, usize)> = Vec::new();
    for step in steps {
        let Step::Start(request) = step else { continue };
        let one = serde_json::to_string(request).map_err(|error| Failure::usage(error.to_string()))?;
        match bodies.last_mut() {
            // With a comma, and the bracket at the end.
            Some((_, body, count)) if *count < STARTS_AT_ONCE && body.len() + one.len() + 2 <= BODY_BYTES_MAX => {
                body.push(',');
                body.push_str(&one);
                *count += 1;
            }
            _ => bodies.push((&request.id, format!("[{one}"), 1)),
        }
    }
    Ok(bodies.into_iter().map(|(first, body, _)| (first, body + "]")).collect())
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
    Ok(started(&child))
}

fn started(child: &Child) -> String {
    let node = child.node.as_ref().map(|node| format!(" on {node}"));
    format!("started {}{}", child.id, node.unwrap_or_default())
}

/// Ends a child; one that has gone since needs no ending.
fn stop(client: &Client, id: &str) -> Result<(), Failure> {
    match client.change(Method::DELETE, &format!("/v1/children/{id}"), None) {
        Err(failure) if failure.code == REFUSED && present(client, id)?.is_none() => Ok(()),
        stopped => stopped.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_go_in_bodies_that_a_node_takes() {
        let request = |id: usize, bytes: usize| -> StartRequest {
            let json = serde_json::json!({"id": format!("c{id}"), "args": {"cmd": ["x".repeat(bytes)]}});
            serde_json::from_value(json).unwrap()
        };
        let in_each = |steps: &[Step]| -> Vec<(String, usize)> {
            let bodies = bodies(steps).unwrap();
            assert!(bodies.iter().all(|(_, body)| body.len() <= BODY_BYTES_MAX));
            let read = |body: &str| serde_json::from_str::<Vec<StartRequest>>(body).unwrap();
            bodies
                .iter()
                .map(|(first, body)| {
                    assert_eq!(read(body)[0].id, *first);
                    ((*first).to_owned(), read(body).len())
                })
                .collect()
        };
        assert_eq!(in_each(&[Step::Stop("a".into())]), []);
        let many: Vec<Step> = (0..1_200).map(|id| Step::Start(request(id, 1))).collect();
        let named =
            |parts: &[(&str, usize)]| parts.iter().map(|(id, many)| ((*id).to_owned(), *many)).collect::<Vec<_>>();
        assert_eq!(in_each(&many), named(&[("c0", 500), ("c500", 500), ("c1000", 200)]));
        let large: Vec<Step> = (0..5).map(|id| Step::Start(request(id, 400_000))).collect();
        assert_eq!(in_each(&large), named(&[("c0", 2), ("c2", 2), ("c4", 1)]));
        // To the last byte.
        let bytes = |id: usize| serde_json::to_string(&request(id, 0)).unwrap().len();
        let half = (BODY_BYTES_MAX - 3) / 2;
        let fits = [half - bytes(0), BODY_BYTES_MAX - 3 - half - bytes(1)];
        let exact: Vec<Step> = fits.iter().enumerate().map(|(id, bytes)| Step::Start(request(id, *bytes))).collect();
        assert_eq!(in_each(&exact), named(&[("c0", 2)]));
        let over = [Step::Start(request(0, fits[0])), Step::Start(request(1, fits[1] + 1))];
        assert_eq!(in_each(&over), named(&[("c0", 1), ("c1", 1)]));
    }
}
