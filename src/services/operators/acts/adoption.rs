//! A subscription that somebody made at Stripe by hand becomes a member's row. What it is judged by is what `dues adopt`
//! judges by; here an operator says whose it is.

use std::collections::HashMap;

use super::{About, ActError, Acted, Ask, Ended, Preview, Verb, may_act_on};
use crate::domain::actor::By;
use crate::domain::facts::Freshness;
use crate::domain::ids::{SubscriptionId, UserId};
use crate::domain::subscription::{Basket, Subscription};
use crate::purchases::{Adopted, Adoption, Error};
use crate::services::operators::Operators;
use crate::services::operators::adopt::{AdoptError, Bucket, Entry, How, Source};
use crate::services::operators::adopt::{Judged, Walk};
use crate::storage::actions::ActionRow;
use crate::storage::baskets::{self, Question};
use crate::storage::{checkouts, subscriptions};
use crate::stripe::objects::{self, id_of};
use crate::stripe::observe::News;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct AdoptionAsked {
    /// `sub_…`.
    pub stripe_subscription: String,
    /// Whose it is to be.
    pub user: UserId,
    /// The plan, where its price belongs to none any more.
    pub plan: Option<String>,
}

/// What would become a row.
#[derive(Clone, Debug)]
pub struct AdoptionPreview {
    /// `sub_…`.
    pub stripe_subscription: String,
    /// Stripe's word for how it stands.
    pub status: String,
    /// `price_…`.
    pub price: String,
    /// The plan's code.
    pub plan: String,
    /// How many of it.
    pub quantity: i32,
    /// `cus_…`.
    pub customer: String,
    /// Whose that customer is with us, where it is somebody's.
    pub customer_is: Option<UserId>,
    /// What the member holds already.
    pub holds: Vec<Subscription>,
}

/// What was found: something to adopt, or a row whose adoption was cut off.
enum Found {
    Wanted(Box<Adoption>),
    Unfinished(Box<Basket>),
}

impl Operators {
    /// What adopting would do.
    pub async fn preview_adoption(&self, asked: &AdoptionAsked) -> Result<Preview, ActError> {
        let (stripe, found) = self.find_adoptable(asked).await?;
        let holds = subscriptions::find_not_ended(&self.pool, &asked.user).await?;
        let customer = id_of(stripe.customer.as_ref()).unwrap_or_default();
        let customer_is = checkouts::find_member_of(&self.pool, &customer).await?;
        let (plan, quantity) = match &found {
            Found::Wanted(new) => (new.plan.code.clone(), new.quantity),
            Found::Unfinished(basket) => basket
                .recurring()
                .map(|line| (line.plan.clone(), line.quantity))
                .unwrap_or_default(),
        };
        Ok(Preview::Adopt(Box::new(AdoptionPreview {
            price: stripe.price_id().unwrap_or_default().to_owned(),
            status: stripe.status.unwrap_or_default(),
            stripe_subscription: stripe.id,
            plan,
            quantity,
            customer,
            customer_is,
            holds,
        })))
    }

    /// Makes it the member's.
    pub async fn adopt_one_for(&self, asked: &AdoptionAsked, ask: &Ask) -> Result<Acted, ActError> {
        if let Some(action) = self.repeated(ask).await? {
            return Ok(Acted {
                line: self.line_at(&asked.stripe_subscription).await?,
                action,
            });
        }
        may_act_on(&ask.staff, &asked.user)?;
        let (_, found) = self.find_adoptable(asked).await?;
        let subject = asked.stripe_subscription.as_str();
        let about = About::new(Verb::Adopt, subject, Some(&asked.user));
        if let Some(action) = self.begin(ask, &about).await? {
            return Ok(Acted { action, line: None });
        }
        let ended = self.adopt_found(found, asked, ask).await;
        let line = self.line_at(&asked.stripe_subscription).await?;
        let ended = match ended {
            // The row is there, and what it lacks is read by whoever looks after acts: it is no refusal any more.
            Err(ActError::Failed(error)) if line.is_some() => {
                tracing::warn!(action_id = %ask.key, %error, "an adoption is not at its end yet");
                Ok(Ended::unknown("not_read_in"))
            }
            ended => ended,
        };
        let action = self.conclude(ask.key, ended).await?;
        Ok(Acted { action, line })
    }

    async fn adopt_found(
        &self,
        found: Found,
        asked: &AdoptionAsked,
        ask: &Ask,
    ) -> Result<Ended, ActError> {
        // What it was paid before belongs to the past: nobody is to be greeted for it.
        let by = &By {
            is_import: true,
            ..Self::by(ask)
        };
        let finished = match found {
            Found::Wanted(new) => match self.purchases.adopt_subscription(&new, by).await? {
                Adopted::Done(finished) => finished,
                Adopted::Known | Adopted::Held | Adopted::IdTaken => {
                    return Err(ActError::HeldAlready);
                }
                Adopted::OtherMember => return Err(ActError::OtherCustomer),
            },
            Found::Unfinished(basket) => {
                Box::new(self.purchases.finish_adoption(*basket, by).await?)
            }
        };
        if let Some(customer) = &finished.basket.checkout.stripe_customer {
            let client = &self.purchases.account.client;
            match client.tag_customer(customer, &asked.user).await {
                Ok(_) => {}
                // The row and the subscription's mark are what counts.
                Err(error) => {
                    tracing::warn!(%error, "a customer could not be marked as the member's");
                }
            }
        }
        let outcome = if finished.flags.is_empty() {
            "adopted"
        } else {
            "needs_a_person"
        };
        Ok(Ended::done(outcome))
    }

    /// Reads the subscription, and judges whether it can be the member's.
    async fn find_adoptable(
        &self,
        asked: &AdoptionAsked,
    ) -> Result<(objects::Subscription, Found), ActError> {
        let client = &self.purchases.account.client;
        let answer = match client
            .retrieve_subscription(&asked.stripe_subscription)
            .await
        {
            Err(error) if error.is_no_such_object() => {
                return Err(wrong(
                    "stripe_subscription_id",
                    "Stripe has no such subscription.",
                ));
            }
            answer => answer?,
        };
        // Whoever made the customer may have said whose it is, where our rows don't.
        if let Some(customer) = id_of(answer.body.customer.as_ref()) {
            let person = client.retrieve_customer(&customer).await?;
            if person
                .user()
                .is_some_and(|user| user != asked.user.as_str())
            {
                return Err(ActError::OtherCustomer);
            }
        }
        let observer = &self.purchases.account.observer;
        let said = observer.subscription(&answer.body, answer.at, Freshness::Live, News::Plain);
        let mut question = Question::default();
        if let Ok(said) = &said {
            question.about(&said.subject);
        }
        let rows = baskets::find(&self.pool, &question).await?.baskets;
        let price = answer.body.price_id().map(str::to_owned);
        let given = price.zip(asked.plan.clone());
        let how = How {
            user_from: Source::Given(asked.user.as_str().to_owned()),
            id_from: None,
            plans: HashMap::from_iter(given),
            again: true,
            apply: true,
        };
        let priced = self.purchases.catalogue.priced().await;
        let offers = priced.map_err(Error::from)?.offers;
        let plans = match self.given_plans(&how, &offers) {
            // Its price is sold: then it is on that plan, and naming it again is no mistake.
            Err(AdoptError::SoldPrice { sold, plan, .. }) if sold == plan => HashMap::new(),
            Err(AdoptError::SoldPrice { sold, .. }) => {
                return Err(wrong(
                    "plan",
                    &format!("Its price is that of the plan {sold}."),
                ));
            }
            Err(_) => return Err(wrong("plan", "There is no plan of that code that renews.")),
            Ok(plans) => plans,
        };
        let mut walk = Walk::new(&how, &offers, plans);
        let judged = self.judge(&mut walk, &answer.body, &said, &rows).await?;
        let found = match judged {
            Judged::Wanted(_, new) => Found::Wanted(new),
            Judged::Unfinished(_, basket) if basket.checkout.user == asked.user => {
                Found::Unfinished(basket)
            }
            Judged::Unfinished(..) => return Err(ActError::HeldAlready),
            Judged::Left(entry) => return Err(obstacle(&entry)),
        };
        Ok((answer.body, found))
    }

    async fn line_at(&self, stripe: &str) -> Result<Option<SubscriptionId>, ActError> {
        let subject = crate::domain::facts::Subject::stripe_subscription(stripe);
        let basket = self.purchases.find_one(&subject).await?;
        let line = basket.as_ref().and_then(Basket::recurring);
        Ok(line.map(|line| line.id))
    }

    /// What came of an adoption that was cut off. A row that lacks its past is given it: that is no second effect, for each
    /// step of it leads to the same end.
    pub(super) async fn adoption_ended(
        &self,
        action: &ActionRow,
        is_late: bool,
    ) -> Result<Option<Ended>, ActError> {
        let subject = crate::domain::facts::Subject::stripe_subscription(&action.subject);
        let Some(basket) = self.purchases.find_one(&subject).await? else {
            return Ok(is_late.then(|| Ended::refused("cut_off")));
        };
        // Somebody else may have been given it since.
        if action.user_id.as_deref() != Some(basket.checkout.user.as_str()) {
            return Ok(Some(Ended::refused("held_already")));
        }
        let by = By {
            is_import: true,
            ..By::operator(&UserId::new(&action.actor), action.id)
        };
        let client = &self.purchases.account.client;
        let stripe = client.retrieve_subscription(&action.subject).await?.body;
        if crate::purchases::Purchases::is_unfinished(&basket, &stripe) {
            self.purchases.finish_adoption(basket, &by).await?;
        }
        Ok(Some(Ended::done("adopted")))
    }
}

fn wrong(field: &str, detail: &str) -> ActError {
    ActError::invalid(field, "unknown_value", detail)
}

/// Why it can't be the member's, for her who asks.
fn obstacle(entry: &Entry) -> ActError {
    let field = "stripe_subscription_id";
    match entry.bucket {
        Bucket::AlreadyOurs | Bucket::HeldAlready | Bucket::IdTaken => ActError::HeldAlready,
        Bucket::NoPlan => ActError::PriceOfNoPlan,
        Bucket::OtherMember => ActError::OtherCustomer,
        Bucket::Ended => wrong(field, "It has ended."),
        Bucket::Incomplete => wrong(field, "Its first payment has not come."),
        Bucket::SeveralItems => wrong(
            field,
            "It bills several things at once: a row can only be one.",
        ),
        Bucket::NoUser => wrong(
            "user_id",
            "This can't be a member's id, or it has no customer.",
        ),
        Bucket::WrongMode => wrong(field, "It is of the other mode, test or live."),
        _ => {
            let detail = entry.detail.as_deref().unwrap_or(entry.bucket.as_str());
            wrong(field, &format!("It can't be taken over: {detail}."))
        }
    }
}
