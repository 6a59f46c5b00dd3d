//! The program as somebody else's process, and the files that it reads.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tokio::process::Command;

use super::in_project;

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What it ended with.
    pub(crate) code: Option<i32>,
    /// What it printed.
    pub(crate) stdout: String,
    /// What it complained of.
    pub(crate) stderr: String,
}

/// The program with these settings and nothing else in its environment.
pub(crate) fn program(arguments: &[&str], variables: &HashMap<String, String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dues"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables)
        .env("DUES_CONFIG_DIR", in_project("tests/no-config"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs the program to its end.
pub(crate) async fn run(arguments: &[&str], variables: &HashMap<String, String>) -> Ended {
    let output = program(arguments, variables).output().await;
    let Output {
        status,
        stdout,
        stderr,
    } = output.expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended {
        code: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

impl Ended {
    /// Fails, and shows everything, unless it ended with this code.
    #[track_caller]
    pub(crate) fn assert_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// The line that begins so, whatever space is between its words; fails when there is none.
    #[track_caller]
    pub(crate) fn line(&self, beginning: &str) -> String {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut lines = self.stdout.lines().map(words);
        let found = lines.find(|line| line.starts_with(beginning));
        found.unwrap_or_else(|| panic!("no line {beginning:?} in {self:#?}"))
    }

    /// What it printed, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// A file of the test's own, deleted with it.
pub(crate) struct File(PathBuf);

impl File {
    /// Writes one whose name ends so.
    pub(crate) fn new(name: &str, text: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let file = Self(std::env::temp_dir().join(format!("dues-{process}-{count}-{name}")));
        file.write(text);
        file
    }

    /// Replaces what stands in it.
    pub(crate) fn write(&self, text: &str) {
        std::fs::write(&self.0, text).expect("a file can be written");
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}
