//! Events as Stripe sends them, built and signed before the clock starts.

use std::fmt::Write as _;

use anyhow::ensure;
use aws_lc_rs::hmac;
use uuid::Uuid;

use crate::signature;

/// Stripe's bodies of these two types are about so long.
const BODY: usize = 5_000;

/// `created` of two events differs by more than the margin within which the service would ask Stripe which is newer.
const STEP: i64 = 3;

/// The first event was made so long before the benchmark, so that none is from the future …
const BEFORE: i64 = 300 * 86_400;
/// … and paid periods end after it, so that everybody stays active.
const AFTER: i64 = 10 * 86_400;

/// A subscription gets its next event when so many others had theirs: those under way at once are of different ones.
const APART: u32 = 2_048;

pub(crate) const PRICE: &str = "price_1BenchMembershipAnnual";

/// The ids of the n-th subscription and what belongs to it, as the database's functions `bench_key` and `bench_uuid`
/// make them. Like Stripe's they begin with what grows in time and end at random.
pub(crate) fn key(n: u32) -> String {
    format!("1{n:08x}LkdIwHu7{:08x}", scatter(n))
}

pub(crate) fn uuid(table: u8, n: u32) -> Uuid {
    let millis = 1_700_000_000_000 + u128::from(n) * 1_000;
    let version = 0x7_000 | u128::from(table);
    Uuid::from_u128(millis << 80 | version << 64 | 0x8000 << 48 | u128::from(scatter(n)))
}

pub(crate) const LINE: u8 = 3;

fn scatter(n: u32) -> u64 {
    u64::from(n) * 1_103_515_245 % 2_147_483_647
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `invoice.paid` of a later period.
    Renewal,
    /// `customer.subscription.updated` with a later period.
    Update,
}

/// An event, and what must be in the rows after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    number: u32,
    pub kind: Kind,
    /// Which subscription.
    pub n: u32,
    pub created: i64,
    pub period_end: i64,
}

impl Event {
    pub(crate) fn id(&self) -> String {
        format!(
            "evt_1{:08x}BenchEv{:08x}",
            self.number,
            scatter(self.number)
        )
    }

    pub(crate) fn invoice(&self) -> String {
        format!("in_1{:08x}BenchIn{:08x}", self.number, scatter(self.number))
    }
}

/// Gives out events of one database, each newer than all before.
pub(crate) struct Source {
    now: i64,
    next: u32,
    /// For each subscription the number of its last event.
    last: Vec<u32>,
    random: fastrand::Rng,
}

impl Source {
    /// For tables of that size, filled `now`.
    pub(crate) fn new(size: u32, now: i64) -> Self {
        Self {
            now,
            next: APART,
            last: vec![0; size as usize + 1],
            random: fastrand::Rng::with_seed(u64::from(size)),
        }
    }

    pub(crate) fn size(&self) -> u32 {
        u32::try_from(self.last.len() - 1).unwrap_or(u32::MAX)
    }

    /// When the next event will have been made, for a statement that makes its own.
    pub(crate) fn moment(&mut self) -> i64 {
        let event = self.event();
        event.created
    }

    fn event(&mut self) -> Event {
        let number = self.next;
        self.next += 1;
        let apart = APART.min(self.size() / 2);
        let n = loop {
            let n = self.random.u32(1..=self.size());
            let last = &mut self.last[n as usize];
            if number - *last >= apart {
                *last = number;
                break n;
            }
        };
        Event {
            number,
            kind: if self.random.bool() {
                Kind::Renewal
            } else {
                Kind::Update
            },
            n,
            created: self.now - BEFORE + i64::from(number) * STEP,
            period_end: self.now + AFTER + i64::from(number),
        }
    }

    /// So many events with their requests, signed with the present time.
    pub(crate) fn batch(&mut self, count: usize, signed_at: i64) -> anyhow::Result<Batch> {
        let last = i64::from(self.next) + i64::try_from(count)?;
        ensure!(
            last * STEP < BEFORE,
            "so many events that the last would be from the future: measure in fewer rounds"
        );
        let (key, filling) = (signature::key(), filling());
        let events: Vec<Event> = (0..count).map(|_| self.event()).collect();
        let requests = events.iter();
        let requests = requests.map(|event| request(event, &key, &filling, signed_at));
        Ok(Batch {
            requests: requests.collect(),
            events,
        })
    }
}

/// Events, and the bytes to send for each.
pub(crate) struct Batch {
    pub requests: Vec<Vec<u8>>,
    pub events: Vec<Event>,
}

fn request(event: &Event, key: &hmac::Key, filling: &[String], now: i64) -> Vec<u8> {
    let body = match event.kind {
        Kind::Renewal => invoice_paid(event, filling),
        Kind::Update => subscription_updated(event, filling),
    };
    let mut request = String::with_capacity(body.len() + 400);
    // Writing to a string can't fail.
    let _ = write!(
        request,
        "POST /webhooks/stripe HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*; q=0.5, application/xml\r\n\
         user-agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\ncontent-type: application/json; charset=utf-8\r\n\
         stripe-signature: {}\r\ncontent-length: {}\r\n\r\n",
        signature::sign(key, now, body.as_bytes()),
        body.len(),
    );
    request.push_str(&body);
    request.into_bytes()
}

/// Fields that nobody asks for, as most of Stripe's are.
fn filling() -> Vec<String> {
    let field = |number| {
        format!(
            r#","rendering_options_{number:02}":{{"amount_tax_display":null,"pages":[{number},2],"pdf":{{"size":"a4"}},"note":"as agreed"}}"#
        )
    };
    (0..64).map(field).collect()
}

fn fill(body: &mut String, filling: &[String], rest: usize) {
    for field in filling {
        if body.len() + field.len() + rest > BODY {
            return;
        }
        body.push_str(field);
    }
}

fn invoice_paid(event: &Event, filling: &[String]) -> String {
    let (key, line, created) = (key(event.n), uuid(LINE, event.n), event.created);
    let (start, end) = (event.created, event.period_end);
    let invoice = event.invoice();
    let mut body = String::with_capacity(BODY + 200);
    let _ = write!(
        body,
        r#"{{"id":"{id}","object":"event","api_version":"2026-10-28.endive","created":{created},"data":{{"object":{{"id":"{invoice}","object":"invoice","account_country":"DE","account_name":"Morrowfield","amount_due":3000,"amount_overpaid":0,"amount_paid":3000,"amount_remaining":0,"amount_shipping":0,"application":null,"attempt_count":1,"attempted":true,"auto_advance":false,"automatic_tax":{{"disabled_reason":null,"enabled":false,"liability":null,"provider":null,"status":null}},"billing_reason":"subscription_cycle","collection_method":"charge_automatically","created":{created},"currency":"eur","customer":"cus_{key}","customer_email":null,"default_tax_rates":[],"discounts":[],"ending_balance":0,"hosted_invoice_url":"https://invoice.stripe.com/i/acct_1Bench/test_{key}","lines":{{"object":"list","data":[{{"id":"il_{key}","object":"line_item","amount":3000,"currency":"eur","description":"1 × Annual membership (at €30.00 / year)","discount_amounts":[],"discountable":true,"discounts":[],"invoice":"{invoice}","livemode":false,"metadata":{{"dues_subscription_id":"{line}"}},"parent":{{"invoice_item_details":null,"subscription_item_details":{{"invoice_item":null,"proration":false,"proration_details":{{"credited_items":null}},"subscription":"sub_{key}","subscription_item":"si_{key}"}},"type":"subscription_item_details"}},"period":{{"end":{end},"start":{start}}},"pretax_credit_amounts":[],"pricing":{{"price_details":{{"price":"{PRICE}","product":"prod_Bench"}},"type":"price_details","unit_amount_decimal":"3000"}},"quantity":1,"taxes":[]}}],"has_more":false,"total_count":1,"url":"/v1/invoices/{invoice}/lines"}},"livemode":false,"metadata":{{}},"number":"BENCH-{number:08}","parent":{{"quote_details":null,"subscription_details":{{"metadata":{{"dues_subscription_id":"{line}"}},"subscription":"sub_{key}"}},"type":"subscription_details"}},"period_end":{created},"period_start":{created},"status":"paid","status_transitions":{{"finalized_at":{created},"marked_uncollectible_at":null,"paid_at":{created},"voided_at":null}},"subtotal":3000,"total":3000,"total_taxes":[]"#,
        id = event.id(),
        number = event.number,
    );
    let end = r#"}},"livemode":false,"pending_webhooks":1,"request":{"id":null,"idempotency_key":null},"type":"invoice.paid"}"#;
    fill(&mut body, filling, end.len());
    body.push_str(end);
    body
}

fn subscription_updated(event: &Event, filling: &[String]) -> String {
    let (key, line, created) = (key(event.n), uuid(LINE, event.n), event.created);
    let end = event.period_end;
    let mut body = String::with_capacity(BODY + 200);
    let _ = write!(
        body,
        r#"{{"id":"{id}","object":"event","api_version":"2026-10-28.endive","created":{created},"data":{{"object":{{"id":"sub_{key}","object":"subscription","application":null,"application_fee_percent":null,"automatic_tax":{{"disabled_reason":null,"enabled":false,"liability":null}},"billing_cycle_anchor":1700000000,"billing_mode":{{"flexible":null,"type":"classic"}},"billing_thresholds":null,"cancel_at":null,"cancel_at_period_end":false,"canceled_at":null,"cancellation_details":{{"comment":null,"feedback":null,"reason":null}},"collection_method":"charge_automatically","created":1700000000,"currency":"eur","customer":"cus_{key}","days_until_due":null,"default_payment_method":"pm_{key}","default_tax_rates":[],"description":null,"discounts":[],"ended_at":null,"invoice_settings":{{"account_tax_ids":null,"issuer":{{"type":"self"}}}},"items":{{"object":"list","data":[{{"id":"si_{key}","object":"subscription_item","billing_thresholds":null,"created":1700000000,"current_period_end":{end},"current_period_start":{created},"discounts":[],"metadata":{{}},"plan":{{"id":"{PRICE}","object":"plan","active":true,"amount":3000,"billing_scheme":"per_unit","currency":"eur","interval":"year","interval_count":1,"livemode":false,"product":"prod_Bench","usage_type":"licensed"}},"price":{{"id":"{PRICE}","object":"price","active":true,"billing_scheme":"per_unit","created":1700000000,"currency":"eur","livemode":false,"lookup_key":"membership_annual","metadata":{{}},"nickname":null,"product":"prod_Bench","recurring":{{"interval":"year","interval_count":1,"meter":null,"trial_period_days":null,"usage_type":"licensed"}},"tax_behavior":"unspecified","type":"recurring","unit_amount":3000,"unit_amount_decimal":"3000"}},"quantity":1,"subscription":"sub_{key}","tax_rates":[]}}],"has_more":false,"total_count":1,"url":"/v1/subscription_items?subscription=sub_{key}"}},"latest_invoice":"in_{key}","livemode":false,"metadata":{{"dues_subscription_id":"{line}"}},"next_pending_invoice_item_invoice":null,"on_behalf_of":null,"pause_collection":null,"payment_settings":{{"payment_method_options":null,"payment_method_types":null,"save_default_payment_method":"off"}},"quantity":1,"schedule":null,"start_date":1700000000,"status":"active","trial_end":null,"trial_start":null"#,
        id = event.id(),
    );
    let end = r#"},"previous_attributes":{"latest_invoice":"in_1"}},"livemode":false,"pending_webhooks":1,"request":{"id":null,"idempotency_key":null},"type":"customer.subscription.updated"}"#;
    fill(&mut body, filling, end.len());
    body.push_str(end);
    body
}
