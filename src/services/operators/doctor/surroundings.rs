//! What the service stands on and what stands around it: the database, the client app's pages, the service itself.

use reqwest::Client;
use reqwest::redirect::Policy;
use serde::Deserialize;
use url::Url;

use super::{Check, Doctor, Finding, Status, TIMEOUT, is_loopback};
use crate::storage::schema::{self, Schema};
use crate::storage::{self, MigrationError, StorageError, webhook_events};

/// Redirects that are followed to a page.
const REDIRECTS: usize = 3;
/// An event that waits for longer, in minutes, waits for a worker that does not run.
const DEFERRED_MINUTES: i64 = 10;

/// What `/healthz` and `/readyz` say.
#[derive(Deserialize)]
struct Health {
    status: String,
}

impl Doctor<'_> {
    pub(super) async fn database(&self, tell: &mut impl FnMut(Finding)) {
        let mut settings = self.settings.database.clone();
        settings.max_connections = 1;
        settings.acquire_timeout = settings.acquire_timeout.min(TIMEOUT);
        let looked = async {
            let pool = storage::connect(&settings).await?;
            let schema = schema::look(&pool).await?;
            Ok::<_, MigrationError>((pool, schema))
        };
        let looked = tokio::time::timeout(TIMEOUT, looked).await;
        match looked.unwrap_or_else(|_| Err(too_slow().into())) {
            Ok((pool, schema)) => {
                tell(database(&schema, settings.migrate));
                if schema.pending.is_empty() {
                    self.events(&pool, tell).await;
                } else {
                    tell(Check::Events.skip("migrations are pending"));
                }
            }
            Err(error) => {
                let advice = match &error {
                    MigrationError::Changed(_) => {
                        "run the version of Dues that migrated this database, or a newer one"
                    }
                    MigrationError::Database(_)
                    | MigrationError::Pending(_)
                    | MigrationError::Failed(_) => {
                        "is it running, and do host, user and password in DUES__DATABASE__URL fit?"
                    }
                };
                tell(Check::Database.fail(error.to_string(), advice));
                tell(Check::Events.skip("the database can't be asked"));
            }
        }
    }

    /// What webhooks have brought and what waits.
    async fn events(&self, pool: &sqlx::PgPool, tell: &mut impl FnMut(Finding)) {
        let looked = async {
            let backlog = webhook_events::find_backlog(pool).await?;
            let newest = webhook_events::find_newest_arrival(pool).await?;
            Ok::<_, StorageError>((backlog, newest))
        };
        let looked = tokio::time::timeout(TIMEOUT, looked).await;
        let (backlog, newest) = match looked.unwrap_or_else(|_| Err(too_slow().into())) {
            Ok(looked) => looked,
            Err(error) => {
                tell(Check::Events.fail(error.to_string(), "run it again"));
                return;
            }
        };
        let now = self.clock.wall();
        let mut well = true;
        for (count, state) in [(backlog.failed, "failed"), (backlog.flagged, "flagged")] {
            if count > 0 {
                well = false;
                tell(Check::Events.warn(
                    format!("{count} event(s) are {state} and want a person"),
                    format!("dues events list --state {state}"),
                ));
            }
        }
        let waiting = backlog.oldest_deferred.map(|at| (now - at).whole_minutes());
        if let Some(minutes) = waiting.filter(|minutes| *minutes > DEFERRED_MINUTES) {
            well = false;
            tell(Check::Events.warn(
                format!("an event has waited for {minutes} minutes to be settled"),
                "does `dues serve` run? its log says why it can't settle it",
            ));
        }
        if well {
            let newest = newest.map_or_else(
                || "none has come yet".to_owned(),
                |at| format!("the newest came {} min ago", (now - at).whole_minutes()),
            );
            tell(Check::Events.ok(format!("none has failed or is flagged; {newest}")));
        }
    }

    /// The pages to which a browser returns from Stripe.
    pub(super) async fn pages(&self, tell: &mut impl FnMut(Finding)) {
        let client = &self.settings.client;
        let Some(browser) = browser(tell, Check::Pages) else {
            return;
        };
        let elsewhere = self.is_played_elsewhere();
        let look = async |setting, url| page(&browser, elsewhere, setting, url).await;
        let (success, cancel, error, portal) = tokio::join!(
            look("DUES__CLIENT__SUCCESS_URL", &client.success_url),
            look("DUES__CLIENT__CANCEL_URL", &client.cancel_url),
            look("DUES__CLIENT__ERROR_URL", &client.error_url),
            look("DUES__CLIENT__PORTAL_RETURN_URL", &client.portal_return_url),
        );
        // Unless it is set it is the success page, of which one line is enough.
        let portal = portal.filter(|_| client.portal_return_url != client.success_url);
        let findings = [success, cancel, error, portal];
        if findings.iter().all(Option::is_none) {
            tell(Check::Pages.ok("the pages to which browsers return answer"));
        }
        findings.into_iter().flatten().for_each(tell);
    }

    /// The service, from where browsers and Stripe see it.
    pub(super) async fn service(&self, tell: &mut impl FnMut(Finding)) {
        let public = &self.settings.http.public_url;
        let Some(browser) = browser(tell, Check::Service) else {
            return;
        };
        let ask = async |path: &str| browser.get(format!("{public}{path}")).send().await;
        let advice = "start `dues serve`, and let DUES__HTTP__PUBLIC_URL lead to it (proxy, DNS, certificate)";
        let alive = match ask("healthz").await {
            Ok(response) => {
                let status = response.status();
                let health = response.json::<Health>().await;
                if health.is_ok_and(|health| health.status == "ok") {
                    Ok(())
                } else {
                    Err(format!(
                        "something else than Dues answers {status} at {public}healthz"
                    ))
                }
            }
            Err(error) => Err(format!(
                "nobody answers at {public}, as seen from here ({})",
                why(&error)
            )),
        };
        if let Err(detail) = alive {
            tell(Check::Service.fail(detail, advice));
            return;
        }
        tell(match ask("readyz").await {
            Ok(response) if response.status().is_success() => {
                Check::Service.ok(format!("it answers at {public} and is ready"))
            }
            Ok(_) | Err(_) => Check::Service.fail(
                format!("it answers at {public}, but is not ready"),
                "its log says why: most often the database is away, or migrations are pending",
            ),
        });
    }
}

/// What a database is said to be that takes a connection and then says nothing.
fn too_slow() -> sqlx::Error {
    sqlx::Error::PoolTimedOut
}

/// A client as patient as a browser is not; the page's content is nobody's business.
fn browser(tell: &mut impl FnMut(Finding), check: Check) -> Option<Client> {
    let built = Client::builder()
        .timeout(TIMEOUT)
        .redirect(Policy::limited(REDIRECTS))
        .user_agent(concat!("dues-doctor/", env!("CARGO_PKG_VERSION")))
        .build();
    if built.is_err() {
        tell(check.skip("no HTTP client can be built here"));
    }
    built.ok()
}

/// What is wrong with a page; none when it answers.
async fn page(browser: &Client, elsewhere: bool, setting: &str, url: &Url) -> Option<Finding> {
    // Its query is the client app's own.
    let mut shown = url.clone();
    shown.set_query(None);
    match browser.get(url.clone()).send().await {
        Ok(response) if response.status().as_u16() == 404 => Some(Check::Pages.warn(
            format!("{shown} answers 404, as seen from here"),
            format!("does {setting} name the right page?"),
        )),
        Ok(response) if response.status().is_server_error() => Some(Check::Pages.fail(
            format!(
                "{shown} answers {}: that is what members see after they paid",
                response.status().as_u16()
            ),
            format!("mend the client app, or {setting}"),
        )),
        Ok(_) => None,
        Err(error) => {
            let detail = format!(
                "{shown} does not answer, as seen from here ({})",
                why(&error)
            );
            let advice = format!("is the client app up, and does {setting} name it?");
            // Whose browser is on this machine sees other addresses of it than a container does.
            Some(if elsewhere && is_loopback(url) {
                Check::Pages.note(detail, advice)
            } else {
                Check::Pages.fail(detail, advice)
            })
        }
    }
}

/// In a word, without the address and its query.
fn why(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_redirect() {
        "too many redirects"
    } else if error.is_connect() {
        "no connection: name, address, port or certificate"
    } else {
        "the answer broke off"
    }
}

fn database(schema: &Schema, migrates: bool) -> Finding {
    let Schema {
        server,
        latency,
        applied,
        pending,
        unknown,
    } = schema;
    let answers = format!("PostgreSQL {server} answers in {} ms", latency.as_millis());
    if !pending.is_empty() {
        let detail = format!("{answers}, migrations are pending: {}", pending.join(", "));
        return if migrates {
            Check::Database.note(detail, "`dues serve` runs them when it starts")
        } else {
            Check::Database.fail(detail, "run `dues migrate`")
        };
    }
    if *unknown > 0 {
        return Check::Database.note(
            format!("{answers}, {applied} migrations, none pending, and {unknown} that this version does not know"),
            "the database is ahead: a newer version of Dues runs, or ran, on it",
        );
    }
    Check::Database.found(
        Status::Ok,
        format!("{answers}, {applied} migrations, none pending"),
    )
}
