//! The file that declares children: read whole, checked whole, each mistake told with its line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::FILE_LABEL;
use crate::adapter;
use crate::cli::parse_id;
use crate::exec::{ExecArgs, KIND, Limits, RunAs, STOP_TIMEOUT_DEFAULT, StopSignal};
use crate::failure::Failure;
use crate::rows::StartRequest;
use crate::text::{line_and_column, parse_duration};
use crate::wish;

/// Longest file, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a file declares.
#[derive(Debug)]
pub(super) struct Declaration {
    /// Its name, by which a later apply knows its children again.
    pub(super) name: String,
    /// Its children as they are to be, with all defaults, by id.
    pub(super) children: Vec<StartRequest>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: Option<Spanned<String>>,
    children: BTreeMap<Spanned<String>, Spanned<Declared>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    cmd: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<PathBuf>,
    user: Option<RunAs>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    stop_signal: StopSignal,
    stop_timeout: Option<String>,
    restart: Option<String>,
    node: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    require: Option<BTreeMap<String, String>>,
    avoid: Option<BTreeMap<String, String>>,
    prefer: Option<BTreeMap<String, String>>,
    placement: Option<String>,
    apart: Option<String>,
    spread: Option<String>,
    max_restarts: Option<u32>,
    within: Option<String>,
    #[serde(default)]
    escalate: bool,
    #[serde(default)]
    start_first: bool,
}

impl Declaration {
    /// Reads a file.
    ///
    /// # Errors
    /// Exit 2: the first mistake, with its line and column.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| Failure::usage(format!("it cannot be read: {error}"));
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
        if read.map_err(cannot)? as u64 > FILE_BYTES_MAX {
            return Err(Failure::usage(format!("it is longer than {FILE_BYTES_MAX} bytes; split it")));
        }
        let absolute = std::path::absolute(path).map_err(cannot)?;
        let stem = absolute.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        Self::parse(&text, stem, absolute.parent().unwrap_or(Path::new("/")))
    }

    /// Reads text: `stem` is its name unless it says another, `directory` what its relative paths begin at.
    fn parse(text: &str, stem: &str, directory: &Path) -> Result<Self, Failure> {
        let at = |offset: usize, why: String| {
            let (line, column) = line_and_column(text, offset);
            Failure::usage(format!("line {line}, column {column}: {why}"))
        };
        let document: Document = toml::from_str(text)
            .map_err(|error| at(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
        let name = match &document.name {
            Some(name) => parse_id(name.get_ref()).map_err(|why| at(name.span().start, format!("name: {why}")))?,
            None => parse_id(stem).map_err(|why| {
                Failure::usage(format!("its name {stem:?} cannot mark children ({why}); begin it with name = \"...\""))
            })?,
        };
        let mut children = Vec::with_capacity(document.children.len());
        for (id, declared) in document.children {
            let offset = id.span().start;
            let id = id.into_inner();
            let request = request(&id, declared.into_inner(), &name, directory);
            children.push(request.map_err(|why| at(offset, format!("children.{id}: {why}")))?);
        }
        Ok(Self { name, children })
    }
}

/// The request that starts a declared child.
fn request(id: &str, declared: Declared, name: &str, directory: &Path) -> Result<StartRequest, String> {
    let Declared { cmd, env, cwd, user, limits, stop_signal, .. } = declared;
    let Declared { stop_timeout, restart, node, mut labels, max_restarts, within, .. } = declared;
    if labels.insert(FILE_LABEL.to_owned(), name.to_owned()).is_some() {
        return Err(format!("labels: {FILE_LABEL} is set by apply itself"));
    }
    let stop_timeout = stop_timeout.as_deref().map(parse_duration).transpose();
    let stop_timeout = stop_timeout.map_err(|why| format!("stop_timeout: {why}"))?.unwrap_or(STOP_TIMEOUT_DEFAULT);
    let args = ExecArgs { cmd, env, cwd: cwd.map(|cwd| directory.join(cwd)), user, limits, stop_signal, stop_timeout };
    args.check()?;
    let request = StartRequest {
        id: id.to_owned(),
        kind: KIND.to_owned(),
        args: serde_json::to_value(args).map_err(|error| error.to_string())?,
        restart,
        node,
        labels: Some(labels),
        require: declared.require,
        avoid: declared.avoid,
        prefer: declared.prefer,
        placement: declared.placement,
        apart: declared.apart,
        spread: declared.spread,
        max_restarts,
        within,
        escalate: declared.escalate,
        start_first: declared.start_first,
    };
    // There and back, so that it has every default, as a node tells it.
    adapter::spec(wish::check(request)?).map(|spec| wish::request(&spec))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::USAGE;

    fn parse(text: &str) -> Result<Declaration, Failure> {
        Declaration::parse(text, "shop", Path::new("/srv"))
    }

    #[test]
    fn children_have_their_defaults_and_their_label() {
        let text = r#"
            [children."a.b"]
            cmd = ["true"]
            [children.web]
            cmd = ["./server", "--port", "80"]
            env = { MODE = "x" }
            cwd = "web"
            user = "nobody:7"
            limits = { nofile = 1024, "memory.max" = "64M", "cpu.max" = 0.5 }
            stop_signal = "sigint"
            restart = "transient"
            node = "n2"
            labels = { team = "a" }
            stop_timeout = "30s"
            max_restarts = 5
        "#;
        let Declaration { name, children } = parse(text).unwrap();
        assert_eq!(name, "shop");
        let told = serde_json::to_string(&children).unwrap();
        let expected = concat!(
            r#"[{"id":"a.b","kind":"exec","args":{"cmd":["true"],"stop_timeout":"10s"},"restart":"permanent","#,
            r#""labels":{"ordu.apply":"shop"}},"#,
            r#"{"id":"web","kind":"exec","args":{"cmd":["./server","--port","80"],"cwd":"/srv/web","#,
            r#""env":{"MODE":"x"},"limits":{"cpu.max":0.5,"memory.max":"64M","nofile":1024},"#,
            r#""stop_signal":"INT","stop_timeout":"30s","user":"nobody:7"},"restart":"transient","node":"n2","#,
            r#""labels":{"ordu.apply":"shop","team":"a"},"max_restarts":5,"within":"1m"}]"#
        );
        assert_eq!(told, expected);
        assert_eq!(parse("name = \"other\"\n[children]").unwrap().name, "other");
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        let child = "[children.web]\ncmd = [\"true\"]\n";
        for (text, expected) in [
            ("", "line 1, column 1: missing field `children`"),
            ("[children\n", "line 1, column 10: "),
            ("colour = 1\n[children]", "line 1, column 1: unknown field `colour`"),
            ("name = \"a/b\"\n[children]", "line 1, column 8: name: "),
            ("[children.web]\n", "line 1, column 1: missing field `cmd`"),
            ("[children.web]\ncmd = \"true\"\n", "line 2, column 7: invalid type: string \"true\""),
            ("[children.web]\ncmd = []\n", "line 1, column 11: children.web: cmd names no program"),
            ("\n[children.\"a/b\"]\ncmd = [\"true\"]\n", "line 2, column 11: children.a/b: id: "),
        ] {
            let failure = parse(text).unwrap_err();
            assert_eq!(failure.code, USAGE);
            assert!(failure.message.starts_with(expected), "{text:?}: {failure}");
        }
        for (line, expected) in [
            ("group = \"root\"", "line 3, column 1: unknown field `group`"),
            ("user = \"a b:c:d\"", "line 3, column 8: \"a b:c:d\" is not of the form USER"),
            ("user = 7", "line 3, column 8: invalid type: integer"),
            ("stop_signal = \"STOP\"", "line 3, column 15: \"STOP\" is not one of TERM"),
            ("limits = { files = 1 }", "line 1, column 11: children.web: limits: \"files\" is not one of"),
            ("limits = { nofile = \"many\" }", "line 1, column 11: children.web: limits: nofile=many"),
            ("limits = { nofile = [1] }", "line 3, column"),
            ("restart = \"maybe\"", "line 1, column 11: children.web: restart: \"maybe\""),
            ("placement = \"best\"", "line 1, column 11: children.web: placement: \"best\" is not one of"),
            ("apart = \"web\"", "line 1, column 11: children.web: apart: \"web\" is not of the form K=V"),
            ("spread = \"a=b\"\nnode = \"n1\"", "line 1, column 11: children.web: spread: not together with node"),
            ("max_restarts = -1", "line 3, column 16: "),
            ("within = \"3s\"", "line 1, column 11: children.web: within: it needs max_restarts"),
            ("stop_timeout = \"soon\"", "line 1, column 11: children.web: stop_timeout: \"soon\""),
            ("env = { \"a=b\" = \"c\" }", "line 1, column 11: children.web: env: \"a=b\""),
            ("labels = { \"ordu.apply\" = \"c\" }", "line 1, column 11: children.web: labels: ordu.apply"),
            ("labels = { a = 1 }", "line 3, column 16: invalid type: integer"),
            ("[children.web]\ncmd = [\"true\"]", "line 3, column 1"),
            ("cmd = [\"true\"]", "line 3, column 1: duplicate key"),
        ] {
            let failure = parse(&format!("{child}{line}\n")).unwrap_err();
            assert!(failure.message.starts_with(expected), "{line:?}: {failure}");
        }
    }
}
