//! SIGHUP: a running service reads its plans file again, and takes it whole or not at all.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Stdio;

use dev_postgres::TestDatabase;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::harness::program::{File, program};
use crate::harness::{TestSandbox, client, migrated_database, usual_variables};

const ONE: &str = "[[plan]]\ncode = \"one\"\nkind = \"top_up\"\nprice = \"credits_20\"\n";
const TWO: &str = "[[plan]]\ncode = \"two\"\nkind = \"top_up\"\nprice = \"credits_50\"\n";

/// A service in a process of its own, and what it logs.
struct Running {
    sandbox: TestSandbox,
    address: String,
    plans: File,
    log: Lines<BufReader<ChildStdout>>,
    process: Child,
    _database: TestDatabase,
}

impl Running {
    async fn start(plans: &str) -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let sandbox = TestSandbox::start(anywhere).await;
        let database = migrated_database().await;
        let plans = File::new("plans.toml", plans);
        let mut variables: HashMap<String, String> =
            usual_variables(database.url(), anywhere, sandbox.url());
        for (name, value) in [
            ("DUES_ENV", "development".to_owned()),
            ("DUES__HTTP__LISTEN", anywhere.to_string()),
            ("DUES__PLANS__FILE", plans.path().display().to_string()),
            ("DUES__STRIPE__MAX_RETRIES", "0".to_owned()),
        ] {
            variables.insert(name.to_owned(), value);
        }
        let mut process = program(&["serve"], &variables)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let log = process.stdout.take().expect("piped");
        let mut running = Self {
            sandbox,
            address: String::new(),
            plans,
            log: BufReader::new(log).lines(),
            process,
            _database: database,
        };
        let listening = running.logged("listening").await;
        let address = listening["address"].as_str().expect("an address");
        address.clone_into(&mut running.address);
        running
    }

    /// The next line of the log with one of these messages.
    async fn logged(&mut self, message: &str) -> Value {
        loop {
            let line = self.log.next_line().await.expect("the log can be read");
            let line = line.unwrap_or_else(|| panic!("the service ended before {message:?}"));
            let line: Value = serde_json::from_str(&line).expect("JSON");
            if line["message"]
                .as_str()
                .is_some_and(|said| said.contains(message))
            {
                return line;
            }
        }
    }

    async fn hang_up(&self) {
        let pid = self.process.id().expect("it runs").to_string();
        let kill = Command::new("kill").args(["-HUP", &pid]).status().await;
        assert!(kill.expect("kill is there").success());
    }

    /// Puts this into the plans file, has it reloaded, and returns what the log says of it.
    async fn reload(&mut self, plans: &str) -> Value {
        self.plans.write(plans);
        self.hang_up().await;
        self.logged("reloaded").await
    }

    /// The codes of the plans on sale.
    async fn on_sale(&self) -> Vec<String> {
        let answer = client()
            .get(format!("http://{}/v1/plans", self.address))
            .send()
            .await
            .expect("an answer");
        let plans: Value = answer.json().await.expect("JSON");
        let plans = plans["data"].as_array().expect("a list").clone();
        plans
            .iter()
            .map(|plan| plan["code"].as_str().expect("a code").to_owned())
            .collect()
    }

    async fn reloads(&self, outcome: &str) -> u64 {
        let answer = client()
            .get(format!("http://{}/metrics", self.address))
            .send()
            .await
            .expect("an answer");
        let page = answer.text().await.expect("text");
        let name = format!("catalogue_reloads_total{{outcome=\"{outcome}\"}} ");
        let count = page.lines().find_map(|line| line.strip_prefix(&name));
        count.map_or(0, |count| count.parse().expect("a number"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_plans_file_is_sold_from_at_once() {
    let mut service = Running::start(ONE).await;
    assert_eq!(service.on_sale().await, ["one"]);
    let said = service.reload(&format!("{ONE}{TWO}")).await;
    assert_eq!(
        (&said["level"], &said["plans"]),
        (&json!("INFO"), &json!(2))
    );
    assert_eq!(service.on_sale().await, ["one", "two"]);
    service.reload(TWO).await;
    assert_eq!(service.on_sale().await, ["two"]);
    assert_eq!(service.reloads("reloaded").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_is_refused_with_what_is_wrong_and_the_old_plans_are_sold_on() {
    let mut service = Running::start(ONE).await;
    let file = service.plans.path().display().to_string();
    let cases = [
        ("[[plan]\n", "malformed", "line 1"),
        (
            "[[plan]]\ncode = \"x\"\nkind = \"share\"\n",
            "malformed",
            "price",
        ),
        (
            "[[plan]]\ncode = \"x\"\nkind = \"share\"\nprice = \"share\"\nquantity = { max = 0 }\n",
            "wrong",
            "plan \"x\": quantity needs",
        ),
        (
            "[[plan]]\ncode = \"x\"\nkind = \"share\"\nprice = \"nowhere\"\n",
            "wrong",
            "plan \"x\": Stripe has no active price",
        ),
    ];
    for (plans, outcome, wanted) in cases {
        let before = service.reloads(outcome).await;
        let said = service.reload(plans).await;
        assert_eq!(said["level"], "ERROR");
        assert_eq!(
            said["message"],
            "the plans were not reloaded; the old ones are sold on"
        );
        let error = said["error"].as_str().expect("an error");
        assert!(error.contains(wanted) && error.contains(&file), "{said}");
        assert_eq!(service.on_sale().await, ["one"]);
        assert_eq!(service.reloads(outcome).await, before + 1);
    }
    std::fs::remove_file(service.plans.path()).expect("it is there");
    service.hang_up().await;
    let said = service.logged("reloaded").await;
    assert!(
        said["error"]
            .as_str()
            .is_some_and(|error| error.contains("can't be read"))
    );
    assert_eq!(service.on_sale().await, ["one"]);
    // A good one is taken again.
    assert_eq!(service.reload(TWO).await["level"], "INFO");
    assert_eq!(service.on_sale().await, ["two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stripe_that_can_t_be_asked_leaves_the_old_plans() {
    let mut service = Running::start(ONE).await;
    service
        .sandbox
        .post(
            "/_sandbox/faults",
            json!({"kind": "disconnect", "path": "/v1/prices"}),
        )
        .await;
    let said = service.reload(TWO).await;
    assert_eq!(said["level"], "ERROR");
    let error = said["error"].as_str().expect("an error");
    assert!(error.contains("can't be checked at Stripe"), "{said}");
    assert_eq!(
        said["file"],
        json!(service.plans.path().display().to_string())
    );
    assert_eq!(service.on_sale().await, ["one"]);
    assert_eq!(service.reload(TWO).await["level"], "INFO");
    assert_eq!(service.on_sale().await, ["two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_signals_the_last_file_wins() {
    let mut service = Running::start(ONE).await;
    service
        .sandbox
        .post(
            "/_sandbox/faults",
            json!({"kind": "stall", "path": "/v1/prices", "stall_ms": 300}),
        )
        .await;
    service.plans.write(&format!("{ONE}{TWO}"));
    service.hang_up().await;
    // The first reload has read its file when it asks Stripe.
    loop {
        let faults = service.sandbox.get("/_sandbox/faults").await;
        if faults.to_string().matches("stall").count() == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    service.plans.write(TWO);
    for _ in 0..5 {
        service.hang_up().await;
    }
    assert_eq!(service.logged("reloaded").await["plans"], 2);
    assert_eq!(service.logged("reloaded").await["plans"], 1);
    assert_eq!(service.on_sale().await, ["two"]);
}
