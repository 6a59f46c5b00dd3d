//! Which groups follow which kinds and plans, and what follows for one member.

use std::collections::BTreeMap;

use super::config::same;
use crate::catalogue::Plans;
use crate::domain::plan::Kind;
use crate::outward::followers::file::Check;

/// Most groups of one follower: each costs a call when the forum's set-up is looked at.
const MOST: usize = 20;
/// Longest name of a group.
const NAME: usize = 100;
/// Discourse's own, which nobody can change.
const AUTOMATIC: [&str; 9] = [
    "everyone",
    "admins",
    "moderators",
    "staff",
    "trust_level_0",
    "trust_level_1",
    "trust_level_2",
    "trust_level_3",
    "trust_level_4",
];
/// What a key begins with that names a plan, and no kind.
const PLAN: &str = "plan:";

/// The groups that a follower owns, each with what it follows.
#[derive(Clone, Debug)]
pub(in crate::outward) struct Rules(Vec<Owned>);

#[derive(Clone, Debug)]
struct Owned {
    name: String,
    follows: Vec<Follows>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Follows {
    Kind(Kind),
    Plan(String),
}

impl Follows {
    /// Reads a key, given whether there is a plan of a code.
    fn read(key: &str, is_plan: impl FnOnce(&str) -> Result<bool, String>) -> Result<Self, String> {
        if let Some(code) = key.strip_prefix(PLAN) {
            return match is_plan(code) {
                Ok(true) => Ok(Self::Plan(code.to_owned())),
                Ok(false) => Err(format!("there is no plan \"{code}\" in the plans file")),
                Err(error) => Err(format!("\"{key}\" can't be checked: {error}")),
            };
        }
        Kind::parse(key).map(Self::Kind).ok_or_else(|| {
            let kinds = Kind::ALL.map(Kind::as_str).join(", ");
            format!("there is no kind \"{key}\"; there are {kinds}, and \"plan:<code>\"")
        })
    }

    fn is(&self, plan: &str, kind: Kind) -> bool {
        match self {
            Self::Kind(own) => *own == kind,
            Self::Plan(own) => own == plan,
        }
    }
}

/// What one member holds, and what she ever did: plans with their kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holding {
    /// What entitles her now.
    pub(super) now: Vec<(String, Kind)>,
    /// Whatever was ever in force.
    pub(super) ever: Vec<(String, Kind)>,
}

/// In which of the owned groups a member is to be, and in which not: their places among them. Of all others nothing is
/// said: she may be there because somebody wanted it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) add: Vec<usize>,
    pub(super) remove: Vec<usize>,
}

impl Wish {
    pub(super) fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

impl Rules {
    /// Reads the table of the file.
    pub(super) fn check(check: &mut Check<'_>, groups: BTreeMap<String, String>) -> Option<Self> {
        let mut problems = Vec::new();
        if groups.is_empty() {
            problems.push("groups names no group".to_owned());
        }
        let file = &check.settings().plans.file;
        let mut plans = None;
        let mut owned: Vec<Owned> = Vec::new();
        for (key, name) in groups {
            let follows = check_name(&name).and_then(|()| {
                // Who names no plan needs no plans file.
                let plan = |code: &str| {
                    let plans = plans.get_or_insert_with(|| Plans::read(file));
                    let plans = plans.as_ref().map_err(ToString::to_string)?;
                    Ok(plans.plan(code).is_some())
                };
                Follows::read(&key, plan)
            });
            let follows = match follows {
                Ok(follows) => follows,
                Err(problem) => {
                    problems.push(format!("groups: {problem}"));
                    continue;
                }
            };
            match owned.iter_mut().find(|own| same(&own.name, &name)) {
                Some(own) => own.follows.push(follows),
                None => owned.push(Owned {
                    name,
                    follows: vec![follows],
                }),
            }
        }
        if owned.len() > MOST {
            problems.push(format!("groups: at most {MOST} groups"));
        }
        for problem in &problems {
            check.problem(problem);
        }
        problems.is_empty().then_some(Self(owned))
    }

    /// The groups' names, in the order of their places.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|own| own.name.as_str())
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The name of a group.
    pub(super) fn name(&self, place: usize) -> &str {
        self.0.get(place).map_or("", |own| own.name.as_str())
    }

    /// What follows for a member.
    pub(super) fn wish(&self, holding: &Holding) -> Wish {
        let mut wish = Wish::default();
        for (place, own) in self.0.iter().enumerate() {
            let gives = |held: &[(String, Kind)]| {
                let mut held = held.iter();
                held.any(|(plan, kind)| own.follows.iter().any(|follows| follows.is(plan, *kind)))
            };
            if gives(&holding.now) {
                wish.add.push(place);
            } else if gives(&holding.ever) {
                wish.remove.push(place);
            }
        }
        wish
    }
}

/// Whether a group can have the name. Discourse splits lists at commas and trims nothing.
fn check_name(name: &str) -> Result<(), String> {
    let is_wrong = |symbol: char| symbol.is_whitespace() || symbol.is_control() || symbol == ',';
    if name.is_empty() || name.len() > NAME || name.contains(is_wrong) || name.contains('/') {
        return Err(format!(
            "\"{name}\" is no group's name: it has no spaces, no commas and no slashes"
        ));
    }
    if AUTOMATIC.iter().any(|own| same(own, name)) {
        return Err(format!(
            "\"{name}\" is one of Discourse's own, which nobody can change"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let owned = |name: &str, follows: &[Follows]| Owned {
            name: name.to_owned(),
            follows: follows.to_vec(),
        };
        let plan = |code: &str| Follows::Plan(code.to_owned());
        Rules(vec![
            owned("members", &[Follows::Kind(Kind::Membership)]),
            owned("annual", &[plan("membership-annual")]),
            owned("backers", &[Follows::Kind(Kind::Share), plan("donation")]),
        ])
    }

    fn held(plans: &[&str]) -> Vec<(String, Kind)> {
        let kind = |plan: &str| match plan {
            "share" => Kind::Share,
            "donation" => Kind::Donation,
            _ => Kind::Membership,
        };
        let plans = plans.iter().map(|plan| ((*plan).to_owned(), kind(plan)));
        plans.collect()
    }

    #[test]
    fn she_is_where_what_she_holds_gives_a_right_and_leaves_where_it_once_did() {
        let (annual, monthly) = ("membership-annual", "membership-monthly");
        let assert_wish = |now: &[&str], ever: &[&str], add: &[usize], remove: &[usize]| {
            let (now, ever) = (held(now), held(ever));
            let holding = Holding { now, ever };
            let wish = rules().wish(&holding);
            assert_eq!((&*wish.add, &*wish.remove), (add, remove), "{holding:?}");
        };
        assert_wish(&[], &[], &[], &[]);
        assert_wish(&[annual], &[annual], &[0, 1], &[]);
        assert_wish(&[], &[annual], &[], &[0, 1]);
        assert_wish(&[monthly], &[monthly, annual], &[0], &[1]);
        // Either of two will do.
        assert_wish(&["donation"], &["donation", "share"], &[2], &[]);
        assert_wish(&[], &["share"], &[], &[2]);
    }

    #[test]
    fn a_name_stands_in_a_list_and_in_a_path() {
        for good in ["members", "trust_level_5", "Förderer", "a-b.c"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for wrong in ["", "a b", "a,b", "a/b", "Staff", "trust_level_0", "a\n"] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
