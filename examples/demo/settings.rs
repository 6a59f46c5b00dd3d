//! What the service and the sandbox of the demo are told.

use std::collections::HashMap;

use dev_postgres::Cluster;
use dues::clock::Clock;
use dues::settings::{Environment, Settings};
use stripe_sandbox::{Options, Webhook};

use crate::cli::{Cli, project};
use crate::house::House;
use crate::{Urls, operators, year};

/// What the service of the demo is told; `lives` is whether a year is to be lived through first.
pub(crate) fn settings(
    cli: &Cli,
    cluster: &Cluster,
    urls: &Urls,
    lives: bool,
) -> anyhow::Result<Settings> {
    let returning = |to: &str| format!("{}/{to}.html", urls.page);
    let variables = [
        ("HTTP__PUBLIC_URL", urls.service.clone()),
        ("HTTP__SHUTDOWN_SECONDS", "3".to_owned()),
        ("DATABASE__URL", cluster.url("dues")),
        ("STRIPE__API_BASE", urls.sandbox.clone()),
        ("CLIENT__SUCCESS_URL", returning("success")),
        ("CLIENT__CANCEL_URL", returning("cancel")),
        ("CLIENT__ERROR_URL", returning("error")),
        ("CLIENT__PORTAL_RETURN_URL", format!("{}/?back", urls.page)),
        (
            "CLIENT__ALLOWED_ORIGINS",
            format!(
                "{0},{1}",
                urls.page,
                urls.page.replace("127.0.0.1", "localhost")
            ),
        ),
        ("PLANS__FILE", cli.plans().display().to_string()),
        ("CLOCK__FOLLOW", urls.sandbox.clone()),
        (
            "LOG__LEVEL",
            if cli.verbose {
                "info,dues=debug"
            } else {
                "error"
            }
            .to_owned(),
        ),
    ];
    // Secrets and issuer come from config/development.toml, so that `dues token` knows them too.
    // What a followers' file names may hold a secret.
    let others = std::env::vars().filter(|(name, _)| !name.starts_with("DUES"));
    let named = |(key, value)| (format!("DUES__{key}"), value);
    let ours = variables.into_iter().map(named);
    let mut variables: HashMap<String, String> = others.chain(ours).collect();
    if let Some(mosaic) = &urls.mosaic {
        variables.extend(mosaic.settings());
    }
    if let Some(login) = &urls.login {
        variables.extend(operators::settings(login).map(named));
    }
    if lives {
        let hurried = year::SETTINGS
            .iter()
            .filter(|(key, _)| !(cli.verbose && *key == "LOG__LEVEL"));
        variables.extend(hurried.map(|(key, value)| (format!("DUES__{key}"), (*value).to_owned())));
    }
    let more = cli.more.iter().cloned();
    variables.extend(more.map(|(key, value)| (format!("DUES__{key}"), value)));
    Ok(Settings::load(
        Environment::Development,
        Some(&project().join("config")),
        variables,
    )?)
}

/// What the sandbox is told, but for where it listens.
pub(crate) fn sandbox(cli: &Cli, settings: &Settings, urls: &Urls, house: &House) -> Options {
    let secrets = settings.stripe.webhook_secrets.iter();
    Options {
        state: Some(house.state.clone()),
        catalogue: Some(cli.catalogue()),
        secret_key: settings.stripe.secret_key.expose().to_owned(),
        webhook: Some(Webhook {
            // Where the connector took them, the endpoint can stay as it is.
            url: match &urls.mosaic {
                Some(_) => format!("{}/webhooks", urls.service),
                None => format!("{}/webhooks/stripe", urls.service),
            },
            secrets: secrets.map(|secret| secret.expose().to_owned()).collect(),
        }),
        clock_start: house.lives.then(|| year::begins(&Clock::system())),
        ..Options::default()
    }
}
