//! Statements of which only those parts are sent that have something to do: a part that does nothing still costs its
//! share of every execution.
//!
//! In the text a part stands between a line `--[ name` and the line `--]`. What is made of a text for some parts is made
//! once and kept, so that each connection prepares it once; a text with `n` parts can be no more than 2ⁿ statements.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// A statement with parts.
pub struct Parts {
    text: &'static str,
    made: RwLock<Option<HashMap<u32, &'static str>>>,
}

impl Parts {
    /// A text with marked parts.
    pub const fn of(text: &'static str) -> Self {
        Self {
            text,
            made: RwLock::new(None),
        }
    }

    /// The statement with these parts: one `bool` for each, in their order in the text.
    pub fn with<const N: usize>(&self, wanted: [bool; N]) -> &'static str {
        let bits = (0..).zip(wanted);
        let key = bits.fold(0, |key, (place, wanted)| key | u32::from(wanted) << place);
        let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = made.as_ref().and_then(|made| made.get(&key)) {
            return text;
        }
        drop(made);
        let mut made = self.made.write().unwrap_or_else(PoisonError::into_inner);
        let made = made.get_or_insert_default();
        made.entry(key)
            .or_insert_with(|| String::leak(compose(self.text, &wanted)))
    }

    /// How many parts there are.
    pub fn count(&self) -> usize {
        self.text
            .lines()
            .filter(|line| line.starts_with("--["))
            .count()
    }
}

fn compose(text: &str, wanted: &[bool]) -> String {
    let mut wanted = wanted.iter();
    let (mut composed, mut skips) = (String::with_capacity(text.len()), false);
    for line in text.lines() {
        if line.starts_with("--[") {
            skips = !wanted.next().copied().unwrap_or(true);
        } else if line.starts_with("--]") {
            skips = false;
        } else if !skips {
            composed.push_str(line);
            composed.push('\n');
        }
    }
    composed
}

#[cfg(test)]
mod tests {
    use super::*;

    static TEXT: Parts = Parts::of("a\n--[ one\nb\n--]\nc\n--[ two\nd\ne\n--]\n");

    #[test]
    fn a_part_is_there_when_it_is_wanted_and_a_statement_is_made_once() {
        assert_eq!(TEXT.count(), 2);
        assert_eq!(TEXT.with([true, true]), "a\nb\nc\nd\ne\n");
        assert_eq!(TEXT.with([false, true]), "a\nc\nd\ne\n");
        assert_eq!(TEXT.with([false, false]), "a\nc\n");
        let (once, again) = (TEXT.with([true, false]), TEXT.with([true, false]));
        assert_eq!(once, "a\nb\nc\n");
        assert!(std::ptr::eq(once, again));
    }
}
