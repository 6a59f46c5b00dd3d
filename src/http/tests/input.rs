//! What a client may get wrong, each with its own answer.

use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::{Value, json};

use super::{Answer, Outcome, ask, request};

fn json_body(body: &str) -> Result<Request<Body>, axum::http::Error> {
    request(Method::POST, "/baskets")
        .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
        .body(Body::from(body.to_owned()))
}

impl Answer {
    #[track_caller]
    fn assert_field(&self, field: &str, code: &str) {
        self.assert_problem(422, "validation_failed");
        assert_eq!(self.body["errors"][0]["field"], field, "{}", self.body);
        assert_eq!(self.body["errors"][0]["code"], code, "{}", self.body);
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413() -> Outcome {
    let body = format!("{{\"lines\":[{}]}}", " ".repeat(2000));
    ask(json_body(&body)?)
        .await?
        .assert_problem(413, "payload_too_large");
    Ok(())
}

#[tokio::test]
async fn a_body_that_is_not_declared_as_json_is_415() -> Outcome {
    let request = request(Method::POST, "/baskets")
        .header(header::CONTENT_TYPE, "text/plain")
        .body(Body::from("{\"lines\":[]}"))?;
    ask(request)
        .await?
        .assert_problem(415, "unsupported_media_type");
    Ok(())
}

#[tokio::test]
async fn malformed_json_is_400_and_says_where() -> Outcome {
    for body in ["{\"lines\":[}", "", "{\"lines\":[]} x", "{\"lines\": \u{1}"] {
        let answer = ask(json_body(body)?).await?;
        answer.assert_problem(400, "malformed_json");
        assert!(
            answer.body["detail"]
                .as_str()
                .is_some_and(|text| text.contains("line 1"))
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_field_names_the_field() -> Outcome {
    let cases = [
        (
            json!({"lines": [{"plan": "a", "colour": 1}]}),
            "lines[0].colour",
            "unknown_field",
        ),
        (json!({"lines": [], "colour": 1}), "colour", "unknown_field"),
        (
            json!({"lines": [{"plan": "a"}, {"quantity": 1}]}),
            "lines[1].plan",
            "missing",
        ),
        (json!({}), "lines", "missing"),
        (json!({"lines": [{"plan": 7}]}), "lines[0].plan", "invalid"),
        (
            json!({"lines": [{"plan": "a", "quantity": -1}]}),
            "lines[0].quantity",
            "invalid",
        ),
        (json!("basket"), "", "invalid"),
    ];
    for (body, field, code) in cases {
        ask(json_body(&body.to_string())?)
            .await?
            .assert_field(field, code);
    }
    Ok(())
}

#[tokio::test]
async fn a_body_may_be_left_out_where_it_is_optional() -> Outcome {
    let none = ask(request(Method::POST, "/maybe").body(Body::empty())?).await?;
    assert_eq!(none.body, json!(false));
    let malformed = request(Method::POST, "/maybe")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from("{"))?;
    ask(malformed).await?.assert_problem(400, "malformed_json");
    let undeclared = request(Method::POST, "/maybe").body(Body::from("{}"))?;
    ask(undeclared)
        .await?
        .assert_problem(415, "unsupported_media_type");
    Ok(())
}

#[tokio::test]
async fn a_wrong_query_names_the_parameter() -> Outcome {
    let wrong = ask(request(Method::GET, "/page?limit=many").body(Body::empty())?).await?;
    wrong.assert_field("limit", "invalid");
    let unknown = ask(request(Method::GET, "/page?colour=red").body(Body::empty())?).await?;
    unknown.assert_field("colour", "unknown_field");
    Ok(())
}

#[tokio::test]
async fn an_id_that_is_none_names_nothing() -> Outcome {
    let answer = ask(request(Method::GET, "/things/7").body(Body::empty())?).await?;
    answer.assert_problem(404, "not_found");
    Ok(())
}

#[tokio::test]
async fn an_idempotency_key_is_one_short_text() -> Outcome {
    let with = |key: &str| {
        request(Method::POST, "/key")
            .header("idempotency-key", key)
            .body(Body::empty())
    };
    assert_eq!(ask(with("k-1")?).await?.body, json!("k-1"));
    assert_eq!(
        ask(request(Method::POST, "/key").body(Body::empty())?)
            .await?
            .body,
        Value::Null
    );
    for key in ["", " ", &"k".repeat(256)] {
        ask(with(key)?)
            .await?
            .assert_problem(400, "bad_idempotency_key");
    }
    Ok(())
}
