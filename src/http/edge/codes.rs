//! Every problem that the API can answer, with its one status and its one title. Programs tell problems apart by
//! these codes: they are part of the contract, so one that was released keeps its text, its status and its meaning.

use std::borrow::Cow;

use axum::http::StatusCode;
use serde::{Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// The table: what it means (also told in the description of the API), then the name in here, the text on the wire,
/// the status and the title.
macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $code:ident = $text:literal, $status:ident, $title:literal;)+) => {
        /// What went wrong, for programs.
        #[expect(clippy::doc_markdown, reason = "some are also an answer's detail, which is plain text")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[doc = $meaning])+ $code,)+
        }

        impl Code {
            /// All of them, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$code),+];

            /// The text on the wire, in the log and in the metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => $text,)+ }
            }

            /// The HTTP status that it is answered with.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$code => StatusCode::$status,)+ }
            }

            /// The same in a few words for people.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$code => $title,)+ }
            }

            /// What it means, and what to do, for the client's developer.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$code => concat!($($meaning),+).trim_ascii(),)+ }
            }
        }
    };
}

codes! {
    /// The framework refused the request for a reason that nobody has foreseen.
    BadRequest = "bad_request", BAD_REQUEST, "The request can't be understood";
    /// The connection broke off in the middle of the body.
    IncompleteBody = "incomplete_body", BAD_REQUEST, "The body did not arrive whole";
    /// The detail says where the JSON breaks off.
    MalformedJson = "malformed_json", BAD_REQUEST, "The body is not JSON";
    /// Send one key of 1 to 255 printable ASCII characters.
    BadIdempotencyKey = "bad_idempotency_key", BAD_REQUEST, "The Idempotency-Key can't be used";
    /// The signature is missing, wrong or too old.
    BadSignature = "bad_signature", BAD_REQUEST, "The event is not signed as it should be";
    /// A test event at a live service, or the reverse.
    WrongMode = "wrong_mode", BAD_REQUEST, "The event is of the other mode";
    /// It is signed rightly, but can't be read as an event.
    MalformedEvent = "malformed_event", BAD_REQUEST, "The body is not an event";
    /// Make an endpoint with snapshot payloads for this address: a thin event tells that something happened, and not what.
    ThinEvent = "thin_event", BAD_REQUEST, "Thin events are not taken";
    /// The token is missing, has expired, or was made by or for somebody else; the detail says which.
    Unauthorized = "unauthorized", UNAUTHORIZED, "A valid token is needed";
    /// Nothing has changed; the code of the only entry of `errors` and the detail say why.
    PaymentFailed = "payment_failed", PAYMENT_REQUIRED, "The payment failed";
    /// The token does not name the role that the route is for.
    Forbidden = "forbidden", FORBIDDEN, "This is for somebody else";
    /// Whoever looks after members may not act on what is her own, unless she is an operator with every right.
    OwnRows = "own_rows", FORBIDDEN, "Nobody acts on her own rows";
    /// It is not there, or not the caller's.
    NotFound = "not_found", NOT_FOUND, "Not found";
    /// It is of another epoch, or what follows it was purged: the detail says where to begin again.
    CursorGone = "cursor_gone", GONE, "What follows this cursor is not known any more";
    /// The header `Allow` names the methods that the path knows.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "This route does not know the method";
    /// Send the whole body at once.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, "The body did not arrive in time";
    /// Repeat the request in a moment: it will then have its answer.
    InProgress = "in_progress", CONFLICT, "The same order is being worked on";
    /// `subscription` is what the member has; its `advice` says what to do instead of buying.
    AlreadyHeld = "already_held", CONFLICT, "The member already has this plan";
    /// `errors` names the plans whose price at Stripe can't be sold for now. All others can.
    PlanUnavailable = "plan_unavailable", CONFLICT, "A plan is not sold for now";
    /// `errors` names the plans, and what must be held first.
    RequirementUnmet = "requirement_unmet", CONFLICT, "The member lacks what a plan requires";
    /// Stripe keeps a customer to one currency while something in it is live. Nothing was charged.
    CurrencyLocked = "currency_locked", CONFLICT, "The member already pays in another currency";
    /// It was bought once: nothing will be charged again.
    NotCancellable = "not_cancellable", CONFLICT, "This can't be cancelled";
    /// It was bought once, so it was never going to renew.
    NotResumable = "not_resumable", CONFLICT, "There is nothing to resume";
    /// Only what renews, and is billed as one item, can be changed.
    NotChangeable = "not_changeable", CONFLICT, "This can't be changed";
    /// Finish the checkout, leave it by its cancel link, or let it expire.
    AwaitingPayment = "awaiting_payment", CONFLICT, "It was not paid yet";
    /// Come back when it has arrived.
    PaymentProcessing = "payment_processing", CONFLICT, "The payment is on its way";
    /// It can be bought again.
    AlreadyEnded = "already_ended", CONFLICT, "It has ended";
    /// Its plan ends with the period that is paid: send {"at": "period_end"}.
    CancelNowNotAllowed = "cancel_now_not_allowed", CONFLICT, "It can't be ended at once";
    /// Its status_reason says why; look at its open invoices, or cancel it.
    OnHold = "on_hold", CONFLICT, "It is on hold";
    /// It will not renew: resume it first.
    Cancelled = "cancelled", CONFLICT, "It is cancelled";
    /// Pay its open invoice first, then change it.
    PaymentRetrying = "payment_retrying", CONFLICT, "A payment is overdue";
    /// The organisation has planned how it goes on, so only the organisation can change or cancel it: ask them.
    ManagedBySchedule = "managed_by_schedule", CONFLICT, "Its future is planned at Stripe";
    /// Whoever never paid, in that currency if one was given, has nothing to look after there.
    NoCustomer = "no_customer", CONFLICT, "There is no customer at Stripe";
    /// Somebody else has changed it since the page was read: look at it again.
    RowMoved = "row_moved", CONFLICT, "It has changed meanwhile";
    /// More, or less, has been refunded than the preview said: look at a new one.
    AlreadyRefundedMoved = "already_refunded_moved", CONFLICT, "What was refunded has changed meanwhile";
    /// Of one payment only one refund is under way at a time: look again when it is done.
    ActionInProgress = "action_in_progress", CONFLICT, "Another act on this payment is under way";
    /// No payment of it is known, or all of it went back, or Stripe has it in dispute.
    NothingToRefund = "nothing_to_refund", CONFLICT, "There is nothing to refund";
    /// No invoice of it is open.
    NothingToSettle = "nothing_to_settle", CONFLICT, "There is nothing to settle";
    /// It is a row of ours already, or the member holds the plan, or one of its group.
    HeldAlready = "held_already", CONFLICT, "It is held already";
    /// Add a plan with that price to the plans file, or name the plan.
    PriceOfNoPlan = "price_of_no_plan", CONFLICT, "No plan has that price";
    /// The customer at Stripe belongs to another member.
    OtherCustomer = "other_customer", CONFLICT, "The customer is another member's";
    /// It neither failed nor was flagged.
    EventSettled = "event_settled", CONFLICT, "The event needs nobody";
    /// The limit is the operator's to set.
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// Send Content-Type: application/json.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body is not declared as JSON";
    /// `errors` names each field that is wrong, with a code of its own.
    ValidationFailed = "validation_failed", UNPROCESSABLE_ENTITY, "The request is not valid";
    /// A new order needs a new key.
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, "The idempotency key was used for another order";
    /// Ask for a shorter range; the detail says how many entries there may be.
    RangeTooLarge = "range_too_large", UNPROCESSABLE_ENTITY, "The range holds too many entries";
    /// This member has too many requests under way, or made too many of late: repeat it after `Retry-After`.
    TooManyRequests = "too_many_requests", TOO_MANY_REQUESTS, "Too many requests of this member";
    /// Pay or cancel one of the open checkouts; an unpaid one closes by itself.
    TooManyOpenCheckouts = "too_many_open_checkouts", TOO_MANY_REQUESTS, "Too many open checkouts";
    /// A fault of ours: the operator finds the cause in the log, by the request's id.
    InternalError = "internal_error", INTERNAL_SERVER_ERROR, "Internal error";
    /// A newer version of Dues may read it: Stripe delivers it again.
    UnreadableObject = "unreadable_object", INTERNAL_SERVER_ERROR, "The event's object can't be read";
    /// Nothing is lost: repeat the request, with the same Idempotency-Key where it had one.
    StripeUnavailable = "stripe_unavailable", BAD_GATEWAY, "Stripe can't be reached just now";
    /// Nothing was charged; the operator finds the cause in the log.
    StripeRefused = "stripe_refused", BAD_GATEWAY, "Stripe refused";
    /// Too many requests are under way: repeat it after `Retry-After`.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "Too many requests are under way";
    /// It may have taken effect all the same: repeat it, with the same Idempotency-Key where it had one.
    Timeout = "timeout", SERVICE_UNAVAILABLE, "The request took too long";
    /// Another process will answer: repeat it.
    ShuttingDown = "shutting_down", SERVICE_UNAVAILABLE, "The service is stopping";
    /// The login's public keys can't be had, so nobody can tell whether the token is good.
    AuthKeysUnavailable = "auth_keys_unavailable", SERVICE_UNAVAILABLE, "Tokens can't be verified at the moment";
    /// Repeat the request, with the same Idempotency-Key where it had one.
    DatabaseUnavailable = "database_unavailable", SERVICE_UNAVAILABLE, "The database does not answer";
    /// Stripe delivers it again.
    EventNotRecorded = "unavailable", SERVICE_UNAVAILABLE, "The event could not be recorded";
    /// The database does not answer, or its schema is not this version's.
    NotReady = "not_ready", SERVICE_UNAVAILABLE, "The service is not ready";
    /// Nothing is lost: repeat the request, with the same Idempotency-Key where it had one.
    StripeTimeout = "stripe_timeout", GATEWAY_TIMEOUT, "Stripe did not answer in time";
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl ToSchema for Code {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ProblemCode")
    }
}

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "What went wrong, for programs: tell problems apart by it.",
            ))
            .enum_values(Some(Self::ALL.iter().map(|code| code.as_str())));
        schema.into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Code;

    #[test]
    fn a_code_is_one_text_of_small_letters_and_says_what_it_means_in_a_sentence() {
        let mut seen = BTreeSet::new();
        for code in Code::ALL {
            let text = code.as_str();
            assert!(seen.insert(text), "{text} is there twice");
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(text.bytes().all(is_plain), "{text}");
            assert!(code.status().as_u16() >= 400, "{text}");
            assert!(code.meaning().ends_with('.'), "{text}: {}", code.meaning());
            assert!(!code.title().ends_with('.'), "{text}: {}", code.title());
        }
    }
}
