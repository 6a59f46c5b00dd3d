//! Customers and their Checkout Sessions.

use std::convert::Infallible;
use std::str::FromStr;

use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionAdaptivePricing, CreateCheckoutSessionAutomaticTax,
    CreateCheckoutSessionBrandingSettings, CreateCheckoutSessionBrandingSettingsFontFamily,
    CreateCheckoutSessionBrandingSettingsIcon, CreateCheckoutSessionBrandingSettingsIconType,
    CreateCheckoutSessionBrandingSettingsLogo, CreateCheckoutSessionBrandingSettingsLogoType,
    CreateCheckoutSessionConsentCollection, CreateCheckoutSessionConsentCollectionTermsOfService,
    CreateCheckoutSessionCustomText, CreateCheckoutSessionCustomerUpdate,
    CreateCheckoutSessionCustomerUpdateAddress, CreateCheckoutSessionCustomerUpdateName,
    CreateCheckoutSessionLineItems, CreateCheckoutSessionLineItemsAdjustableQuantity,
    CreateCheckoutSessionLineItemsPriceData,
    CreateCheckoutSessionLineItemsPriceDataTaxBehavior as PriceDataTaxBehavior,
    CreateCheckoutSessionPaymentIntentData, CreateCheckoutSessionSubscriptionData,
    CreateCheckoutSessionTaxIdCollection, CustomTextPositionParam, ExpireCheckoutSession,
    ListCheckoutSession, ListLineItemsCheckoutSession, RetrieveCheckoutSession,
};
use stripe_client_core::StripeRequest as _;
use stripe_core::customer::CreateCustomer;
use stripe_shared::{CheckoutSessionLocale, CheckoutSessionMode, CheckoutSessionSubmitType};
use time::OffsetDateTime;

use super::{CHECKOUT_KEY, PAGE, USER_KEY, before, currency_of, metadata, since};
use crate::domain::ids::{CheckoutId, CustomerId, SubscriptionId, UserId};
use crate::domain::plan::TaxBehavior;
use crate::settings::{Branding, CheckoutPage};
use crate::stripe::client::{Answer, Operation, Stripe, StripeError};
use crate::stripe::objects::{LineItem, List, Reference, Session};

/// A Checkout Session to be opened. Equal values give equal requests, as idempotency wants.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Ours; also the idempotency key.
    pub checkout: CheckoutId,
    /// `cus_…`.
    pub customer: String,
    /// Whether Stripe refused another customer for this checkout before.
    pub replaced: bool,
    /// The currency, if it is not the prices' own.
    pub currency: Option<String>,
    /// The page's language; none lets the browser choose.
    pub locale: Option<String>,
    /// What the page shows and asks for.
    pub page: CheckoutPage,
    /// Whether the page takes promotion codes.
    pub promotion_codes: bool,
    /// Days before the first payment of the line that renews.
    pub trial_days: Option<u32>,
    /// Whether nothing is bought: the button then says so.
    pub is_donation: bool,
    /// At least one.
    pub lines: Vec<NewLine>,
    /// With the placeholder `{CHECKOUT_SESSION_ID}`.
    pub success_url: String,
    /// The page's back link.
    pub cancel_url: String,
    /// 30 minutes to 24 hours from now.
    pub expires_at: OffsetDateTime,
}

/// A line of a session to be opened.
#[derive(Clone, Debug)]
pub struct NewLine {
    /// Ours.
    pub subscription: SubscriptionId,
    /// Whether its price renews.
    pub recurring: bool,
    /// What it costs.
    pub price: LinePrice,
    /// How many.
    pub quantity: u32,
    /// Between which bounds the buyer may change that on the page.
    pub adjustable: Option<(u32, u32)>,
}

/// What a line costs.
#[derive(Clone, Debug)]
pub enum LinePrice {
    /// A price of the catalogue: `price_…`.
    Catalogue(String),
    /// An amount that the buyer chose.
    Chosen {
        /// `prod_…`.
        product: String,
        /// ISO 4217, lower case.
        currency: String,
        /// Minor units.
        unit_amount: i64,
        /// Whether these contain the tax.
        tax_behavior: Option<TaxBehavior>,
    },
}

/// What the settings ask of every page.
fn with_page(mut request: CreateCheckoutSession, page: &CheckoutPage) -> CreateCheckoutSession {
    if page.automatic_tax {
        request = request.automatic_tax(CreateCheckoutSessionAutomaticTax::new(true));
    }
    if page.tax_id_collection {
        request = request.tax_id_collection(CreateCheckoutSessionTaxIdCollection::new(true));
    }
    if page.automatic_tax || page.tax_id_collection {
        // Our customers have neither name nor address: Stripe takes those that the buyer enters.
        let mut update = CreateCheckoutSessionCustomerUpdate::new();
        update.address = Some(CreateCheckoutSessionCustomerUpdateAddress::Auto);
        update.name = Some(CreateCheckoutSessionCustomerUpdateName::Auto);
        request = request.customer_update(update);
    }
    if page.terms_of_service {
        let mut consent = CreateCheckoutSessionConsentCollection::new();
        consent.terms_of_service =
            Some(CreateCheckoutSessionConsentCollectionTermsOfService::Required);
        request = request.consent_collection(consent);
    }
    let texts = &page.custom_text;
    if texts.submit.is_some() || texts.after_submit.is_some() || texts.terms_of_service.is_some() {
        let mut custom = CreateCheckoutSessionCustomText::new();
        custom.submit = texts.submit.clone().map(CustomTextPositionParam::new);
        custom.after_submit = texts.after_submit.clone().map(CustomTextPositionParam::new);
        custom.terms_of_service_acceptance = texts
            .terms_of_service
            .clone()
            .map(CustomTextPositionParam::new);
        request = request.custom_text(custom);
    }
    match branding(&page.branding) {
        Some(branding) => request.branding_settings(branding),
        None => request,
    }
}

fn branding(given: &Branding) -> Option<CreateCheckoutSessionBrandingSettings> {
    let Branding {
        display_name,
        background_color,
        button_color,
        border_style,
        font_family,
        logo_url,
        icon_url,
    } = given;
    let texts = [
        display_name,
        background_color,
        button_color,
        border_style,
        font_family,
    ];
    if texts.iter().all(|text| text.is_none()) && logo_url.is_none() && icon_url.is_none() {
        return None;
    }
    let mut branding = CreateCheckoutSessionBrandingSettings::new();
    branding.display_name.clone_from(display_name);
    branding.background_color.clone_from(background_color);
    branding.button_color.clone_from(button_color);
    branding.border_style = border_style.as_deref().map(parsed);
    branding.font_family = font_family.as_deref().map(parsed);
    branding.logo = logo_url.as_ref().map(|url| {
        let mut logo = CreateCheckoutSessionBrandingSettingsLogo::new(
            CreateCheckoutSessionBrandingSettingsLogoType::Url,
        );
        logo.url = Some(url.to_string());
        logo
    });
    branding.icon = icon_url.as_ref().map(|url| {
        let mut icon = CreateCheckoutSessionBrandingSettingsIcon::new(
            CreateCheckoutSessionBrandingSettingsIconType::Url,
        );
        icon.url = Some(url.to_string());
        icon
    });
    Some(branding)
}

/// Whether Stripe's page has that font.
pub fn is_font(text: &str) -> bool {
    !matches!(
        text.parse::<CreateCheckoutSessionBrandingSettingsFontFamily>(),
        Ok(CreateCheckoutSessionBrandingSettingsFontFamily::Unknown(_))
    )
}

/// Whether Stripe's page speaks that language.
pub fn is_locale(text: &str) -> bool {
    !matches!(
        text.parse::<CheckoutSessionLocale>(),
        Ok(CheckoutSessionLocale::Unknown(_))
    )
}

impl Stripe {
    /// Creates the customer of a user in one currency; the same generation gives the same customer.
    pub async fn create_customer(
        &self,
        id: CustomerId,
        generation: i32,
        user: &UserId,
        email: Option<&str>,
    ) -> Result<String, StripeError> {
        let mut request =
            CreateCustomer::new().metadata(metadata([(USER_KEY, user.as_str().to_owned())]));
        if let Some(email) = email {
            request = request.email(email);
        }
        let key = format!("customer:{id}:{generation}");
        let answer: Answer<Reference> = self
            .call(Operation::CreateCustomer, request.build(), Some(&key))
            .await?;
        Ok(answer.body.id)
    }

    /// Opens a Checkout Session with our ids in every place from which Stripe carries them on. The idempotency key is
    /// the checkout's id, and with a customer who replaces another one also hers: Stripe may have stored its refusal.
    pub async fn create_session(&self, new: &NewSession) -> Result<Session, StripeError> {
        let all = new
            .lines
            .iter()
            .map(|line| line.subscription.to_string())
            .collect::<Vec<_>>()
            .join(",");
        let key = self.metadata_key.as_str();
        let recurring = new.lines.iter().find(|line| line.recurring);
        let mut request = CreateCheckoutSession::new()
            .adaptive_pricing(CreateCheckoutSessionAdaptivePricing {
                enabled: Some(false),
            })
            .client_reference_id(new.checkout.to_string())
            .customer(&new.customer)
            .expires_at(new.expires_at.unix_timestamp())
            .line_items(
                new.lines
                    .iter()
                    .map(|line| self.line_item(line))
                    .collect::<Vec<_>>(),
            )
            .metadata(metadata([
                (CHECKOUT_KEY, new.checkout.to_string()),
                (key, all.clone()),
            ]))
            .success_url(&new.success_url)
            .cancel_url(&new.cancel_url);
        request = if let Some(line) = recurring {
            let mut data = CreateCheckoutSessionSubscriptionData::new();
            data.metadata = Some(metadata([(key, line.subscription.to_string())]));
            data.trial_period_days = new.trial_days;
            request
                .mode(CheckoutSessionMode::Subscription)
                .subscription_data(data)
        } else {
            let mut data = CreateCheckoutSessionPaymentIntentData::new();
            data.metadata = Some(metadata([(key, all)]));
            let submit = if new.is_donation {
                CheckoutSessionSubmitType::Donate
            } else {
                CheckoutSessionSubmitType::Pay
            };
            request
                .mode(CheckoutSessionMode::Payment)
                .payment_intent_data(data)
                .submit_type(submit)
        };
        if new.promotion_codes {
            request = request.allow_promotion_codes(true);
        }
        request = with_page(request, &new.page);
        if let Some(currency) = &new.currency {
            request = request.currency(currency_of(currency));
        }
        if let Some(locale) = &new.locale {
            request = request.locale(parsed::<CheckoutSessionLocale>(locale));
        }
        let key = if new.replaced {
            format!("{}:{}", new.checkout, new.customer)
        } else {
            new.checkout.to_string()
        };
        Ok(self
            .call(Operation::CreateSession, request.build(), Some(&key))
            .await?
            .body)
    }

    fn line_item(&self, line: &NewLine) -> CreateCheckoutSessionLineItems {
        let mut item = CreateCheckoutSessionLineItems::new();
        item.metadata = Some(metadata([(
            self.metadata_key.as_str(),
            line.subscription.to_string(),
        )]));
        item.quantity = Some(line.quantity.into());
        item.adjustable_quantity = line.adjustable.map(|(min, max)| {
            let mut adjustable = CreateCheckoutSessionLineItemsAdjustableQuantity::new(true);
            adjustable.minimum = Some(min.into());
            adjustable.maximum = Some(max.into());
            adjustable
        });
        match &line.price {
            LinePrice::Catalogue(price) => item.price = Some(price.clone()),
            LinePrice::Chosen {
                product,
                currency,
                unit_amount,
                tax_behavior,
            } => {
                let mut data = CreateCheckoutSessionLineItemsPriceData::new(currency_of(currency));
                data.product = Some(product.clone());
                data.unit_amount = Some(*unit_amount);
                data.tax_behavior = tax_behavior.map(|behavior| match behavior {
                    TaxBehavior::Inclusive => PriceDataTaxBehavior::Inclusive,
                    TaxBehavior::Exclusive => PriceDataTaxBehavior::Exclusive,
                });
                item.price_data = Some(data);
            }
        }
        item
    }

    /// A Checkout Session with all that its payment left: what the verification of a return needs, in one call.
    pub async fn retrieve_session(&self, id: &str) -> Result<Answer<Session>, StripeError> {
        let expand = [
            "subscription",
            "invoice.payments",
            "line_items",
            "payment_intent.latest_charge",
        ];
        let request = RetrieveCheckoutSession::new(id).expand(expand.map(str::to_owned));
        self.call(Operation::RetrieveSession, request.build(), None)
            .await
    }

    /// All Checkout Sessions since `from`, newest first, with their payments, one page after the session `after`.
    pub async fn list_all_sessions(
        &self,
        from: OffsetDateTime,
        after: Option<&str>,
    ) -> Result<Answer<List<Session>>, StripeError> {
        let expand = ["data.payment_intent.latest_charge", "data.invoice"];
        let mut request = ListCheckoutSession::new()
            .created(since(from))
            .expand(expand.map(str::to_owned))
            .limit(PAGE);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        self.call(Operation::ListSessions, request.build(), None)
            .await
    }

    /// A customer's Checkout Sessions since `since`, newest first, one page after the session `after`.
    pub async fn list_sessions(
        &self,
        customer: &str,
        since: OffsetDateTime,
        after: Option<&str>,
    ) -> Result<Answer<List<Session>>, StripeError> {
        let created = stripe_types::RangeQueryTs::gte(since.unix_timestamp());
        let mut request = ListCheckoutSession::new()
            .customer(customer)
            .created(created)
            .limit(PAGE);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        self.call(Operation::ListSessions, request.build(), None)
            .await
    }

    /// A customer's Checkout Sessions made before `to`, newest first, with their lines, one page after the session
    /// `after`.
    pub async fn list_sessions_with_lines(
        &self,
        customer: &str,
        to: OffsetDateTime,
        after: Option<&str>,
    ) -> Result<Answer<List<Session>>, StripeError> {
        let mut request = ListCheckoutSession::new()
            .customer(customer)
            .created(before(to))
            .expand(["data.line_items".to_owned()])
            .limit(PAGE);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        self.call(Operation::ListSessions, request.build(), None)
            .await
    }

    /// The lines of a Checkout Session, one page after the line `after`.
    pub async fn list_session_lines(
        &self,
        session: &str,
        after: Option<&str>,
    ) -> Result<Answer<List<LineItem>>, StripeError> {
        let mut request = ListLineItemsCheckoutSession::new(session).limit(PAGE);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        self.call(Operation::ListSessionLines, request.build(), None)
            .await
    }

    /// Expires an open Checkout Session; refused when it is no longer open.
    pub async fn expire_session(&self, id: &str) -> Result<Answer<Session>, StripeError> {
        let request = ExpireCheckoutSession::new(id);
        // Without a key: asked again, Stripe says that it isn't open any more, and a stored failure would say so for a day.
        self.call(Operation::ExpireSession, request.build(), None)
            .await
    }
}

/// A value of one of Stripe's enums: each takes any text.
fn parsed<T: FromStr<Err = Infallible>>(text: &str) -> T {
    text.parse().unwrap_or_else(|never| match never {})
}
