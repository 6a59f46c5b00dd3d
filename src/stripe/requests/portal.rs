//! Stripe's customer portal.

use stripe_billing::BillingPortalSessionLocale;
use stripe_billing::billing_portal_session::{
    CreateBillingPortalSession, CreateBillingPortalSessionFlowData,
    CreateBillingPortalSessionFlowDataAfterCompletion,
    CreateBillingPortalSessionFlowDataAfterCompletionRedirect,
    CreateBillingPortalSessionFlowDataAfterCompletionType as After,
    CreateBillingPortalSessionFlowDataSubscriptionCancel,
    CreateBillingPortalSessionFlowDataType as FlowType,
};
use stripe_client_core::StripeRequest as _;

use crate::stripe::client::{Operation, Stripe, StripeError};
use crate::stripe::objects::PortalSession;

/// A portal session to be opened.
#[derive(Clone, Debug)]
pub struct NewPortalSession<'a> {
    /// `cus_…`.
    pub customer: &'a str,
    /// Where the portal leads back to.
    pub return_url: &'a str,
    /// The page's language; none lets the browser choose.
    pub locale: Option<&'a str>,
    /// `bpc_…`; none takes the account's own.
    pub configuration: Option<&'a str>,
    /// The one thing to do there; none shows everything.
    pub flow: Option<Flow<'a>>,
}

/// One thing to do in the portal.
#[derive(Clone, Copy, Debug)]
pub enum Flow<'a> {
    /// Enter another card or account.
    PaymentMethodUpdate,
    /// Cancel this subscription: `sub_…`.
    SubscriptionCancel(&'a str),
}

/// Whether the portal speaks that language.
pub fn is_locale(text: &str) -> bool {
    !matches!(
        text.parse::<BillingPortalSessionLocale>(),
        Ok(BillingPortalSessionLocale::Unknown(_))
    )
}

impl Stripe {
    /// Opens the customer portal: the answer's address is good for minutes, and for whoever has it.
    pub async fn create_portal_session(
        &self,
        new: &NewPortalSession<'_>,
    ) -> Result<PortalSession, StripeError> {
        let mut request = CreateBillingPortalSession::new()
            .customer(new.customer)
            .return_url(new.return_url);
        if let Some(locale) = new.locale {
            let locale: BillingPortalSessionLocale =
                locale.parse().unwrap_or_else(|never| match never {});
            request = request.locale(locale);
        }
        if let Some(configuration) = new.configuration {
            request = request.configuration(configuration);
        }
        if let Some(flow) = new.flow {
            request = request.flow_data(flow_data(flow, new.return_url));
        }
        Ok(self
            .call(Operation::CreatePortalSession, request.build(), None)
            .await?
            .body)
    }
}

/// One thing to do, and then back.
fn flow_data(flow: Flow<'_>, return_url: &str) -> CreateBillingPortalSessionFlowData {
    let mut data = match flow {
        Flow::PaymentMethodUpdate => {
            CreateBillingPortalSessionFlowData::new(FlowType::PaymentMethodUpdate)
        }
        Flow::SubscriptionCancel(subscription) => {
            let mut data = CreateBillingPortalSessionFlowData::new(FlowType::SubscriptionCancel);
            let cancel = CreateBillingPortalSessionFlowDataSubscriptionCancel::new(subscription);
            data.subscription_cancel = Some(cancel);
            data
        }
    };
    let mut after = CreateBillingPortalSessionFlowDataAfterCompletion::new(After::Redirect);
    let redirect = CreateBillingPortalSessionFlowDataAfterCompletionRedirect::new(return_url);
    after.redirect = Some(redirect);
    data.after_completion = Some(after);
    data
}
