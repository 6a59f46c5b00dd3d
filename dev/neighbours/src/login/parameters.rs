//! A query or a form, read strictly.

/// Names and values in the order in which they came.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn read(encoded: &[u8]) -> Self {
        let pairs = url::form_urlencoded::parse(encoded).into_owned();
        Self(pairs.collect())
    }

    /// The value of a parameter; an empty one counts as left out (RFC 6749, 3.1).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut named = self.0.iter().filter(|(known, _)| known == name);
        let value = named.next().map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    /// The value of a parameter that stands there no more than once.
    pub(super) fn only(&self, name: &str) -> Option<&str> {
        let count = self.0.iter().filter(|(known, _)| known == name).count();
        self.get(name).filter(|_| count == 1)
    }

    /// All of them, as they came.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What is wrong with the names: one that isn't known, or that stands there twice (RFC 6749, 3.1).
    pub(super) fn wrong(&self, known: &[&str]) -> Option<String> {
        let unknown = self
            .0
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()));
        if let Some((name, _)) = unknown {
            return Some(format!("the parameter {name:?} is not known"));
        }
        let mut names = self.0.iter().map(|(name, _)| name).enumerate();
        let repeated =
            names.find(|(at, name)| self.0[..*at].iter().any(|(before, _)| before == *name));
        repeated.map(|(_, name)| format!("the parameter {name:?} is repeated"))
    }
}

#[cfg(test)]
mod tests {
    use super::Parameters;

    #[test]
    fn what_is_empty_is_missing_and_what_is_repeated_is_seen() {
        let parameters = Parameters::read(b"a=1&b=&c=x+y%2B&c=2");
        assert_eq!(parameters.get("a"), Some("1"));
        assert_eq!(parameters.get("b"), None);
        assert_eq!(parameters.get("c"), Some("x y+"));
        assert_eq!(parameters.only("c"), None);
        let known = parameters.wrong(&["a", "b", "c"]);
        assert_eq!(known.as_deref(), Some("the parameter \"c\" is repeated"));
        let unknown = parameters.wrong(&["a", "c"]);
        assert_eq!(unknown.as_deref(), Some("the parameter \"b\" is not known"));
    }
}
