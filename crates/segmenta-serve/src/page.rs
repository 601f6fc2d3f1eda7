//! The pages for people, of networks and of a data set: a document and a script each, one style, all of them in the binary.

use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};

/// Nothing is loaded from elsewhere; pictures and the camera's frames are this page's own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
                      media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn answer(kind: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, text).into_response()
}

/// `GET /`.
pub(crate) async fn html() -> Response {
    answer(
        "text/html; charset=utf-8",
        include_str!("../page/page.html"),
    )
}

/// `GET /page.css`.
pub(crate) async fn css() -> Response {
    answer("text/css; charset=utf-8", include_str!("../page/page.css"))
}

/// `GET /page.js`.
pub(crate) async fn js() -> Response {
    answer(
        "text/javascript; charset=utf-8",
        include_str!("../page/page.js"),
    )
}

/// `GET /` over a data set.
pub(crate) async fn view_html() -> Response {
    answer(
        "text/html; charset=utf-8",
        include_str!("../page/view.html"),
    )
}

/// `GET /view.js`.
pub(crate) async fn view_js() -> Response {
    answer(
        "text/javascript; charset=utf-8",
        include_str!("../page/view.js"),
    )
}
