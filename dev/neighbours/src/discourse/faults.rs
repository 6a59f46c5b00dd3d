//! Faults that the control API plants for calls to come.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, Response};
use hyper::body::Frame;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Answer, Content};

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// `status` is answered, without an effect.
    Status,
    /// The connection is cut without an effect.
    Close,
    /// The connection is cut after the effect.
    CloseAfter,
    /// The effect happens, the answer comes after `ms`.
    StallAfter,
    /// Nothing happens for `ms`, then all goes well.
    StallBefore,
    /// 200 with a body that isn't JSON, without an effect.
    Garbage,
    /// 302 to a page of the forum, without an effect.
    Redirect,
    /// 200 with a body that doesn't end, without an effect.
    Endless,
}

/// A fault waiting for its call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    pub kind: Kind,
    /// What is answered, for `status`.
    #[serde(default)]
    pub status: Option<u16>,
    /// `Retry-After`, for `status`, in seconds.
    #[serde(default)]
    pub retry_after: Option<u64>,
    /// How long a stall lasts, in milliseconds.
    #[serde(default)]
    pub ms: Option<u64>,
    /// Method of the calls it hits; any when missing.
    #[serde(default)]
    pub method: Option<String>,
    /// What the path of the calls it hits begins with; any when missing.
    #[serde(default)]
    pub path: Option<String>,
    /// How many calls it still hits.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

impl Fault {
    /// What is missing or out of bounds.
    pub(super) fn wrong(&self) -> Option<&'static str> {
        let stalls = matches!(self.kind, Kind::StallAfter | Kind::StallBefore);
        if self.times == 0 {
            Some("times is at least 1")
        } else if stalls && self.ms.is_none_or(|ms| ms > 600_000) {
            Some("a stall needs ms, at most 600000")
        } else if self.kind == Kind::Status
            && self
                .status
                .is_none_or(|status| !(200..600).contains(&status))
        {
            Some("status needs a status from 200 to 599")
        } else {
            None
        }
    }

    fn hits(&self, method: &str, path: &str) -> bool {
        let wanted = self.method.as_deref();
        wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self
                .path
                .as_deref()
                .is_none_or(|prefix| path.starts_with(prefix))
    }

    /// The answer of a fault without an effect.
    pub(super) fn answer(&self) -> Option<Response<Body>> {
        let answer = match self.kind {
            Kind::Status => self.plain(),
            Kind::Garbage => Answer::new(200, Content::Text("{\"groups\": [<html>")),
            Kind::Redirect => Answer {
                headers: vec![(LOCATION, "/login".to_owned())],
                ..Answer::new(302, Content::Nothing)
            },
            Kind::Endless => {
                let mut response = Response::new(Body::new(Endless));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                return Some(response);
            }
            Kind::Close | Kind::CloseAfter | Kind::StallAfter | Kind::StallBefore => return None,
        };
        Some(answer.into_response())
    }

    fn plain(&self) -> Answer {
        let body = json!({"errors": ["The stand-in was told to fail."]});
        let retry_after = self.retry_after.map(|seconds| seconds.to_string());
        Answer {
            headers: retry_after
                .map(|seconds| (RETRY_AFTER, seconds))
                .into_iter()
                .collect(),
            ..Answer::json(self.status.unwrap_or(500), body)
        }
    }
}

/// Takes the first fault that hits a call.
pub(super) fn take(faults: &mut Vec<Fault>, method: &str, path: &str) -> Option<Fault> {
    let at = faults.iter().position(|fault| fault.hits(method, path))?;
    let fault = faults.get_mut(at)?;
    fault.times = fault.times.saturating_sub(1);
    let taken = fault.clone();
    faults.retain(|fault| fault.times > 0);
    Some(taken)
}

/// A body that doesn't end: as fast as the reader reads, no faster.
struct Endless;

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        const PART: &[u8] = &[b'['; 4096];
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(PART)))))
    }
}
