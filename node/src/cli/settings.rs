//! The file of `ordu up --config`: the flags by their names, each with the value that it takes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Command, FromArgMatches};
use toml::{Spanned, Value};

use super::up::Up;
use crate::failure::{Failure, one_line};
use crate::text::line_and_column;

/// Longest file, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What a file sets, as if it had been given as flags.
pub(super) struct Settings {
    /// Every setting; those that the file does not name have their defaults.
    pub(super) up: Up,
    /// The names of those that it does.
    pub(super) named: Vec<String>,
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    /// Exit 2: the first mistake, with its line and column.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| Failure::usage(format!("--config {}: {error}", path.display()));
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
        if read.map_err(cannot)? as u64 > FILE_BYTES_MAX {
            let why = format!("--config {}: it is longer than {FILE_BYTES_MAX} bytes", path.display());
            return Err(Failure::usage(why));
        }
        let absolute = std::path::absolute(path).map_err(cannot)?;
        let settings = Self::parse(&text, absolute.parent().unwrap_or(Path::new("/")));
        settings.map_err(|failure| failure.context(format!("--config {}", path.display())))
    }

    /// Reads text; its relative paths begin at `directory`.
    pub(super) fn parse(text: &str, directory: &Path) -> Result<Self, Failure> {
        let at = |offset: usize, why: &str| {
            let (line, column) = line_and_column(text, offset);
            Failure::usage(format!("line {line}, column {column}: {why}"))
        };
        let table: BTreeMap<Spanned<String>, Spanned<Value>> =
            toml::from_str(text).map_err(|error| at(error.span().map_or(0, |span| span.start), error.message()))?;
        let command = Up::augment_args(Command::new("up").disable_help_flag(true));
        let mut arguments = vec!["up".to_owned()];
        let mut named = Vec::new();
        for (key, value) in table {
            let (key_at, key) = (key.span().start, key.into_inner());
            let is_known = command.get_arguments().any(|flag| flag.get_long() == Some(&key) && key != "config");
            if !is_known {
                return Err(at(key_at, &format!("there is no setting `{key}`; they are called as the flags are")));
            }
            let (value_at, value) = (value.span().start, value.into_inner());
            let own = flags(&key, &value).map_err(|why| at(value_at, &format!("{key}: {why}")))?;
            let alone = [vec!["up".to_owned()], own.clone()].concat();
            command.clone().try_get_matches_from(alone).map_err(|error| at(value_at, &what(&error)))?;
            arguments.extend(own);
            named.push(key);
        }
        let given = command.try_get_matches_from(arguments).and_then(|given| Up::from_arg_matches(&given));
        let mut up = given.map_err(|error| Failure::usage(what(&error)))?;
        up.begin_paths_at(directory);
        Ok(Self { up, named })
    }
}

/// A setting as flags.
fn flags(key: &str, value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::String(text) => Ok(vec![format!("--{key}={text}")]),
        Value::Integer(number) => Ok(vec![format!("--{key}={number}")]),
        // The only setting that is on or off.
        Value::Boolean(is_on) if key == "ephemeral" => Ok(is_on.then(|| format!("--{key}")).into_iter().collect()),
        Value::Array(values) if matches!(key, "join" | "label") => {
            let texts = values.iter().map(|value| value.as_str().map(|text| format!("--{key}={text}")));
            texts.collect::<Option<_>>().ok_or_else(|| "not all of the list are strings".to_owned())
        }
        other => Err(format!("{} is not what it takes", other.type_str())),
    }
}

/// What is wrong, without how a flag is used.
fn what(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let what = one_line(text.split("\n\n").next().unwrap_or_default());
    what.strip_prefix("error: ").unwrap_or(&what).to_owned()
}

/// Moves a relative path to where it begins.
pub(super) fn begin_at(directory: &Path, path: &mut Option<PathBuf>) {
    if let Some(path) = path {
        *path = directory.join(&*path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::USAGE;

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, expected) in [
            ("colour = 1", "line 1, column 1: there is no setting `colour`"),
            ("name = \"n1\"\ndata_dir = \"x\"", "line 2, column 1: there is no setting `data_dir`"),
            ("config = \"x\"", "line 1, column 1: there is no setting `config`"),
            ("help = true", "line 1, column 1: there is no setting `help`"),
            ("name = \"a/b\"", "line 1, column 8: invalid value 'a/b' for '--name <N>'"),
            ("name = \"n1\"\nname = \"n2\"", "line 2, column 1: duplicate key"),
            ("drain-timeout = 5", "line 1, column 17: invalid value '5'"),
            ("\nlisten = \"nowhere\"", "line 2, column 10: invalid value 'nowhere'"),
            ("ephemeral = \"yes\"", "line 1, column 13: "),
            ("name = true", "line 1, column 8: name: boolean is not what it takes"),
            ("join = [\"a:1\", 2]", "line 1, column 8: join: not all of the list are strings"),
            ("join = [\"nowhere\"]", "line 1, column 8: invalid value 'nowhere'"),
            ("name =", "line 1, column 7: "),
        ] {
            let failure = Settings::parse(text, Path::new("/etc")).err().unwrap_or_else(|| panic!("{text} is taken"));
            assert_eq!(failure.code, USAGE);
            assert!(failure.message.starts_with(expected), "{text:?}: {failure}");
        }
    }
}
