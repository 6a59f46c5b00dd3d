//! `dues followers`, and what `dues doctor` and the metrics say of them.

use serde_json::json;

use super::Followed;
use crate::harness::lifecycle::text;
use crate::harness::program::run;
use crate::harness::receiver::Reply;

#[tokio::test]
async fn an_operator_sees_how_they_stand_and_puts_it_right() {
    let followed = Followed::start("").await;
    let app = &followed.app;
    let list = followed.command(&["list"]).await.assert_code(0);
    list.line("player webhook following 0 0 -");
    let tested = followed.command(&["test", "player"]).await.assert_code(0);
    tested.line("player took a signed message of the type dues.test");
    let test = &followed.receiver.taken()[0].body;
    assert_eq!(
        (&test["type"], &test["data"]),
        (&json!("dues.test"), &json!({}))
    );
    followed.receiver.reply("alice", Reply::Status(422));
    app.open(&app.member("alice"), "share").await;
    app.open(&app.member("bob"), "share").await;
    followed.told("player").await;
    let shown = followed.command(&["show", "player"]).await.assert_code(0);
    assert!(
        shown
            .stdout
            .contains("row 1 refused 1 time(s), answered 422"),
        "{shown:?}"
    );
    let unknown = followed.command(&["show", "nobody"]).await.assert_code(1);
    assert!(
        unknown
            .stderr
            .contains("there is no follower \"nobody\"; there are: player"),
        "{unknown:?}"
    );
    for arguments in [
        ["skip", "player", "--user", "bob"],
        ["retry", "player", "--user", "bob"],
    ] {
        let ended = followed.command(&arguments).await.assert_code(1);
        assert!(
            ended.stderr.contains("nothing of this member waits"),
            "{ended:?}"
        );
    }
    followed.receiver.reply("alice", Reply::Status(200));
    followed
        .command(&["retry", "player", "--user", "alice"])
        .await
        .assert_code(0);
    app.until("she is told", async || {
        followed.parked().await.is_empty().then_some(())
    })
    .await;
    followed.receiver.reply("alice", Reply::Status(422));
    app.open(&app.member("alice"), "credits-20").await;
    followed.told("player").await;
    let skipped = followed
        .command(&["skip", "player", "--user", "alice"])
        .await
        .assert_code(0);
    skipped.line("player is never told row 3 of alice");
    assert_eq!(followed.parked().await, []);
    let mut nobody = followed.variables();
    nobody.remove("DUES__FOLLOWERS__FILE");
    let listed = run(&["followers", "list", "--json"], &nobody)
        .await
        .assert_code(0)
        .json();
    assert_eq!(text(&listed[0]["state"]), "not_in_file");
}

#[tokio::test]
async fn the_doctor_and_the_metrics_say_who_is_behind() {
    let followed = Followed::named("measured", "").await;
    let app = &followed.app;
    let doctor = async || run(&["doctor"], &followed.variables()).await;
    doctor()
        .await
        .line("ok followers measured answers (HEAD: 405)");
    followed.receiver.reply("alice", Reply::Status(422));
    app.open(&app.member("alice"), "share").await;
    followed.told("measured").await;
    doctor()
        .await
        .line("warn followers measured refuses rows of 1 member(s): dues followers show measured");
    followed.receiver.reply("bob", Reply::Status(503));
    app.open(&app.member("bob"), "share").await;
    followed
        .place("measured", async |row| row["attempts"] == 1)
        .await;
    let line = doctor()
        .await
        .line("warn followers measured waits, 1 row(s) behind: answered 503");
    assert!(line.contains("dues followers retry measured"), "{line}");
    let told = "follower_deliveries_total{follower=\"measured\",outcome=\"refused\"} 1";
    let metrics = app.get("/metrics").send().await.assert_status(200);
    assert!(metrics.text.contains(told), "{}", metrics.text);
    app.until("the metrics say how far", async || {
        let metrics = app.get("/metrics").send().await;
        let says = |line| metrics.text.lines().any(|said| said == line);
        (says("follower_rows_behind{follower=\"measured\"} 1")
            && says("follower_parked_members{follower=\"measured\"} 1"))
        .then_some(())
    })
    .await;
}
