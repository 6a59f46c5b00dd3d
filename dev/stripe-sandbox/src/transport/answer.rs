//! An answer before it becomes bytes.

use serde_json::Value;

use crate::spec::objects;
use crate::world::error::{ApiError, ApiResult};

/// An answer on its way out.
pub(super) struct Outgoing {
    pub status: u16,
    pub body: Value,
    pub headers: Vec<(&'static str, String)>,
}

impl From<ApiError> for Outgoing {
    fn from(error: ApiError) -> Self {
        let mut error = error;
        if cfg!(debug_assertions)
            && let Some(sentence) = objects::wrong_error(&error.to_json())
        {
            error = ApiError::wrong(sentence);
        }
        Self {
            status: error.status,
            body: error.to_json(),
            headers: vec![],
        }
    }
}

impl From<ApiResult> for Outgoing {
    fn from(result: ApiResult) -> Self {
        match result {
            Ok(body) => Self {
                status: 200,
                body,
                headers: vec![],
            },
            Err(error) => error.into(),
        }
    }
}
