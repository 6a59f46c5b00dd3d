//! Prices.

use stripe_client_core::StripeRequest as _;
use stripe_product::price::{ListPrice, RetrievePrice};

use super::PAGE;
use crate::stripe::client::{Answer, Operation, Stripe, StripeError};
use crate::stripe::objects::{List, Price};

/// Stripe takes no more lookup keys at once.
pub const MAX_LOOKUP_KEYS: usize = 10;

impl Stripe {
    /// The active prices with these lookup keys, at most [`MAX_LOOKUP_KEYS`], with product and other currencies.
    pub async fn list_prices(
        &self,
        lookup_keys: Vec<String>,
    ) -> Result<Answer<List<Price>>, StripeError> {
        let expand = ["data.product", "data.currency_options"].map(str::to_owned);
        let request = ListPrice::new()
            .active(true)
            .lookup_keys(lookup_keys)
            .expand(expand)
            .limit(PAGE);
        self.call(Operation::ListPrices, request.build(), None)
            .await
    }

    /// The archived prices with these lookup keys, at most [`MAX_LOOKUP_KEYS`].
    pub async fn list_archived_prices(
        &self,
        lookup_keys: Vec<String>,
    ) -> Result<Vec<Price>, StripeError> {
        let request = ListPrice::new()
            .active(false)
            .lookup_keys(lookup_keys)
            .limit(PAGE);
        let answer: Answer<List<Price>> = self
            .call(Operation::ListPrices, request.build(), None)
            .await?;
        Ok(answer.body.data)
    }

    /// All active prices, newest first, one page after the price `after`.
    pub async fn list_active_prices(
        &self,
        after: Option<&str>,
    ) -> Result<List<Price>, StripeError> {
        let mut request = ListPrice::new().active(true).limit(PAGE);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        Ok(self
            .call(Operation::ListPrices, request.build(), None)
            .await?
            .body)
    }

    /// A price by its id, with product and other currencies.
    pub async fn retrieve_price(&self, id: &str) -> Result<Answer<Price>, StripeError> {
        let request =
            RetrievePrice::new(id).expand(["product", "currency_options"].map(str::to_owned));
        self.call(Operation::RetrievePrice, request.build(), None)
            .await
    }
}
