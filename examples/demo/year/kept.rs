//! Whether the year lies behind the demo's data: a file beside them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// The ids at Stripe that people mention in their mails, by the end of their own id: `anton` and `sub_…`.
pub(crate) type Mentions = BTreeMap<String, String>;

/// What is remembered of the year.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "year", rename_all = "snake_case")]
pub(crate) enum Past {
    /// It was begun. Whoever finds this is not the one who lives it: he was cut off.
    Begun,
    /// It lies behind.
    Lived {
        mentions: Mentions,
        /// The path of what Stripe refuses to show: see [`super::forbid_again`].
        forbidden: Option<String>,
    },
}

/// The file.
pub(crate) struct Kept(PathBuf);

impl Kept {
    pub(crate) fn in_directory(dir: &Path) -> Self {
        Self(dir.join("year.json"))
    }

    pub(crate) fn look(&self) -> anyhow::Result<Option<Past>> {
        let text = match fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("can't read {}", self.0.display()));
            }
        };
        // Cut off while it was written: it was not lived.
        Ok(Some(serde_json::from_str(&text).unwrap_or(Past::Begun)))
    }

    pub(crate) fn note(&self, past: &Past) -> anyhow::Result<()> {
        let text = serde_json::to_string(past)?;
        fs::write(&self.0, text).with_context(|| format!("can't write {}", self.0.display()))
    }

    pub(crate) fn forget(&self) -> anyhow::Result<()> {
        crate::machine::remove(&self.0)
    }
}
