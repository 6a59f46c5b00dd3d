//! Who does something to a purchase. Whose purchase it is, is another question.

use super::ids::UserId;

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A member, by her token or by a link that only she has.
    Member(UserId),
    /// Whoever came back from Stripe's page: no token proves who.
    Browser,
    /// Stripe, by an event.
    Stripe,
    /// Nobody: our own upkeep, or a command that compares us with Stripe.
    Upkeep,
}

impl Actor {
    /// The person, where one is known.
    pub fn person(&self) -> Option<&UserId> {
        match self {
            Self::Member(user) => Some(user),
            Self::Browser | Self::Stripe | Self::Upkeep => None,
        }
    }
}

/// By which way we learnt of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Stripe told us.
    Webhook,
    /// The buyer came back.
    Return,
    /// The member asked for it.
    Member,
    /// We compared with Stripe.
    Reconcile,
    /// The periodic tidying.
    Sweep,
}

impl Cause {
    /// The text in the database and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Return => "return",
            Self::Member => "member",
            Self::Reconcile => "reconcile",
            Self::Sweep => "sweep",
        }
    }
}

/// What the history says of a change beside the change itself: who, by which way, and what it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// By which way.
    pub cause: Cause,
    /// The event, or the object at Stripe.
    pub reference: Option<String>,
    /// Whether it only tells of what was before Dues knew of it, so that nobody is to be greeted for it.
    pub is_import: bool,
}

impl By {
    /// A member's own wish.
    pub fn member(user: &UserId) -> Self {
        Self::new(Actor::Member(user.clone()), Cause::Member)
    }

    /// The buyer's return from Stripe's page.
    pub fn browser() -> Self {
        Self::new(Actor::Browser, Cause::Return)
    }

    /// An event, brought by a webhook or found in Stripe's list.
    pub fn event(id: &str, cause: Cause) -> Self {
        let actor = match cause {
            Cause::Webhook => Actor::Stripe,
            Cause::Return | Cause::Member | Cause::Reconcile | Cause::Sweep => Actor::Upkeep,
        };
        Self::new(actor, cause).about(id)
    }

    /// Our own tidying.
    pub fn sweep() -> Self {
        Self::new(Actor::Upkeep, Cause::Sweep)
    }

    /// A comparison with Stripe.
    pub fn reconcile() -> Self {
        Self::new(Actor::Upkeep, Cause::Reconcile)
    }

    /// What another system sold becomes ours.
    pub fn adoption() -> Self {
        Self {
            is_import: true,
            ..Self::reconcile()
        }
    }

    /// The same, with what it refers to.
    #[must_use]
    pub fn about(self, reference: &str) -> Self {
        Self {
            reference: Some(reference.to_owned()),
            ..self
        }
    }

    fn new(actor: Actor, cause: Cause) -> Self {
        Self {
            actor,
            cause,
            reference: None,
            is_import: false,
        }
    }
}
