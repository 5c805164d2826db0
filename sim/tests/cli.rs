//! The command line: what it refuses, which files it spares, and that a verdict is never lost.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Breaks with nearly every seed: the fault gives every reason for what must not be.
const BROKEN: &str = r#"
plan = { seed = 5, nodes = 3, children = true, swim = true, musts = ["unsuspected"] }
steps = [{ at_us = 3_000_000, act = { fault = { fault = { isolate = { node = 0 } }, lasts_us = 10_000_000 } } }]
"#;

/// A directory of a test's own, which is gone with it.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ordu-sim-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("a file");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ordu-sim"));
        command.args(args).current_dir(&self.0);
        command
    }

    /// The exit code, and what was said.
    fn run(&self, args: &[&str]) -> (i32, String) {
        let done = self.command(args).output().expect("it runs");
        let said = [done.stdout, done.stderr].concat();
        (done.status.code().expect("it exits"), String::from_utf8_lossy(&said).into_owned())
    }

    fn refuses(&self, args: &[&str], why: &str) {
        let (code, said) = self.run(args);
        assert!(code == 2 && said.contains(why), "{args:?}: {code}, {said}");
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_would_do_nothing_or_cannot_be_is_refused() {
    let dir = Dir::new("refused");
    dir.write("broken.toml", BROKEN);
    dir.write("part.toml", "plan.nodes = 2");
    dir.refuses(&["replay", "broken.toml", "--nodes", "4"], "leave out --nodes");
    dir.refuses(&["replay", "broken.toml", "--ops", "4"], "leave out --ops");
    dir.refuses(&["replay", "broken.toml", "--scenario", "all"], "leave out --scenario");
    dir.refuses(&["replay", "part.toml"], "no plan.seed");
    dir.refuses(&["replay", "9223372036854775808"], "highest");
    dir.refuses(&["run", "--seed", "9223372036854775808"], "9223372036854775807");
    dir.refuses(&["run", "--seed", "9223372036854775807", "--seeds", "2"], "highest");
    dir.refuses(&["cost", "--heals", "20001"], "20000");
    dir.refuses(&["cost", "--held", "20001"], "20000");
    if Path::new("/dev/zero").exists() {
        dir.refuses(&["replay", "/dev/zero"], "no ordinary file");
    }
}

#[test]
fn no_file_is_lost() {
    let dir = Dir::new("files");
    dir.write("broken.toml", BROKEN);
    dir.write("page.html", "mine");
    dir.refuses(&["replay", "broken.toml", "--trace", "./broken.toml"], "written over");
    dir.refuses(&["replay", "broken.toml", "--html", "x", "--trace", "./x"], "written over");
    dir.refuses(&["run", "--scenario", "broken.toml", "--seed", "no"], "invalid");
    dir.refuses(&["replay", "2", "--html", "page.html", "--trace", "nowhere/x"], "cannot write nowhere/x");
    let read = |name: &str| std::fs::read_to_string(dir.0.join(name)).expect("a file");
    assert_eq!((read("broken.toml").as_str(), read("page.html").as_str()), (BROKEN, "mine"));
    assert!(!dir.0.join("x").exists());

    let short = ["run", "--scenario", "broken.toml", "--seed", "5", "--shrink-for", "1s"];
    assert_eq!(dir.run(&short).0, 10);
    let first = read("ordu-sim-seed-5.toml");
    let (code, said) = dir.run(&short);
    assert!(code == 10 && said.contains("replay ordu-sim-seed-5-2.toml"), "{code}, {said}");
    assert_eq!(read("ordu-sim-seed-5.toml"), first);
    assert_eq!(dir.run(&["replay", "ordu-sim-seed-5-2.toml"]).0, 10);
}

#[test]
fn a_verdict_stands_whatever_cannot_be_written() {
    let dir = Dir::new("verdict");
    dir.write("broken.toml", BROKEN);
    let (code, said) = dir.run(&["replay", "broken.toml", "--html", "page.html"]);
    assert!(code == 10 && said.contains("seed 5 violates story") && said.contains("page.html: "), "{code}, {said}");
    if !Path::new("/dev/full").exists() {
        return;
    }
    let full = || Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").expect("it opens"));
    let code = |args: &[&str]| {
        let status = dir.command(args).stdout(full()).stderr(full()).status().expect("it runs");
        status.code().expect("it exits")
    };
    assert_eq!(code(&["replay", "broken.toml"]), 10);
    assert_eq!(code(&["run", "--seed", "2", "--ops", "5"]), 2);
    let (code, said) = dir.run(&["replay", "broken.toml", "--trace", "/dev/full"]);
    assert!(code == 10 && said.contains("cannot write /dev/full"), "{code}, {said}");
    let (code, said) = dir.run(&["replay", "2", "--ops", "5", "--html", "/dev/full"]);
    assert!(code == 2 && said.contains("all hold"), "{code}, {said}");
}

#[test]
fn a_sweep_tells_what_it_finds_and_ends_after_enough_of_it() {
    let dir = Dir::new("sweep");
    dir.write("broken.toml", BROKEN);
    let (code, said) =
        dir.run(&["run", "--scenario", "broken.toml", "--seed", "5", "--seeds", "50", "--shrink-for", "0s"]);
    assert_eq!(code, 10);
    assert!(said.contains("(stopped after 20 that break something; 50 were asked for)"), "{said}");
    assert!(said.contains("scenario broken.toml: 20 violations; "), "{said}");
    assert!(said.contains("replay broken.toml --trace seed-5.txt --html seed-5.html"), "{said}");
    assert!(said.contains("replay 6 --scenario broken.toml --trace seed-6.txt"), "{said}");
    let reports = ["1", "3"].map(|jobs| {
        let json = ["run", "--scenario", "broken.toml", "--seed", "5", "--seeds", "50", "--shrink-for", "0s", "--json"];
        let done = dir.command(&json).args(["--jobs", jobs]).output().expect("it runs");
        assert_eq!(done.stderr, b"", "nobody is told beside it");
        let report: serde_json::Value = serde_json::from_slice(&done.stdout).expect("it is JSON");
        assert_eq!((&report["nodes"], &report["ops"]), (&3.into(), &0.into()));
        assert_eq!(
            (report["violations"].as_array().map(Vec::len), &report["scenario"]),
            (Some(20), &"broken.toml".into())
        );
        [report["seeds"].clone(), report["digest"].clone(), report["violations"].clone()]
    });
    assert_eq!(reports[0], reports[1], "what is found does not depend on the number of threads");
}

#[test]
fn stories_are_told_with_their_own_sizes() {
    let dir = Dir::new("sizes");
    let (code, said) = dir.run(&["run", "--scenario", "typed-at", "--nodes", "3", "--ops", "200", "--seed", "1"]);
    assert!(code == 0 && said.contains("1 seed from 1, 3 nodes, ") && !said.contains("200 ops"), "{code}, {said}");
}

#[test]
fn a_walk_ends_where_it_has_as_many_states_as_it_may() {
    let dir = Dir::new("walk");
    let (code, said) = dir.run(&["walk", "--world", "heal", "--states", "300"]);
    assert!(code == 0 && said.contains("stopped at 3"), "{code}, {said}");
}
