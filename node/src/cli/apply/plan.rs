//! What there is to do, from what is declared and what is desired.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::FILE_LABEL;
use super::file::Declaration;
use crate::exec::KIND;
use crate::failure::{Failure, one_line};
use crate::rows::{Child, StartRequest};

/// Longest value that is shown to people, in characters.
const SHOWN_CHARS_MAX: usize = 100;

/// One child that is to change.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Start(StartRequest),
    Replace(StartRequest, Vec<Difference>),
    Stop(String),
}

/// A field of a spec, as it is and as it shall be; absent is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) field: String,
    pub(super) old: Option<String>,
    pub(super) new: Option<String>,
}

impl Step {
    /// What it does, to whom.
    pub(super) fn what(&self) -> String {
        match self {
            Step::Start(request) => format!("start {}", request.id),
            Step::Replace(request, _) => format!("replace {}", request.id),
            Step::Stop(id) => format!("stop {id}"),
        }
    }
}

/// The steps, in the order in which they are taken: what is to run first, by id.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    unchanged: Vec<String>,
}

impl Plan {
    /// Adds what a declared child needs, given its present spec if it is desired.
    ///
    /// # Errors
    /// Exit 1, if another file started it.
    pub(super) fn add(
        &mut self,
        name: &str,
        wanted: &StartRequest,
        present: Option<&StartRequest>,
    ) -> Result<(), Failure> {
        let Some(present) = present else {
            self.steps.push(Step::Start(wanted.clone()));
            return Ok(());
        };
        let marked = present.labels.as_ref().and_then(|labels| labels.get(FILE_LABEL));
        if let Some(other) = marked.filter(|other| *other != name) {
            return Err(Failure::refused(format!(
                "{} was started by the file {other}: give one of the two another id, or stop it first",
                wanted.id
            )));
        }
        let differences = differences(present, wanted);
        if differences.is_empty() {
            self.unchanged.push(wanted.id.clone());
        } else {
            self.steps.push(Step::Replace(wanted.clone(), differences));
        }
        Ok(())
    }

    /// Adds the end of each child that the file started and declares no more.
    pub(super) fn prune(&mut self, declaration: &Declaration, rows: &[Child]) {
        let is_left = |row: &&Child| {
            row.labels.get(FILE_LABEL) == Some(&declaration.name)
                && !declaration.children.iter().any(|declared| declared.id == row.id)
        };
        self.steps.extend(rows.iter().filter(is_left).map(|row| Step::Stop(row.id.clone())));
    }

    /// A line a change, and one that counts them.
    pub(super) fn for_people(&self, dry_run: bool) -> String {
        let mut text = String::new();
        let (mut starts, mut replaces, mut stops) = (0, 0, 0);
        for step in &self.steps {
            // Writing to a string does not fail.
            let _ = match step {
                Step::Start(request) => {
                    starts += 1;
                    writeln!(text, "+ {}", request.id)
                }
                Step::Replace(request, differences) => {
                    replaces += 1;
                    let differences: Vec<String> = differences.iter().map(Difference::for_people).collect();
                    writeln!(text, "~ {} ({})", request.id, differences.join(", "))
                }
                Step::Stop(id) => {
                    stops += 1;
                    writeln!(text, "- {id}")
                }
            };
        }
        let unchanged = self.unchanged.len();
        let end = if dry_run { "; nothing is changed" } else { "" };
        let _ =
            writeln!(text, "{starts} to start, {replaces} to replace, {stops} to stop, {unchanged} as declared{end}");
        text
    }

    /// The same as data.
    pub(super) fn json(&self, name: &str, dry_run: bool) -> Value {
        let (mut start, mut replace, mut stop) = (Vec::new(), Vec::new(), Vec::new());
        for step in &self.steps {
            match step {
                Step::Start(request) => start.push(json!(request.id)),
                Step::Replace(request, differences) => {
                    let differences: Vec<Value> = differences
                        .iter()
                        .map(|Difference { field, old, new }| json!({"field": field, "old": old, "new": new}))
                        .collect();
                    replace.push(json!({"id": request.id, "differences": differences}));
                }
                Step::Stop(id) => stop.push(json!(id)),
            }
        }
        json!({"name": name, "dry_run": dry_run, "start": start, "replace": replace, "stop": stop, "unchanged": self.unchanged})
    }
}

impl Difference {
    fn for_people(&self) -> String {
        let shown = |value: &Option<String>| match value {
            Some(value) => shorten(&one_line(value)),
            None => "none".to_owned(),
        };
        format!("{}: {} -> {}", self.field, shown(&self.old), shown(&self.new))
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The fields in which two specs differ.
fn differences(old: &StartRequest, new: &StartRequest) -> Vec<Difference> {
    let (mut old, new) = (fields(old), fields(new));
    let mut found = Vec::new();
    for (field, new) in new {
        let old = old.remove(&field);
        if old.as_ref() != Some(&new) {
            found.push(Difference { field, old, new: Some(new) });
        }
    }
    found.extend(old.into_iter().map(|(field, old)| Difference { field, old: Some(old), new: None }));
    found.sort_by(|a, b| a.field.cmp(&b.field));
    found
}

/// A spec field by field, each as text.
fn fields(spec: &StartRequest) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::from([("kind".to_owned(), spec.kind.clone())]);
    let mut put = |field: &str, value: Option<String>| fields.extend(value.map(|value| (field.to_owned(), value)));
    put("restart", spec.restart.clone());
    put("node", spec.node.clone());
    put("placement", spec.placement.clone());
    put("apart", spec.apart.clone());
    put("spread", spec.spread.clone());
    put("max_restarts", spec.max_restarts.map(|restarts| restarts.to_string()));
    put("within", spec.within.clone());
    put("escalate", spec.escalate.then(|| "true".to_owned()));
    put("start_first", spec.start_first.then(|| "true".to_owned()));
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let asked = [("require", &spec.require), ("avoid", &spec.avoid), ("prefer", &spec.prefer)];
    for (field, labels) in [("labels", &spec.labels)].into_iter().chain(asked) {
        for (key, value) in labels.iter().flatten() {
            put(&format!("{field}.{key}"), Some(value.clone()));
        }
    }
    match spec.args.as_object().filter(|_| spec.kind == KIND) {
        None => put("args", Some(spec.args.to_string())),
        Some(args) => {
            for (field, value) in args {
                match value.as_object() {
                    Some(pairs) => {
                        pairs.iter().for_each(|(key, value)| put(&format!("{field}.{key}"), Some(text(value))))
                    }
                    None => put(field, Some(text(value))),
                }
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::REFUSED;

    fn spec(json: &str) -> StartRequest {
        serde_json::from_str(json).unwrap()
    }

    fn plan(present: &str) -> Result<Plan, Failure> {
        let wanted = spec(
            r#"{"id":"web","args":{"cmd":["a","b"],"env":{"K":"new","L":"1"},"stop_timeout":"10s"},"restart":"permanent","labels":{"ordu.apply":"shop"}}"#,
        );
        let mut plan = Plan::default();
        let present = (!present.is_empty()).then(|| spec(present));
        plan.add("shop", &wanted, present.as_ref()).map(|()| plan)
    }

    #[test]
    fn what_differs_is_shown_field_by_field() {
        assert_eq!(plan("").unwrap().for_people(false), "+ web\n1 to start, 0 to replace, 0 to stop, 0 as declared\n");
        let present = r#"{"id":"web","args":{"cmd":["a"],"env":{"K":"old\nx"},"cwd":"/x","stop_timeout":"10s"},"restart":"transient","node":"n2","labels":{"team":"a"}}"#;
        let shown = plan(present).unwrap().for_people(true);
        let expected = "~ web (cmd: [\"a\"] -> [\"a\",\"b\"], cwd: /x -> none, env.K: old x -> new, env.L: none -> 1, \
                        labels.ordu.apply: none -> shop, labels.team: a -> none, node: n2 -> none, \
                        restart: transient -> permanent)\n\
                        0 to start, 1 to replace, 0 to stop, 0 as declared; nothing is changed\n";
        assert_eq!(shown, expected);
        let same = r#"{"id":"web","args":{"stop_timeout":"10s","env":{"L":"1","K":"new"},"cmd":["a","b"]},"restart":"permanent","labels":{"ordu.apply":"shop"}}"#;
        let unchanged = plan(same).unwrap();
        assert!(unchanged.steps.is_empty());
        let told = unchanged.json("shop", false).to_string();
        let expected = r#"{"dry_run":false,"name":"shop","replace":[],"start":[],"stop":[],"unchanged":["web"]}"#;
        assert_eq!(told, expected);
        let limited = r#"{"id":"web","args":{"cmd":["a","b"],"env":{"K":"new","L":"1"},"user":"www","limits":{"nofile":64},"stop_signal":"INT","stop_timeout":"10s"},"restart":"permanent","labels":{"ordu.apply":"shop"}}"#;
        let shown = plan(limited).unwrap().for_people(false);
        let expected = "~ web (limits.nofile: 64 -> none, stop_signal: INT -> none, user: www -> none)\n";
        assert!(shown.starts_with(expected), "{shown}");
        let other = plan(r#"{"id":"web","kind":"counter","args":[1],"restart":"permanent"}"#).unwrap();
        assert!(other.for_people(false).starts_with("~ web (args: [1] -> none, cmd: none -> "));
    }

    #[test]
    fn what_another_file_started_is_left_to_it() {
        let other = r#"{"id":"web","args":{"cmd":["a"]},"labels":{"ordu.apply":"bank"}}"#;
        let failure = plan(other).unwrap_err();
        assert_eq!(failure.code, REFUSED);
        assert!(failure.message.contains("web was started by the file bank"), "{failure}");
    }

    #[test]
    fn long_values_are_shortened() {
        assert_eq!(shorten(&"\u{e9}".repeat(101)), format!("{}...", "\u{e9}".repeat(100)));
        assert_eq!(shorten(&"x".repeat(100)), "x".repeat(100));
    }
}
