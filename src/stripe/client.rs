//! The transport: one pooled client that keeps what `async-stripe`'s own loses (status, request id, error code, `Date`)
//! and retries with the *same* idempotency key.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use reqwest::header::{DATE, HeaderMap};
use reqwest::{Client, Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use stripe_client_core::{RequestBuilder, StripeMethod};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::objects::PaymentError;
use super::pace::{Crowded, Pace};
use super::reading::{Unreadable, from_json};
use crate::settings;

/// Declares the operations of Stripe that we call, so that they can be listed, measured and looked for in a journal.
macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)+) => {
        /// An operation of Stripe's API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operation { $($(#[$doc])* $variant,)+ }

        impl Operation {
            /// Every operation that Dues calls.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Method and path template.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

operations! {
    /// Create a customer.
    CreateCustomer = "POST /v1/customers",
    /// List prices by lookup key.
    ListPrices = "GET /v1/prices",
    /// Read a price.
    RetrievePrice = "GET /v1/prices/{price}",
    /// Open a Checkout Session.
    CreateSession = "POST /v1/checkout/sessions",
    /// Read a Checkout Session.
    RetrieveSession = "GET /v1/checkout/sessions/{session}",
    /// List a customer's Checkout Sessions.
    ListSessions = "GET /v1/checkout/sessions",
    /// List the lines of a Checkout Session.
    ListSessionLines = "GET /v1/checkout/sessions/{session}/line_items",
    /// Expire a Checkout Session.
    ExpireSession = "POST /v1/checkout/sessions/{session}/expire",
    /// Read a subscription.
    RetrieveSubscription = "GET /v1/subscriptions/{subscription_exposed_id}",
    /// End a subscription.
    CancelSubscription = "DELETE /v1/subscriptions/{subscription_exposed_id}",
    /// List invoices.
    ListInvoices = "GET /v1/invoices",
    /// Read an invoice.
    RetrieveInvoice = "GET /v1/invoices/{invoice}",
    /// Settle an invoice.
    PayInvoice = "POST /v1/invoices/{invoice}/pay",
    /// List the lines of an invoice.
    ListInvoiceLines = "GET /v1/invoices/{invoice}/lines",
    /// List the payments of an invoice, or the invoices of a payment.
    ListInvoicePayments = "GET /v1/invoice_payments",
    /// Read a payment.
    RetrievePaymentIntent = "GET /v1/payment_intents/{intent}",
    /// List charges.
    ListCharges = "GET /v1/charges",
    /// Read a charge.
    RetrieveCharge = "GET /v1/charges/{charge}",
    /// Read a refund.
    RetrieveRefund = "GET /v1/refunds/{refund}",
    /// Read a dispute.
    RetrieveDispute = "GET /v1/disputes/{dispute}",
    /// List the refunds of a payment.
    ListRefunds = "GET /v1/refunds",
    /// Pay back.
    CreateRefund = "POST /v1/refunds",
    /// List the credit notes of an invoice.
    ListCreditNotes = "GET /v1/credit_notes",
    /// List the disputes of a payment.
    ListDisputes = "GET /v1/disputes",
    /// List events.
    ListEvents = "GET /v1/events",
    /// Read an event.
    RetrieveEvent = "GET /v1/events/{id}",
    /// List products.
    ListProducts = "GET /v1/products",
    /// List customers.
    ListCustomers = "GET /v1/customers",
    /// Find customers by what they are called.
    SearchCustomers = "GET /v1/customers/search",
    /// Read a customer.
    RetrieveCustomer = "GET /v1/customers/{customer}",
    /// Change a customer.
    UpdateCustomer = "POST /v1/customers/{customer}",
    /// List subscriptions.
    ListSubscriptions = "GET /v1/subscriptions",
    /// Change a subscription.
    UpdateSubscription = "POST /v1/subscriptions/{subscription_exposed_id}",
    /// Tell what an invoice would say.
    PreviewInvoice = "POST /v1/invoices/create_preview",
    /// List payments.
    ListPaymentIntents = "GET /v1/payment_intents",
    /// List webhook endpoints.
    ListWebhookEndpoints = "GET /v1/webhook_endpoints",
    /// Make a webhook endpoint.
    CreateWebhookEndpoint = "POST /v1/webhook_endpoints",
    /// Change a webhook endpoint.
    UpdateWebhookEndpoint = "POST /v1/webhook_endpoints/{webhook_endpoint}",
    /// Open a session of the customer portal.
    CreatePortalSession = "POST /v1/billing_portal/sessions",
    /// List the portal's configurations.
    ListPortalConfigurations = "GET /v1/billing_portal/configurations",
}

/// Why Stripe did not do what it was asked. Its own texts are left out: they may hold personal data.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StripeError {
    /// No connection, or it broke. The call may have taken effect.
    #[error("Stripe can't be reached ({operation})")]
    Unreachable {
        /// What was called.
        operation: &'static str,
    },
    /// It was not called: more calls wait than can be made in time.
    #[error("too many calls to Stripe are waiting ({operation})")]
    Crowded {
        /// What was to be called.
        operation: &'static str,
    },
    /// No answer in time. The call may have taken effect.
    #[error("Stripe did not answer in time ({operation})")]
    TimedOut {
        /// What was called.
        operation: &'static str,
    },
    /// Stripe failed or was busy, also on every retry. The call may have taken effect.
    #[error("Stripe answered {status} ({operation}, request {request_id})")]
    Unavailable {
        /// What was called.
        operation: &'static str,
        /// The last answer's.
        status: u16,
        /// Stripe's `Request-Id`.
        request_id: String,
        /// Whether this answer is stored under the idempotency key: no repeat with the same key will get another.
        stored: bool,
    },
    /// Stripe refused. The call had no effect.
    #[error(
        "Stripe refused with {status} {code} ({operation}, parameter {param}, request {request_id})"
    )]
    Refused {
        /// What was called.
        operation: &'static str,
        /// The answer's.
        status: u16,
        /// Stripe's error code, else its error type.
        code: String,
        /// The parameter at fault, or empty.
        param: String,
        /// Stripe's `Request-Id`.
        request_id: String,
    },
    /// The payment that the call would have made failed. The call had no effect.
    #[error("a payment failed with {} ({operation}, request {request_id})", error.code.as_deref().unwrap_or("no code"))]
    PaymentFailed {
        /// What was called.
        operation: &'static str,
        /// Why, in Stripe's codes.
        error: PaymentError,
        /// Stripe's `Request-Id`.
        request_id: String,
    },
    /// An answer that can't be read.
    #[error("Stripe's answer can't be read ({operation}, request {request_id}): {source}")]
    Unreadable {
        /// What was called.
        operation: &'static str,
        /// Stripe's `Request-Id`.
        request_id: String,
        /// Where it departs from what was expected.
        source: Unreadable,
    },
}

impl StripeError {
    /// Whether Stripe says that the object named by `param` does not exist (any more).
    pub fn is_missing(&self, missing: &str) -> bool {
        matches!(self, Self::Refused { code, param, .. } if code == "resource_missing" && param == missing)
    }

    /// Whether Stripe says that what was asked for by its id does not exist: an answer, and no trouble that passes.
    pub fn is_no_such_object(&self) -> bool {
        matches!(self, Self::Refused { status: 404, code, .. } if code == "resource_missing")
    }

    /// Whether Stripe has not judged the call: it was away, or too busy.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Crowded { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Unavailable { .. } => true,
            Self::Refused { .. } | Self::PaymentFailed { .. } | Self::Unreadable { .. } => false,
        }
    }

    /// Whether Stripe refused because the customer has business in another currency.
    pub fn is_currency_lock(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == CURRENCY_LOCKED)
    }

    /// Whether Stripe says for sure that the call had no effect.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::PaymentFailed { .. })
    }

    /// Whether no repeat with the same idempotency key will ever get another answer. For a stored failure the call may
    /// have taken effect; a key that met other parameters has its effect already.
    pub fn is_stored(&self) -> bool {
        match self {
            Self::Unavailable { stored, .. } => *stored,
            Self::Refused { code, .. } => code == "idempotency_error",
            Self::Crowded { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::PaymentFailed { .. }
            | Self::Unreadable { .. } => false,
        }
    }

    fn outcome(&self) -> &'static str {
        match self {
            Self::Crowded { .. } => "crowded",
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::Unavailable { status: 429, .. } => "rate_limited",
            Self::Unavailable { .. } => "unavailable",
            Self::Refused { .. } => "refused",
            Self::PaymentFailed { .. } => "payment_failed",
            Self::Unreadable { .. } => "unreadable",
        }
    }
}

/// What Stripe answered, and when by its own clock.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// The object.
    pub body: T,
    /// The `Date` header: when the object looked like this.
    pub at: OffsetDateTime,
    /// The `Stripe-Version` header: the version in which it answered.
    pub version: Option<String>,
}

/// The client; cheap to clone.
#[derive(Clone)]
pub struct Stripe {
    http: Client,
    base: String,
    key: settings::Secret,
    version: String,
    timeout: Duration,
    total_timeout: Duration,
    max_retries: u32,
    pub(super) metadata_key: String,
    pace: Arc<Pace>,
    in_background: bool,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorObject,
}

#[derive(Deserialize)]
struct ErrorObject {
    #[serde(rename = "type")]
    kind: Option<String>,
    param: Option<String>,
    message: Option<String>,
    #[serde(flatten)]
    payment: PaymentError,
}

/// Longest time that work in the background waits for its turn.
const BACKGROUND_PATIENCE: Duration = Duration::from_hours(1);
/// How Stripe's refusal begins when a customer has business in another currency: it has no code of its own.
const CURRENCY_LOCK: &str = "You cannot combine currencies on a single customer";
/// The code that we give it.
const CURRENCY_LOCKED: &str = "currency_locked";

/// One attempt's end.
enum Attempt<T> {
    Done(Answer<T>),
    Retry(StripeError),
    Fatal(StripeError),
}

impl Stripe {
    /// Prepares the connection pool; nothing is sent yet.
    pub fn new(settings: &settings::Stripe) -> Result<Self, reqwest::Error> {
        let http = Client::builder()
            .connect_timeout(settings.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("dues/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            http,
            base: settings.api_base.as_str().trim_end_matches('/').to_owned(),
            key: settings.secret_key.clone(),
            version: settings.api_version.clone(),
            timeout: settings.timeout,
            total_timeout: settings.total_timeout,
            max_retries: settings.max_retries,
            metadata_key: settings.metadata_key.clone(),
            pace: Arc::new(Pace::new(settings.requests_per_second)),
            in_background: false,
        })
    }

    /// The same client for work that nobody waits for: it leaves way to callers who do.
    #[must_use]
    pub fn in_background(&self) -> Self {
        Self {
            in_background: true,
            ..self.clone()
        }
    }

    /// The API version that every request names.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Sends a request, again with the same key where that may help, until an answer or the total timeout.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        operation: Operation,
        request: RequestBuilder,
        idempotency_key: Option<&str>,
    ) -> Result<Answer<T>, StripeError> {
        let started = Instant::now();
        // Nobody waits for work in the background: its time begins with its turn.
        let patience = if self.in_background {
            BACKGROUND_PATIENCE
        } else {
            self.total_timeout
        };
        let mut deadline = started + patience;
        let (mut retries, mut failed) = (0, None);
        let result = loop {
            if let Err(Crowded) = self.pace.turn(self.in_background, deadline).await {
                // Without a turn for another try, the one before counts: it may have taken effect.
                break Err(failed.unwrap_or(StripeError::Crowded {
                    operation: operation.as_str(),
                }));
            }
            if retries == 0 && self.in_background {
                deadline = Instant::now() + self.total_timeout;
            }
            match self
                .attempt(operation, &request, idempotency_key, deadline)
                .await
            {
                Attempt::Done(answer) => break Ok(answer),
                Attempt::Fatal(error) => break Err(error),
                Attempt::Retry(error) => {
                    let pause = backoff(retries);
                    if retries == self.max_retries || Instant::now() + pause >= deadline {
                        break Err(error);
                    }
                    retries += 1;
                    failed = Some(error);
                    tokio::time::sleep(pause).await;
                }
            }
        };
        let outcome = result.as_ref().map_or_else(StripeError::outcome, |_| "ok");
        counter!("stripe_calls_total", "operation" => operation.as_str(), "outcome" => outcome)
            .increment(1);
        histogram!("stripe_call_seconds", "operation" => operation.as_str())
            .record(started.elapsed());
        result
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        operation: Operation,
        request: &RequestBuilder,
        idempotency_key: Option<&str>,
        deadline: Instant,
    ) -> Attempt<T> {
        let operation = operation.as_str();
        let method = match request.method {
            StripeMethod::Get => Method::GET,
            StripeMethod::Post => Method::POST,
            StripeMethod::Delete => Method::DELETE,
        };
        let query = request
            .query
            .as_deref()
            .map_or_else(String::new, |query| format!("?{query}"));
        let left = deadline.saturating_duration_since(Instant::now());
        let mut http = self
            .http
            .request(method, format!("{}/v1{}{query}", self.base, request.path))
            .timeout(self.timeout.min(left))
            .bearer_auth(self.key.expose())
            .header("Stripe-Version", &self.version);
        if let Some(key) = idempotency_key {
            http = http.header("Idempotency-Key", key);
        }
        if let Some(body) = &request.body {
            http = http
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(body.clone());
        }
        let broken = |error: reqwest::Error| {
            if error.is_timeout() {
                Attempt::Retry(StripeError::TimedOut { operation })
            } else {
                Attempt::Retry(StripeError::Unreachable { operation })
            }
        };
        let response = match http.send().await {
            Ok(response) => response,
            Err(error) => return broken(error),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        match response.bytes().await {
            Ok(body) => read(operation, status, &headers, &body),
            Err(error) => broken(error),
        }
    }
}

fn read<T: DeserializeOwned>(
    operation: &'static str,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Attempt<T> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let request_id = header("Request-Id").unwrap_or("unknown").to_owned();
    if status.is_success() {
        return match from_json(body) {
            Ok(object) => Attempt::Done(Answer {
                body: object,
                at: date(headers),
                version: header("Stripe-Version").map(str::to_owned),
            }),
            // A proxy's page or half an answer: asking again with the same key is safe.
            Err(source) => Attempt::Retry(StripeError::Unreadable {
                operation,
                request_id,
                source,
            }),
        };
    }
    let wanted = match header("Stripe-Should-Retry") {
        Some("true") => true,
        Some("false") => false,
        _ => {
            status == StatusCode::CONFLICT
                || status == StatusCode::TOO_MANY_REQUESTS
                || status.is_server_error()
        }
    };
    // https://docs.stripe.com/api/idempotent_requests: a failure is stored too, and given again to every repeat.
    let stored = status.is_server_error() && header("Idempotent-Replayed") == Some("true");
    let retry = |error| {
        if wanted && !stored {
            Attempt::Retry(error)
        } else {
            Attempt::Fatal(error)
        }
    };
    // An earlier attempt with this key is still being worked on: no answer yet, rather than a bad one.
    if status == StatusCode::CONFLICT {
        return retry(StripeError::TimedOut { operation });
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return retry(StripeError::Unavailable {
            operation,
            status: status.as_u16(),
            request_id,
            stored,
        });
    }
    let error = serde_json::from_slice::<ErrorBody>(body)
        .map(|body| body.error)
        .ok();
    if status == StatusCode::PAYMENT_REQUIRED {
        return Attempt::Fatal(StripeError::PaymentFailed {
            operation,
            error: error.map(|error| error.payment).unwrap_or_default(),
            request_id,
        });
    }
    let (code, param) = error.map_or_else(
        || ("unknown".to_owned(), String::new()),
        |error| {
            let message = error.message.unwrap_or_default();
            let code = if message.starts_with(CURRENCY_LOCK) {
                CURRENCY_LOCKED.to_owned()
            } else {
                error.payment.code.or(error.kind).unwrap_or_default()
            };
            (code, error.param.unwrap_or_default())
        },
    );
    retry(StripeError::Refused {
        operation,
        status: status.as_u16(),
        code,
        param,
        request_id,
    })
}

/// Stripe's time of the answer. Without the header the Unix epoch, older than any snapshot, so that nothing that is
/// known gives way to an answer of unknown age.
fn date(headers: &HeaderMap) -> OffsetDateTime {
    let text = headers.get(DATE).and_then(|value| value.to_str().ok());
    // HTTP says GMT where RFC 2822 says +0000.
    let parsed =
        text.and_then(|text| OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok());
    parsed.unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Half a second doubled at each retry, at most five, cut at random by up to half so that clients don't march in step.
fn backoff(retries: u32) -> Duration {
    let full = Duration::from_millis(500) * 2_u32.saturating_pow(retries);
    full.min(Duration::from_secs(5))
        .mul_f64(0.5 + fastrand::f64() / 2.0)
}
