//! Whether the server lives, is ready, and what it counted.

use std::sync::Arc;

use axum::extract::State as Given;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::json as answer;
use crate::metrics;
use crate::server::State;

/// `GET /health`, in the words of Label Studio's backends.
pub(crate) async fn health() -> Response {
    answer(
        &json!({"status": "UP", "model_class": "Segmenta", "version": env!("CARGO_PKG_VERSION")}),
    )
}

/// Whether every network is loaded, and none of it ends.
pub(crate) fn is_ready(state: &State) -> bool {
    !state.is_draining() && state.models.iter().all(|entry| entry.loaded().is_some())
}

/// `GET /ready`.
pub(crate) async fn ready(Given(state): Given<Arc<State>>) -> Response {
    let is_ready = is_ready(&state);
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, answer(&json!({ "ready": is_ready }))).into_response()
}

/// `GET /metrics`.
pub(crate) async fn metrics(Given(state): Given<Arc<State>>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics::page(&state)).into_response()
}
