//! What every request passes: who may ask, under which name, and that it is counted and told in one line.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::extract::{MatchedPath, Request, State as Given};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use crate::problem::Problem;
use crate::server::State;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request that is told once it is answered, or once its client went away.
struct Told {
    state: Arc<State>,
    start: Instant,
    id: String,
    method: Method,
    path: String,
    route: String,
    status: u16,
}

impl Drop for Told {
    fn drop(&mut self) {
        let time = self.start.elapsed();
        self.state.metrics.count(&self.route, self.status, time);
        tracing::info!(
            id = self.id,
            method = %self.method,
            path = self.path,
            status = self.status,
            ms = (time.as_secs_f64() * 1e4).round() / 10.0,
        );
    }
}

/// What stands around every answer.
pub(crate) async fn guard(
    Given(state): Given<Arc<State>>,
    request: Request,
    next: Next,
) -> Response {
    let id = request_id(request.headers());
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("other", MatchedPath::as_str).to_owned();
    let mut told = Told {
        state: Arc::clone(&state),
        start: Instant::now(),
        id: id.clone(),
        method: request.method().clone(),
        // Without the query: it is the caller's.
        path: request.uri().path().chars().take(200).collect(),
        route,
        // What is told where nobody waits for the answer any more.
        status: 499,
    };
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = origin
        .as_ref()
        .filter(|origin| state.access.is_allowed(origin))
        .cloned();
    let mut response = match admit(&state, &request, origin.as_ref(), allowed.is_some()) {
        Err(problem) => problem.into_response(),
        Ok(()) if request.method() == Method::OPTIONS && allowed.is_some() => preflight(),
        Ok(()) => next.run(request).await,
    };
    told.status = response.status().as_u16();
    let headers = response.headers_mut();
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// The id that came with a request, if it is one that may stand in a log, or a new one.
fn request_id(headers: &HeaderMap) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let is_right =
        |id: &&str| !id.is_empty() && id.len() <= 128 && id.bytes().all(|c| c.is_ascii_graphic());
    given.filter(is_right).map_or_else(
        || {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            format!("{:x}-{count:x}", now.as_micros())
        },
        ToOwned::to_owned,
    )
}

/// Who may ask.
#[derive(Debug, Default)]
pub(crate) struct Access {
    /// What has to come as a bearer token.
    pub(crate) token: Option<String>,
    /// Names under which the server may be asked, beside addresses and `localhost`.
    pub(crate) hosts: Vec<String>,
    /// Pages of other origins that may ask.
    pub(crate) origins: Vec<String>,
}

impl Access {
    fn is_allowed(&self, origin: &HeaderValue) -> bool {
        let is = |allowed: &String| allowed == "*" || allowed.as_bytes() == origin.as_bytes();
        self.origins.iter().any(is)
    }

    /// A page elsewhere can give its own name this machine's address (DNS rebinding), but it cannot make a browser send
    /// another name than that: names that are not ours are refused.
    fn is_ours(&self, host: &str) -> bool {
        let name = without_port(host);
        let inside = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        let is_address = inside.unwrap_or(name).parse::<IpAddr>().is_ok();
        let named = |ours: &String| ours == "*" || ours.eq_ignore_ascii_case(name);
        is_address || name.eq_ignore_ascii_case("localhost") || self.hosts.iter().any(named)
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let given = headers
            .get(header::AUTHORIZATION)
            .map(HeaderValue::as_bytes);
        let given = given.and_then(|given| {
            let (scheme, rest) = given.split_at_checked("Bearer ".len())?;
            scheme.eq_ignore_ascii_case(b"Bearer ").then_some(rest)
        });
        given.is_some_and(|given| bool::from(given.ct_eq(token.as_bytes())))
    }
}

fn without_port(host: &str) -> &str {
    // An address of version 6 has colons of its own, and brackets.
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|c| c.is_ascii_digit()) && !name.ends_with(':') => {
            name
        }
        _ => host,
    }
}

/// What anybody may ask: whether it lives, and the page, which asks for the token itself.
fn is_open(path: &str) -> bool {
    matches!(
        path,
        "/" | "/page.css"
            | "/page.js"
            | "/health"
            | "/ready"
            | "/v2/health/live"
            | "/v2/health/ready"
    )
}

fn admit(
    state: &State,
    request: &Request,
    origin: Option<&HeaderValue>,
    is_allowed: bool,
) -> Result<(), Problem> {
    let access = &state.access;
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    // An absolute address in the request's first line has the last word, as HTTP has it.
    let host = request
        .uri()
        .authority()
        .map_or(host, |authority| Some(authority.as_str()));
    let Some(host) = host else {
        return Err(Problem::bad(
            "the request has no Host",
            "its head",
            "say which host is asked",
        ));
    };
    if !access.is_ours(host) {
        let name: String = without_port(host).chars().take(80).collect();
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!("this server is not called “{name}”"),
            "Host",
            format!("ask it by its address, or start it with --allow-host {name}"),
        ));
    }
    // A page of another origin may send a form without asking; what it would start is refused here.
    let is_own = origin.is_none_or(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        origin
            .split_once("://")
            .is_some_and(|(_, of)| of.eq_ignore_ascii_case(host))
    });
    if !is_own && !is_allowed {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "a page of another origin asks",
            "Origin",
            "start the server with --cors and that origin",
        ));
    }
    let is_asking_first = request.method() == Method::OPTIONS && is_allowed;
    if !is_asking_first && !is_open(request.uri().path()) && !access.has_token(request.headers()) {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "the token is missing or another",
            "Authorization",
            "send `Authorization: Bearer TOKEN` with what is in the server's --token-file",
        ));
    }
    Ok(())
}

fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, x-request-id, inference-header-content-length",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "3600"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_ours_are_answered() {
        let access = Access {
            hosts: vec!["segment.example".into()],
            ..Access::default()
        };
        for ours in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:80",
            "[::1]:8080",
            "10.0.0.7",
            "segment.example:1",
        ] {
            assert!(access.is_ours(ours), "{ours}");
        }
        for other in [
            "evil.example",
            "localhost.evil.example:8080",
            "127.0.0.1.evil.example",
            "",
            "[::1",
        ] {
            assert!(!access.is_ours(other), "{other}");
        }
    }

    #[test]
    fn a_token_is_the_whole_token() {
        let access = Access {
            token: Some("secret".into()),
            ..Access::default()
        };
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            access.has_token(&headers)
        };
        assert!(with("Bearer secret") && with("bearer secret"));
        for wrong in [
            "Bearer secre",
            "Bearer secrets",
            "Bearer ",
            "secret",
            "Basic secret",
            "Bearer  secret",
        ] {
            assert!(!with(wrong), "{wrong}");
        }
        assert!(!access.has_token(&HeaderMap::new()));
    }
}
