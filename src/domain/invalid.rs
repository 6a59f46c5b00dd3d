//! What is wrong with a field of a request.

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// As the client wrote it: `lines[0].plan`.
    pub field: String,
    /// For the client's code.
    pub code: &'static str,
    /// For the client's developer.
    pub detail: String,
}

impl Invalid {
    /// What is wrong with that field.
    pub fn new(field: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            code,
            detail: detail.into(),
        }
    }
}
