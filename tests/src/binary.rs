//! Where the `ordu` binary is: beside the test's own, built by the same cargo with the same profile.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Names a binary that is used as it is, instead of the workspace's own.
const OVERRIDE: &str = "ORDU_TESTS_BINARY";

/// The `ordu` binary, built if it is not up to date.
pub fn ordu() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os(OVERRIDE) {
        Some(path) => path.into(),
        None => build(),
    })
}

/// The directory of the profile that this test was built with, as `target/debug`.
pub(crate) fn profile_directory() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own path");
    let deps = own.parent().expect("a test lies in a directory");
    deps.parent().expect("that directory lies in the profile's").to_owned()
}

fn build() -> PathBuf {
    let directory = profile_directory();
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let lock = File::create(directory.join("ordu-tests-build.lock")).expect("the build's lock can be made");
    lock.lock().expect("the build's lock can be taken");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "ordu-node", "--bin", "ordu", "--profile", profile])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .arg("--target-dir")
        .arg(directory.parent().expect("the profile's directory lies in the target directory"))
        .status()
        .expect("cargo can be executed");
    assert!(built.success(), "the ordu binary cannot be built");
    directory.join("ordu")
}
