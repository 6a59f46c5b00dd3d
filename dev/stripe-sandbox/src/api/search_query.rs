//! The language of searches: <https://docs.stripe.com/search#search-query-language>.

use serde_json::Value;

use crate::world::error::ApiError;

/// How many clauses a query may have.
const MOST_CLAUSES: usize = 10;
/// How many characters a part of a text must have.
const LEAST_PART: usize = 3;

/// A field that may be searched for.
pub(super) struct Field(pub &'static str, pub Kind);

/// How a field can be compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As a whole, or by a part.
    Text,
    /// As a whole; of metadata the value of one key.
    Token,
    /// As a number.
    Numeric,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Is,
    Contains,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// What stands behind an operator.
#[derive(Debug)]
enum Wanted {
    /// That the field is not set.
    Null,
    /// In small letters, as everything is compared.
    Text(String),
    Number(i64),
}

#[derive(Debug)]
struct Clause {
    negated: bool,
    field: String,
    /// Of metadata.
    key: Option<String>,
    operator: Operator,
    wanted: Wanted,
}

/// A query that makes sense.
#[derive(Debug)]
pub(super) struct Query {
    clauses: Vec<Clause>,
    /// Whether one clause is enough.
    any: bool,
}

fn unparsed() -> ApiError {
    let message = "We were unable to parse your search query. Try using the format `metadata[\"key\"]:\"value\"` to \
                   query for metadata or key:\"value\" to query for other fields.";
    ApiError::invalid(message)
}

/// Reads a query over the fields of a resource.
///
/// # Errors
/// Stripe's 400 for what can't be read; the sandbox's own words where Stripe's are not known.
pub(super) fn parse(query: &str, resource: &str, fields: &[Field]) -> Result<Query, ApiError> {
    let (mut clauses, mut any, mut rest) = (vec![], None, query.trim());
    loop {
        let (clause, after) = clause(rest, resource, fields)?;
        clauses.push(clause);
        rest = after.trim_start();
        if rest.is_empty() {
            break;
        }
        // Nothing but a space may follow a clause; without a word it means AND.
        if rest.len() == after.len() {
            return Err(unparsed());
        }
        let (word, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let is_or = word.eq_ignore_ascii_case("or");
        if is_or || word.eq_ignore_ascii_case("and") {
            rest = behind.trim_start();
        }
        if any.is_some_and(|any| any != is_or) {
            let message = "You can't combine AND and OR in the same search query.";
            return Err(ApiError::invalid(message));
        }
        any = Some(is_or);
    }
    if clauses.len() > MOST_CLAUSES {
        let message = format!("A search query can have at most {MOST_CLAUSES} clauses.");
        return Err(ApiError::invalid(message));
    }
    Ok(Query {
        clauses,
        any: any.unwrap_or_default(),
    })
}

/// One clause, and what follows it.
fn clause<'a>(
    text: &'a str,
    resource: &str,
    fields: &[Field],
) -> Result<(Clause, &'a str), ApiError> {
    let positive = text.strip_prefix('-');
    let negated = positive.is_some();
    let rest = positive.unwrap_or(text);
    let is_name = |symbol: char| symbol.is_ascii_alphanumeric() || "_.".contains(symbol);
    let (name, rest) = rest.split_at(rest.find(|symbol| !is_name(symbol)).unwrap_or(rest.len()));
    if name.is_empty() {
        return Err(unparsed());
    }
    let (key, rest) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (key, rest) = quoted(rest).ok_or_else(unparsed)?;
            let rest = rest.strip_prefix(']').ok_or_else(unparsed)?;
            (Some(key), rest)
        }
        None => (None, rest),
    };
    let (operator, rest) = operator(rest).ok_or_else(unparsed)?;
    let (wanted, rest) = wanted(rest).ok_or_else(unparsed)?;
    let field = fields.iter().find(|field| field.0 == name);
    let Some(Field(_, kind)) = field else {
        let message = format!(
            "Field `{name}` is an unsupported search field for resource `{resource}`. See \
             http://stripe.com/docs/search#query-fields-for-{resource} for a list of supported fields."
        );
        return Err(ApiError::invalid(message));
    };
    // Metadata is searched by a key, and nothing else is.
    if (name == "metadata") != key.is_some() {
        return Err(unparsed());
    }
    let clause = Clause {
        negated,
        field: name.to_owned(),
        key,
        operator,
        wanted: typed(name, *kind, operator, wanted)?,
    };
    Ok((clause, rest))
}

fn operator(text: &str) -> Option<(Operator, &str)> {
    const OPERATORS: [(&str, Operator); 6] = [
        (":", Operator::Is),
        ("~", Operator::Contains),
        (">=", Operator::GreaterOrEqual),
        ("<=", Operator::LessOrEqual),
        (">", Operator::Greater),
        ("<", Operator::Less),
    ];
    let mut operators = OPERATORS.iter();
    operators.find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?)))
}

/// A value: texts stand in quotes, numbers may, and null must not.
fn wanted(text: &str) -> Option<(Wanted, &str)> {
    if let Some((value, rest)) = quoted(text) {
        return Some((Wanted::Text(value.to_lowercase()), rest));
    }
    let (word, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    if word.eq_ignore_ascii_case("null") {
        return Some((Wanted::Null, rest));
    }
    Some((Wanted::Number(word.parse().ok()?), rest))
}

/// What stands in quotes of either kind, where a backslash takes the next symbol as it is; and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|first| "\"'".contains(*first))?;
    let (mut value, mut escaped) = (String::new(), false);
    for (at, symbol) in text.char_indices().skip(1) {
        if escaped {
            value.push(symbol);
            escaped = false;
        } else if symbol == '\\' {
            escaped = true;
        } else if symbol == quote {
            return Some((value, &text[at + 1..]));
        } else {
            value.push(symbol);
        }
    }
    None
}

/// Holds operator and value against the kind of the field.
fn typed(name: &str, kind: Kind, operator: Operator, wanted: Wanted) -> Result<Wanted, ApiError> {
    let refused = |what: &str| Err(ApiError::invalid(format!("Field `{name}` {what}.")));
    let fits = match operator {
        Operator::Is => true,
        Operator::Contains => kind == Kind::Text,
        _ => kind == Kind::Numeric,
    };
    if !fits {
        return refused("does not support this operator");
    }
    match (kind, wanted) {
        (_, Wanted::Null) if operator != Operator::Is => {
            refused("can only be compared to null by `:`")
        }
        (_, Wanted::Null) => Ok(Wanted::Null),
        (Kind::Numeric, Wanted::Number(number)) => Ok(Wanted::Number(number)),
        (Kind::Numeric, Wanted::Text(text)) => match text.parse() {
            Ok(number) => Ok(Wanted::Number(number)),
            Err(_) => refused("must be compared to a number"),
        },
        (Kind::Text | Kind::Token, Wanted::Number(_)) => Err(unparsed()),
        (Kind::Text | Kind::Token, Wanted::Text(text)) => {
            if operator == Operator::Contains && text.chars().count() < LEAST_PART {
                return refused("can be searched by a part of at least 3 characters");
            }
            Ok(Wanted::Text(text))
        }
    }
}

impl Query {
    /// Whether an object is one of those that are looked for.
    pub(super) fn fits(&self, row: &Value) -> bool {
        let fits = |clause: &Clause| clause.negated != clause.holds(row);
        if self.any {
            self.clauses.iter().any(fits)
        } else {
            self.clauses.iter().all(fits)
        }
    }
}

impl Clause {
    fn holds(&self, row: &Value) -> bool {
        let value = match &self.key {
            Some(key) => &row[self.field.as_str()][key.as_str()],
            None => &row[self.field.as_str()],
        };
        match &self.wanted {
            Wanted::Null => value.is_null(),
            Wanted::Text(wanted) => value.as_str().is_some_and(|text| {
                let text = text.to_lowercase();
                match self.operator {
                    Operator::Contains => text.contains(wanted.as_str()),
                    _ => text == *wanted,
                }
            }),
            Wanted::Number(wanted) => value.as_i64().is_some_and(|number| match self.operator {
                Operator::Greater => number > *wanted,
                Operator::GreaterOrEqual => number >= *wanted,
                Operator::Less => number < *wanted,
                Operator::LessOrEqual => number <= *wanted,
                Operator::Is | Operator::Contains => number == *wanted,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Field, Kind, parse};

    const FIELDS: &[Field] = &[
        Field("created", Kind::Numeric),
        Field("email", Kind::Text),
        Field("metadata", Kind::Token),
    ];

    fn fits(query: &str) -> bool {
        let row = json!({
            "created": 100, "email": "Ada@Example.org", "metadata": {"Key \"x\"": "Value", "or": "é AND b"},
        });
        parse(query, "customers", FIELDS).expect(query).fits(&row)
    }

    #[test]
    fn what_fits_is_found_in_any_case() {
        for query in [
            r#"email:"ada@example.ORG""#,
            "email:'ada@example.org'",
            r#"email~"EXAM""#,
            r#"-email:"bob@example.org""#,
            r#"metadata["Key \"x\""]:"value""#,
            "metadata['or']:'É and b'",
            r#"metadata["key"]:null"#,
            "-email:NULL",
            "created:100",
            "created:'100' created>=100 and created<=100",
            "created>99 AND created<101",
            r#"email:"x" OR created>99 or created:7"#,
        ] {
            assert!(fits(query), "{query}");
        }
        for query in [
            r#"email:"example""#,
            r#"metadata["key \"x\""]:"value""#,
            "created>100",
            "-created:100",
            r#"email~"exam" created<100"#,
            "email:null OR created<100",
        ] {
            assert!(!fits(query), "{query}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let unparsed = "We were unable to parse your search query.";
        for (query, message) in [
            ("ada", unparsed),
            ("email", unparsed),
            ("email:", unparsed),
            ("email:ada", unparsed),
            ("email:7", unparsed),
            ("email=\"ada\"", unparsed),
            ("email:\"ada", unparsed),
            ("email:\"ada\"x", unparsed),
            ("email:\"ada\"-created>1", unparsed),
            ("email: \"ada\"", unparsed),
            ("(email:\"ada\")", unparsed),
            ("email:\"ada\" AND", unparsed),
            ("AND email:\"ada\"", unparsed),
            ("email:\"ada\" AND OR created>1", unparsed),
            ("--email:\"ada\"", unparsed),
            ("metadata:\"x\"", unparsed),
            ("metadata[key]:\"x\"", unparsed),
            ("email[\"key\"]:\"x\"", unparsed),
            ("created>1.5", unparsed),
            (
                "colour:\"red\"",
                "Field `colour` is an unsupported search field for resource `customers`.",
            ),
            (
                "email~\"ad\"",
                "Field `email` can be searched by a part of at least 3 characters.",
            ),
            (
                "metadata[\"key\"]~\"value\"",
                "Field `metadata` does not support this operator.",
            ),
            (
                "email>\"ada\"",
                "Field `email` does not support this operator.",
            ),
            (
                "created~100",
                "Field `created` does not support this operator.",
            ),
            (
                "created>null",
                "Field `created` can only be compared to null by `:`.",
            ),
            (
                "created:\"soon\"",
                "Field `created` must be compared to a number.",
            ),
            (
                "created>1 OR created<5 created:3",
                "You can't combine AND and OR in the same search query.",
            ),
            (
                "created>1 AND created<5 OR created:3",
                "You can't combine AND and OR in the same search query.",
            ),
        ] {
            let error = parse(query, "customers", FIELDS).expect_err(query);
            assert!(
                error.message().starts_with(message),
                "{query}: {}",
                error.message()
            );
            assert_eq!(error.status, 400);
        }
        let many = ["created>1"; 11].join(" ");
        assert!(parse(&many, "customers", FIELDS).is_err());
        assert!(parse(&many[10..], "customers", FIELDS).is_ok());
    }
}
