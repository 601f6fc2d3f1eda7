//! Who may ask.

use crate::Running;
use crate::client::{ask_with, get, post};

#[test]
fn names_that_are_not_ours_are_refused() {
    let server = Running::with(|options| options.hosts = vec!["segment.example".into()]);
    let ask = |host: &str| ask_with(server.address, "GET", "/v1/models", &[("host", host)], &[]);
    for ours in ["localhost:1", "127.0.0.1", "[::1]:8080", "segment.example"] {
        assert_eq!(ask(ours).status, 200, "{ours}");
    }
    let answer = ask("evil.example:8080");
    assert_eq!(answer.status, 421);
    assert!(answer.problem().contains("--allow-host evil.example"));
}

#[test]
fn pages_of_other_origins_ask_where_they_may() {
    let server = Running::with(|options| options.origins = vec!["https://lab.example".into()]);
    let ask = |method: &str, origin: &str| {
        ask_with(
            server.address,
            method,
            "/v1/models",
            &[("origin", origin)],
            &[],
        )
    };
    let answer = ask("GET", "https://lab.example");
    assert_eq!(
        answer.headers["access-control-allow-origin"],
        "https://lab.example"
    );
    assert_eq!(ask("OPTIONS", "https://lab.example").status, 204);
    assert_eq!(ask("GET", "http://localhost").status, 200);
    for other in ["https://evil.example", "null", "https://lab.example.evil"] {
        let answer = ask("GET", other);
        assert_eq!(answer.status, 403, "{other}");
        assert!(answer.problem().contains("--cors"));
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
}

#[test]
fn a_token_is_asked_for_where_there_is_one() {
    let server = Running::with(|options| options.token = Some("secret".into()));
    let ask = |path: &str, token: Option<&str>| {
        let head: Vec<(&str, &str)> = token
            .map(|token| ("authorization", token))
            .into_iter()
            .collect();
        ask_with(server.address, "GET", path, &head, &[])
    };
    for path in [
        "/v1/models",
        "/metrics",
        "/v1/status",
        "/v2",
        "/openapi.json",
        "/v1/nothing",
    ] {
        let answer = ask(path, None);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.problem().contains("Bearer"));
        assert_eq!(ask(path, Some("Bearer wrong")).status, 401, "{path}");
        assert_ne!(ask(path, Some("Bearer secret")).status, 401, "{path}");
    }
    assert_eq!(post(server.address, "/v1/segment", b"x").status, 401);
    assert_eq!(
        post(server.address, "/v2/repository/models/roads/unload", b"").status,
        401
    );
    for open in ["/", "/page.js", "/health", "/ready", "/v2/health/live"] {
        assert_eq!(ask(open, None).status, 200, "{open}");
    }
}

#[test]
fn requests_have_ids() {
    let server = Running::new();
    let ask = |id: &str| {
        let answer = ask_with(
            server.address,
            "GET",
            "/health",
            &[("x-request-id", id)],
            &[],
        );
        answer.headers["x-request-id"].clone()
    };
    assert_eq!(ask("abc-1"), "abc-1");
    assert_ne!(ask("a b"), "a b");
    let [one, two] =
        [(); 2].map(|()| get(server.address, "/health").headers["x-request-id"].clone());
    assert_ne!(one, two);
}
