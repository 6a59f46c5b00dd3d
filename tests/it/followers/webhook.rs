//! Signed webhooks: what is sent, from where on, and to whom.

use serde_json::json;

use super::{Followed, naming};
use crate::harness::lifecycle::{MONTH, text};
use crate::harness::purchase::GOOD_CARD;
use crate::harness::receiver::{Got, OTHER_SECRET, Receiver, SECRET, signature};
use crate::harness::{TestApp, program::File};

#[tokio::test]
async fn each_change_is_sent_once_in_order_as_the_feed_has_it() {
    let followed = Followed::start("").await;
    let app = &followed.app;
    let purchase = app.sell("membership-monthly", GOOD_CARD).await;
    app.advance(MONTH).await;
    app.buy_with(&app.member("bob"), "credits-20", GOOD_CARD)
        .await;
    followed.told("player").await;
    followed.assert_all_taken_once().await;
    let taken = followed.receiver.taken();
    let is_hers = |got: &&Got| {
        let body = &got.body;
        body["subscription_id"] == purchase.subscription.as_str()
            && body["data"]["status"] == "ACTIVE"
    };
    let active = &taken.iter().find(is_hers).expect("it becomes active").body;
    assert_eq!(active["data"]["plan"], "membership-monthly");
    assert_eq!(active["origin"], json!(null));
    assert!(text(&active["timestamp"]).ends_with('Z'));
    for got in &taken {
        assert_eq!(got.signatures.len(), 1, "{got:?}");
    }
}

#[tokio::test]
async fn only_what_is_asked_for_is_sent() {
    let followed = Followed::start("types = [\"transaction.recorded\"]\n").await;
    let app = &followed.app;
    app.sell("membership-monthly", GOOD_CARD).await;
    app.buy_with(&app.member("bob"), "credits-20", GOOD_CARD)
        .await;
    app.until("both payments are sent", async || {
        (followed.receiver.taken().len() == 2).then_some(())
    })
    .await;
    for got in followed.receiver.taken() {
        assert_eq!(got.body["type"], "transaction.recorded");
    }
}

#[tokio::test]
async fn while_rotating_both_secrets_sign() {
    let followed = Followed::start("old_secret_env = \"PLAYER_OLD_SECRET\"\n").await;
    followed.app.sell("credits-20", GOOD_CARD).await;
    followed.told("player").await;
    let taken = followed.receiver.taken();
    assert!(!taken.is_empty());
    for got in taken {
        assert_eq!(got.signatures.len(), 2, "{got:?}");
        assert_ne!(got.signatures[0], got.signatures[1]);
    }
    assert_ne!(signature(SECRET, b"a"), signature(OTHER_SECRET, b"a"));
}

#[tokio::test]
async fn who_begins_with_a_snapshot_learns_what_is_in_force_and_then_each_change() {
    let receiver = Receiver::start().await;
    let more = naming(&receiver, "from = \"snapshot\"\n");
    let file = File::new("followers.toml", "");
    let app = TestApp::with()
        .setting("DUES__FOLLOWERS__FILE", file.path().display())
        .setting("PLAYER_SECRET", SECRET)
        .start()
        .await;
    let ended = app.open(&app.member("alice"), "share").await;
    let path = format!("/v1/checkout/sessions/{}/expire", ended.session);
    app.at_stripe(reqwest::Method::POST, &path, &[]).await;
    let bought = app.sell("membership-monthly", GOOD_CARD).await;
    file.write(&more);
    app.services.followers.reload();
    let followed = Followed {
        app,
        receiver,
        file,
    };
    followed
        .place("player", async |row| row["state"] == "following")
        .await;
    let taken = followed.receiver.taken();
    assert_eq!(taken.len(), 1, "{taken:?}");
    let first = &taken[0].body;
    assert_eq!(first["type"], "subscription.in_force");
    assert_eq!(first["subscription_id"], bought.subscription.as_str());
    assert_eq!(
        (&first["position"], &first["data"]["status"]),
        (&json!(0), &json!("ACTIVE"))
    );
    // Begun again, it is told anew, by another id.
    followed.command(&["resync", "player"]).await.assert_code(0);
    let again = followed
        .app
        .until("it is told again", async || {
            let taken = followed.receiver.taken();
            (taken.len() > 1).then(|| taken[1].clone())
        })
        .await;
    assert_eq!(again.body["subscription_id"], first["subscription_id"]);
    assert_ne!(again.id, taken[0].id);
    let member = followed.app.member("bob");
    followed
        .app
        .buy_with(&member, "credits-20", GOOD_CARD)
        .await;
    followed.told("player").await;
    let last = followed.receiver.taken().pop().expect("a message");
    assert_eq!(last.body["user_id"], "bob");
}

#[tokio::test]
async fn whatever_is_wrong_with_the_file_is_said_at_once_and_stops_the_start() {
    let file = File::new(
        "followers.toml",
        r#"
[[follower]]
name = "one"
kind = "webhook"
url = "http://player.example.org/hooks"
secret_env = "NOT_SET"
types = ["subscription.created", "subscription.vanished"]
colour = "red"

[[follower]]
name = "one"
kind = "webhook"
url = "https://player.example.org/hooks"
secret_env = "SHORT"
from = "yesterday"

[[follower]]
name = "with space"
kind = "pigeon"

[[follower]]
name = "one"
kind = "webhook"
url = "https://player.example.org/hooks"
secret_env = "GOOD"
"#,
    );
    let database = crate::harness::migrated_database().await;
    let sandbox = crate::harness::TestSandbox::start(([127, 0, 0, 1], 1).into()).await;
    let mut variables =
        crate::harness::usual_variables(database.url(), ([127, 0, 0, 1], 0).into(), sandbox.url());
    for (name, value) in [
        ("DUES_ENV", "development"),
        ("DUES__HTTP__LISTEN", "127.0.0.1:0"),
        ("DUES__FOLLOWERS__FILE", &file.path().display().to_string()),
        ("SHORT", "whsec_c2hvcnQ="),
        ("GOOD", SECRET),
    ] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    let ended = crate::harness::program::run(&["serve"], &variables)
        .await
        .assert_code(1);
    for problem in [
        "follower \"one\": url is not https",
        "follower \"one\": the variable NOT_SET (secret_env) is not set",
        "follower \"one\": types: there is no \"subscription.vanished\"; there are subscription.created,",
        "follower \"one\": colour is no key of this kind",
        "follower \"one\": a secret is not whsec_ and the base64 of 24 to 64 bytes",
        "follower \"one\": from is \"now\" or \"snapshot\"",
        "follower \"with space\": name takes 1 to 50 of letters",
        "follower \"with space\": kind \"pigeon\" is unknown; there are webhook, mosaic and discourse",
    ] {
        assert!(
            ended.stderr.contains(problem),
            "{problem} is not said: {}",
            ended.stderr
        );
    }
    file.write(&"[[follower]]\nname = \"one\"\nkind = \"webhook\"\nurl = \"https://a.example\"\nsecret_env = \"GOOD\"\n".repeat(2));
    let ended = crate::harness::program::run(&["serve"], &variables)
        .await
        .assert_code(1);
    assert!(
        ended
            .stderr
            .contains("follower \"one\": name is used twice"),
        "{}",
        ended.stderr
    );
    variables.insert(
        "DUES__FOLLOWERS__FILE".to_owned(),
        "nowhere.toml".to_owned(),
    );
    let ended = crate::harness::program::run(&["serve"], &variables)
        .await
        .assert_code(1);
    assert!(
        ended.stderr.contains("set DUES__FOLLOWERS__FILE"),
        "{}",
        ended.stderr
    );
}
