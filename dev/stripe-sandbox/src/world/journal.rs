//! The record of every API call and every event, as JSON Lines.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

/// Records are kept in memory for the control API and appended to a file if there is one.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    file: Option<File>,
    records: Vec<Value>,
}

impl Journal {
    /// Opens the file for appending.
    pub(crate) fn open(path: Option<&Path>) -> std::io::Result<Self> {
        let file = path
            .map(|path| OpenOptions::new().create(true).append(true).open(path))
            .transpose()?;
        Ok(Self {
            file,
            records: vec![],
        })
    }

    /// A file of this sandbox alone in the directory that a test run collects journals in.
    pub(crate) fn file_from_environment() -> Option<PathBuf> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let directory = PathBuf::from(std::env::var_os("STRIPE_SANDBOX_JOURNAL_DIR")?);
        std::fs::create_dir_all(&directory).ok()?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Some(directory.join(format!(
            "{}-{count}-{}.jsonl",
            std::process::id(),
            crate::world::ids::random(6)
        )))
    }

    /// All records of this process.
    pub(crate) fn records(&self) -> &[Value] {
        &self.records
    }

    /// Forgets the records in memory; the file stays.
    pub(crate) fn clear(&mut self) {
        self.records.clear();
    }

    /// Records an event once, in the shape of the newest API version.
    pub(crate) fn event(&mut self, event: &Value) {
        self.append(json!({"kind": "event", "body": event}));
    }

    /// Records a call.
    pub(crate) fn append(&mut self, record: Value) {
        if let Some(file) = &mut self.file {
            let mut line = record.to_string();
            line.push('\n');
            // A full disk must not stop a test run; one write keeps lines whole.
            if let Err(error) = file.write_all(line.as_bytes()).and_then(|()| file.flush()) {
                eprintln!("stripe-sandbox: the journal cannot be written: {error}");
                self.file = None;
            }
        }
        self.records.push(record);
    }
}
