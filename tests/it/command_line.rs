//! The program as a process: what it prints, how it ends.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use crate::harness::{TestSandbox, client, empty_database, in_project, usual_variables};

/// The program with these settings and nothing else in its environment.
fn dues(arguments: &[&str], variables: &HashMap<String, String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dues"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables)
        .env("DUES_CONFIG_DIR", in_project("tests/no-config"));
    command
}

fn run(arguments: &[&str], variables: &HashMap<String, String>) -> Output {
    dues(arguments, variables)
        .output()
        .expect("the program runs")
}

fn variables(environment: &str) -> HashMap<String, String> {
    let mut variables = usual_variables(
        "postgres://localhost/none",
        ([127, 0, 0, 1], 1).into(),
        "http://127.0.0.1:1",
    );
    variables.insert("DUES_ENV".to_owned(), environment.to_owned());
    variables
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_token_is_minted_in_development() {
    let output = run(
        &[
            "token",
            "--user",
            "alice",
            "--role",
            "dues:operator",
            "--ttl",
            "15m",
        ],
        &variables("development"),
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let token = String::from_utf8_lossy(&output.stdout);
    assert_eq!(token.trim().split('.').count(), 3, "{token}");
}

#[test]
fn no_token_is_minted_in_production() {
    let mut variables = variables("production");
    for environment in [Some("production"), None] {
        match environment {
            Some(name) => variables.insert("DUES_ENV".to_owned(), name.to_owned()),
            // Whoever says nothing gets the strict rules.
            None => variables.remove("DUES_ENV"),
        };
        let output = run(&["token", "--user", "alice"], &variables);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains("only minted in development"),
            "{}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn no_token_is_minted_with_the_issuer_s_public_keys() {
    let mut variables = variables("development");
    variables.remove("DUES__AUTH__HS256_SECRET");
    variables.insert(
        "DUES__AUTH__JWKS_URL".to_owned(),
        "http://127.0.0.1:1/jwks".to_owned(),
    );
    let output = run(&["token", "--user", "alice"], &variables);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("DUES__AUTH__HS256_SECRET"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_start_without_settings_names_all_that_is_missing() {
    let output = run(&["serve"], &HashMap::new());
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    for name in [
        "DUES__DATABASE__URL",
        "DUES__STRIPE__SECRET_KEY",
        "DUES__AUTH__HS256_SECRET",
        "DUES__HTTP__PUBLIC_URL",
    ] {
        assert!(text.contains(name), "{name} is not named in\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn an_unknown_environment_is_refused() {
    let output = run(&["serve"], &variables("staging"));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("DUES_ENV is neither development nor production"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_database_that_is_away_stops_the_start_without_its_password() {
    let mut variables = variables("development");
    variables.insert(
        "DUES__DATABASE__URL".to_owned(),
        "postgres://dues:pa55word@127.0.0.1:1/dues".to_owned(),
    );
    variables.insert(
        "DUES__DATABASE__ACQUIRE_TIMEOUT_MS".to_owned(),
        "500".to_owned(),
    );
    variables.insert("DUES__HTTP__LISTEN".to_owned(), "127.0.0.1:0".to_owned());
    let output = run(&["serve"], &variables);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("DUES__DATABASE__URL"), "{text}");
    assert!(text.contains("Connection refused"), "{text}");
    assert!(!text.contains("pa55word"), "{text}");
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("a bound port").to_string();
    let mut variables = variables("development");
    variables.insert("DUES__HTTP__LISTEN".to_owned(), address.clone());
    let output = run(&["serve"], &variables);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains(&format!("can't listen on {address} (DUES__HTTP__LISTEN")),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_health_check_needs_no_secrets_and_fails_where_nobody_answers() {
    let variables = HashMap::from([("DUES__HTTP__LISTEN".to_owned(), "127.0.0.1:1".to_owned())]);
    let output = run(&["healthcheck"], &variables);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("nobody answers at 127.0.0.1:1"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_needs_no_setting_but_the_database_s() {
    for name in ["DUES__DATABASE__URL", "DATABASE_URL"] {
        let database = empty_database().await;
        let variables = HashMap::from([(name.to_owned(), database.url().to_owned())]);
        let output = run(&["migrate"], &variables);
        assert!(output.status.success(), "{}", stderr(&output));
        let applied = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(applied.starts_with("applied 0001 schema\n"), "{applied}");
        assert!(output.stderr.is_empty(), "{}", stderr(&output));
    }
}

#[test]
fn a_migration_says_in_one_sentence_what_is_wrong_with_the_database_s_setting() {
    let sentence = |variables: &[(&str, &str)]| {
        let variables = variables.iter();
        let owned = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let output = run(&["migrate"], &owned.collect());
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty(), "{output:?}");
        stderr(&output)
    };
    let place = "set it in the environment, or in config/production.toml under [database]\n";
    assert_eq!(
        sentence(&[]),
        format!("dues: DUES__DATABASE__URL is missing; {place}")
    );
    assert_eq!(
        sentence(&[("DATABASE_URL", "mysql://localhost/dues")]),
        format!("dues: DUES__DATABASE__URL does not begin with postgres://; {place}")
    );
    let away = "postgres://dues:pa55word@127.0.0.1:1/dues";
    let text = sentence(&[
        ("DUES__DATABASE__URL", away),
        ("DUES__DATABASE__ACQUIRE_TIMEOUT_MS", "3s"),
        ("DUES__HTTP__DRAIN_SECONDS", "soon"),
    ]);
    assert!(
        text.contains("ACQUIRE_TIMEOUT_MS") && !text.contains("DRAIN"),
        "{text}"
    );
    let text = sentence(&[
        ("DUES__DATABASE__URL", away),
        ("DUES__DATABASE__ACQUIRE_TIMEOUT_MS", "500"),
    ]);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains("DUES__DATABASE__URL") && text.contains("Connection refused"),
        "{text}"
    );
    assert!(!text.contains("pa55word"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_serve_check_and_stop_as_an_operator_would() {
    let database = empty_database().await;
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        free.local_addr().expect("a bound port").port()
    };
    let sandbox = TestSandbox::start(([127, 0, 0, 1], port).into()).await;
    let mut variables =
        usual_variables(database.url(), ([127, 0, 0, 1], port).into(), sandbox.url());
    variables.insert("DUES_ENV".to_owned(), "production".to_owned());
    variables.insert("DUES__HTTP__LISTEN".to_owned(), format!("0.0.0.0:{port}"));
    let metrics = "DUES__HTTP__METRICS_LISTEN".to_owned();
    variables.insert(metrics, "127.0.0.1:0".to_owned());

    let first = run(&["migrate"], &variables);
    assert!(first.status.success(), "{}", stderr(&first));
    assert!(String::from_utf8_lossy(&first.stdout).contains("applied 0001 schema"));
    let second = run(&["migrate"], &variables);
    assert_eq!(
        String::from_utf8_lossy(&second.stdout),
        "nothing to apply\n"
    );

    let mut service = dues(&["serve"], &variables)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the program runs");
    let mut lines = BufReader::new(service.stdout.take().expect("piped")).lines();
    // The service logs JSON, one object a line; it says that it listens before it answers.
    let listening = std::iter::from_fn(|| lines.next()?.ok())
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(&line)
                .unwrap_or_else(|_| panic!("no JSON: {line}"))
        })
        .find(|line| line["message"] == "listening")
        .expect("the service says that it listens");
    assert_eq!(listening["mode"], "test");
    let healthy = run(&["healthcheck"], &variables);
    assert!(healthy.status.success(), "{}", stderr(&healthy));
    let answer = client()
        .get(format!("http://127.0.0.1:{port}/healthz?token=4711"))
        .header("x-request-id", "operator-12345")
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.headers()["x-request-id"], "operator-12345");
    client()
        .get(format!("http://127.0.0.1:{port}/nowhere?token=4711"))
        .send()
        .await
        .expect("an answer");

    let pid = service.id().to_string();
    Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .expect("kill is there");
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let status = service.wait().expect("the service ends");
    assert!(status.success(), "{status}");
    let requests: Vec<_> = rest
        .iter()
        .filter(|line| line.contains("\"route\":\"unmatched\""))
        .collect();
    assert_eq!(requests.len(), 1, "{rest:#?}");
    assert!(
        requests[0].contains("\"code\":\"not_found\"") && requests[0].contains("\"status\":404"),
        "{requests:?}"
    );
    assert!(
        !rest.iter().any(|line| line.contains("4711")),
        "a query was logged: {rest:#?}"
    );
    assert!(
        rest.last().is_some_and(|line| line.contains("stopped")),
        "{rest:#?}"
    );
}
