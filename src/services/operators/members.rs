//! What is known of a member, and, for who may know, who she is.

use time::OffsetDateTime;

use super::Operators;
use super::acts::Verb;
use super::describe::Described;
use crate::domain::actor::Staff;
use crate::domain::ids::{ActionId, UserId, is_external_id};
use crate::domain::listing::Wanted;
use crate::purchases::Error;
use crate::storage::actions::{self, BeginError, NewAction, Outcome};
use crate::storage::customers;

/// So many of a member's subscriptions are shown, the newest.
const SHOWN: i64 = 200;
/// So many of a member's customers are read at Stripe: she has one a currency, and those that were replaced.
const CUSTOMERS: usize = 8;

/// What is known of a member.
#[derive(Clone, Debug)]
pub struct Member {
    /// What she holds and held, newest first.
    pub subscriptions: Vec<Described>,
    /// Currency and `cus_…` of each customer that she ever was.
    pub customers: Vec<(String, String)>,
}

/// What a customer at Stripe is called.
#[derive(Clone, Debug)]
pub struct Called {
    /// `cus_…`.
    pub customer: String,
    /// ISO 4217, lower case.
    pub currency: String,
    /// As she wrote it.
    pub name: Option<String>,
    /// As she wrote it.
    pub email: Option<String>,
}

/// Who looks at what, where names are shown.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Who.
    pub staff: &'a Staff,
    /// Of the request, as in the log.
    pub request_id: &'a str,
}

impl Operators {
    /// What is known of a member; none if nothing is.
    pub async fn member(&self, user: &UserId) -> Result<Option<Member>, Error> {
        if !is_external_id(user.as_str()) {
            return Ok(None);
        }
        let wanted = Wanted {
            user: Some(user.clone()),
            limit: SHOWN,
            ..Wanted::default()
        };
        let subscriptions = self.list(&wanted).await?;
        let customers = customers::find_of_user_ever(&self.pool, user).await?;
        let is_known = !subscriptions.is_empty() || !customers.is_empty();
        Ok(is_known.then(|| Member {
            subscriptions: subscriptions.into_iter().map(|(_, one)| one).collect(),
            customers,
        }))
    }

    /// What a member's customers at Stripe are called; none if nothing is known of her. It is recorded that it was looked
    /// at, or not shown.
    pub async fn reveal(
        &self,
        user: &UserId,
        look: Look<'_>,
    ) -> Result<Option<Vec<Called>>, Error> {
        let Some(member) = self.member(user).await? else {
            return Ok(None);
        };
        let client = &self.purchases.account.client;
        let mut called = Vec::new();
        for (currency, customer) in member.customers.into_iter().take(CUSTOMERS) {
            let person = match client.retrieve_customer(&customer).await {
                Ok(person) => Some(person),
                Err(error) if error.is_no_such_object() => None,
                Err(error) => return Err(error.into()),
            };
            let (name, email) = person.map_or((None, None), |person| (person.name, person.email));
            called.push(Called {
                customer,
                currency,
                name,
                email,
            });
        }
        self.record_look(look, user.as_str(), Some(user.as_str()))
            .await?;
        Ok(Some(called))
    }

    /// Records that somebody looked at a name, once an hour: before it is shown.
    pub(super) async fn record_look(
        &self,
        look: Look<'_>,
        subject: &str,
        user: Option<&str>,
    ) -> Result<(), Error> {
        let now: OffsetDateTime = self.purchases.clock.now();
        let id = ActionId::new(now).0;
        let new = NewAction {
            id,
            at: now,
            actor: look.staff.user.as_str(),
            role: look.staff.role.as_str(),
            request_id: Some(look.request_id),
            request_hash: &[],
            verb: Verb::Reveal.as_str(),
            subject,
            user_id: user,
            target: None,
            wanted: 1,
            reason: None,
            reference: None,
            parent: None,
        };
        match actions::begin(&self.pool, &new).await {
            Ok(()) => {}
            // Told within this hour already.
            Err(BeginError::Busy) => return Ok(()),
            Err(BeginError::Known) => return Err(Error::Contended),
            Err(BeginError::Storage(error)) => return Err(error.into()),
        }
        let shown = Outcome {
            state: "done",
            outcome: "shown",
            found: None,
        };
        actions::finish(&self.pool, id, shown, now).await?;
        Ok(())
    }
}
