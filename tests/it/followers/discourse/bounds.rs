//! How often a forum is called, and what a file may not say of one.

use super::{CONNECT_SECRET, HOOK_SECRET, Joined, MEMBERS, SYNC, lines};
use crate::harness::program::{File, run};
use crate::harness::{TestSandbox, migrated_database, usual_variables};

#[tokio::test]
async fn fifty_calls_a_minute_are_made_and_no_more() {
    let joined = Joined::start("connect", MEMBERS).await;
    joined.follow("").await;
    for member in 0..60 {
        let token = joined.app.member(&format!("member-{member}"));
        joined.app.open(&token, "membership-annual").await;
    }
    // As if they had all paid at once.
    sqlx::query(
        "UPDATE subscriptions SET status = 'ACTIVE', status_reason = 'paid', first_paid_at = now()",
    )
    .execute(&joined.app.pool)
    .await
    .expect("the table is there");
    sqlx::query("UPDATE feed SET type = 'subscription.status_changed'")
        .execute(&joined.app.pool)
        .await
        .expect("the table is there");
    sqlx::query("UPDATE followers SET position = 0")
        .execute(&joined.app.pool)
        .await
        .expect("the table is there");
    let file = lines("forum", &joined.forum.url(), "connect", MEMBERS);
    joined.follow(&file).await;
    let all = async || joined.calls().await.values().sum::<u64>();
    let is_fifty = async || (all().await == 50).then_some(());
    joined.app.until("fifty calls are made", is_fifty).await;
    // Long enough for many more.
    joined.account("late").await;
    joined.buy("late", "credits-20").await;
    assert_eq!(all().await, 50);
    joined.app.move_clocks(61).await;
    joined.told().await;
    assert_eq!(joined.count(SYNC).await, 60);
}

#[tokio::test]
async fn whatever_is_wrong_with_a_forum_in_the_file_is_said_at_once() {
    let url = "https://forum.example.org";
    let twice = lines("two", &format!("{url}/"), "groups", "share = \"Members\"");
    let wrong = r#"
[[follower]]
name = "wrong"
kind = "discourse"
url = "https://forum.example.org?a=b"
mode = "magic"
api_key_env = "NOT_SET"
api_username = ""
webhook_secret_env = "SHORT"
types = ["transaction.recorded"]
groups = { friend = "friends", "plan:gold" = "gold", share = "staff", donation = "a, b" }
remove_by_hand = "yes"

[[follower]]
name = "empty"
kind = "discourse"
url = "https://other.example.org"
mode = "connect"
groups = {}

[[follower]]
name = "mixed"
kind = "discourse"
url = "https://other.example.org"
mode = "groups"
api_key_env = "FORUM_KEY"
api_username = "system"
secret_env = "SHORT"
webhook_secret_env = "FORUM_HOOK"
groups = "members"
"#;
    let text = format!("{}{twice}{wrong}", lines("one", url, "connect", MEMBERS));
    let file = File::new("followers.toml", &text);
    let database = migrated_database().await;
    let anywhere = ([127, 0, 0, 1], 0).into();
    let sandbox = TestSandbox::start(anywhere).await;
    let mut variables = usual_variables(database.url(), anywhere, sandbox.url());
    for (name, value) in [
        ("DUES_ENV", "development"),
        ("DUES__HTTP__LISTEN", "127.0.0.1:0"),
        ("DUES__FOLLOWERS__FILE", &file.path().display().to_string()),
        ("FORUM_KEY", "forum-admin-key"),
        ("FORUM_CONNECT", CONNECT_SECRET),
        ("FORUM_HOOK", HOOK_SECRET),
        ("SHORT", "short"),
    ] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    let ended = run(&["serve"], &variables).await.assert_code(1);
    for problem in [
        "follower \"two\": groups: \"Members\" is follower \"one\"'s already",
        "follower \"wrong\": url has a query or a fragment",
        "follower \"wrong\": mode is \"connect\" or \"groups\"",
        "follower \"wrong\": the variable NOT_SET (api_key_env) is not set",
        "follower \"wrong\": api_username is missing",
        "follower \"wrong\": webhook_secret_env: a secret of Discourse has 12 characters or more",
        "follower \"wrong\": types: groups follow what is in force",
        "follower \"wrong\": groups: there is no kind \"friend\"; there are membership, top_up, share, donation",
        "follower \"wrong\": groups: there is no plan \"gold\" in the plans file",
        "follower \"wrong\": groups: \"staff\" is one of Discourse's own",
        "follower \"wrong\": groups: \"a, b\" is no group's name",
        "follower \"wrong\": remove_by_hand is not true or false",
        "follower \"empty\": api_key_env is missing",
        "follower \"empty\": api_username is missing",
        "follower \"empty\": secret_env is missing",
        "follower \"empty\": webhook_secret_env is missing",
        "follower \"empty\": groups names no group",
        "follower \"mixed\": secret_env goes with mode = \"connect\" alone",
        "follower \"mixed\": groups is not a table",
    ] {
        assert!(
            ended.stderr.contains(problem),
            "{problem}: {}",
            ended.stderr
        );
    }
    let missing = "follower \"mixed\": groups is missing";
    assert!(!ended.stderr.contains(missing), "{}", ended.stderr);
}
