//! Errors as answers: `application/problem+json` (RFC 9457) in the product's three parts.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use segmenta::Error;
use serde::Serialize;

/// What went wrong · where · how to mend it, with the status that says whose fault it is.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    what: String,
    place: String,
    remedy: String,
    retry_after: Option<u64>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: String,
    what: &'a str,
    r#where: &'a str,
    remedy: &'a str,
}

impl Problem {
    /// One of that status.
    pub fn new(
        status: StatusCode,
        what: impl Into<String>,
        place: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            status,
            what: what.into(),
            place: place.into(),
            remedy: remedy.into(),
            retry_after: None,
        }
    }

    /// Something in the request that cannot be.
    pub(crate) fn bad(
        what: impl Into<String>,
        place: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::BAD_REQUEST, what, place, remedy)
    }

    /// What the library says of a picture that somebody sent.
    pub(crate) fn of_picture(error: &Error) -> Self {
        let status = match error {
            Error::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            // The weights' fault, not the picture's.
            Error::Broken { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::of_text(status, &error.to_string())
    }

    /// A message of the library's, whose parts stand between middle dots.
    pub(crate) fn of_text(status: StatusCode, text: &str) -> Self {
        let parts: Vec<&str> = text.splitn(3, " · ").collect();
        match parts[..] {
            [what, place, remedy] => Self::new(status, what, place, remedy),
            // A setting that cannot be, and what may be: where it was said is known here.
            [what, remedy] => Self::new(status, what, "the request", remedy),
            _ => Self::new(status, text, "the request", "send what the network takes"),
        }
    }

    /// When it is worth another try, in whole seconds from now.
    #[must_use]
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds.max(1));
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// All of it in a line: what · where · how to mend.
    pub fn line(&self) -> String {
        let parts = [&self.what, &self.place, &self.remedy];
        let said: Vec<&str> = parts
            .into_iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        said.join(" · ")
    }

    /// The answer with another body, as other protocols have theirs.
    pub(crate) fn with_body(&self, kind: &'static str, body: String) -> Response {
        let mut response = (self.status, [(header::CONTENT_TYPE, kind)], body).into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: self.line(),
            what: &self.what,
            r#where: &self.place,
            remedy: &self.remedy,
        };
        let body = serde_json::to_string(&document).unwrap_or_default();
        self.with_body("application/problem+json", body)
    }
}
