//! Who does something to a purchase. Whose purchase it is, is another question.

use uuid::Uuid;

use super::ids::UserId;

/// What an operator is trusted with. Somebody may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sees everything but names.
    Reader,
    /// Sees, and acts on one member.
    Support,
    /// Sees, and moves money.
    Treasurer,
    /// Everything.
    Operator,
}

/// What a use case needs of whoever asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Looking at what we know.
    See,
    /// Looking at what people are called.
    Names,
    /// Acting on what one member holds.
    Act,
    /// Moving money.
    Money,
}

impl Role {
    /// From the one that may least to the one that may everything.
    pub const ALL: [Self; 4] = [Self::Reader, Self::Support, Self::Treasurer, Self::Operator];

    /// The text in the database and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Support => "support",
            Self::Treasurer => "treasurer",
            Self::Operator => "operator",
        }
    }

    /// Whether it carries that right.
    pub fn has(self, right: Right) -> bool {
        match right {
            Right::See => true,
            Right::Names => self != Self::Reader,
            Right::Act => matches!(self, Self::Support | Self::Operator),
            Right::Money => matches!(self, Self::Treasurer | Self::Operator),
        }
    }
}

/// An operator, and by which of her roles she does what she does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staff {
    /// Her own user id.
    pub user: UserId,
    /// The least of her roles that carries the right.
    pub role: Role,
    /// Who she is as a member, where that is known.
    pub member: Option<UserId>,
    /// Whether another of her roles carries everything.
    pub may_all: bool,
}

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A member, by her token or by a link that only she has.
    Member(UserId),
    /// Whoever came back from Stripe's page: no token proves who.
    Browser,
    /// Stripe, by an event.
    Stripe,
    /// An operator.
    Operator(UserId),
    /// Nobody: our own upkeep, or a command that compares us with Stripe.
    Upkeep,
}

impl Actor {
    /// The person, where one is known.
    pub fn person(&self) -> Option<&UserId> {
        match self {
            Self::Member(user) | Self::Operator(user) => Some(user),
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
    /// An operator did it.
    Operator,
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
            Self::Operator => "operator",
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

    /// An operator's act, which is what it refers to.
    pub fn operator(user: &UserId, action: Uuid) -> Self {
        Self {
            reference: Some(action.to_string()),
            ..Self::new(Actor::Operator(user.clone()), Cause::Operator)
        }
    }

    /// The buyer's return from Stripe's page.
    pub fn browser() -> Self {
        Self::new(Actor::Browser, Cause::Return)
    }

    /// An event, brought by a webhook or found in Stripe's list.
    pub fn event(id: &str, cause: Cause) -> Self {
        let actor = match cause {
            Cause::Webhook => Actor::Stripe,
            Cause::Return | Cause::Member | Cause::Operator | Cause::Reconcile | Cause::Sweep => {
                Actor::Upkeep
            }
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

    /// The same, with what it refers to. What an operator does refers to her action, which knows the rest.
    #[must_use]
    pub fn about(self, reference: &str) -> Self {
        if self.cause == Cause::Operator {
            return self;
        }
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
