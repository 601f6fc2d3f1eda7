//! The API of our own: what is served, and pictures segmented, one or many.

mod answer;
mod ask;
mod batch;
mod body;
pub(crate) mod describe;
pub(crate) mod openapi;

use std::sync::Arc;

use axum::extract::{Path, Request, State as Given};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

pub(crate) use answer::mean_probabilities;
pub(crate) use batch::segment_batch;
pub(crate) use body::{pictures, whole};

use crate::problem::Problem;
use crate::server::State;

/// JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// `GET /v1/models`.
pub(crate) async fn models(Given(state): Given<Arc<State>>) -> Response {
    let models: Vec<_> = state
        .models
        .iter()
        .map(|entry| describe::model(entry))
        .collect();
    json(&json!({ "models": models }))
}

/// `GET /v1/models/{model}`.
pub(crate) async fn model(
    Given(state): Given<Arc<State>>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let entry = state.models.find(Some(&name))?;
    Ok(json(&describe::model(entry)))
}

/// `GET /v1/status`.
pub(crate) async fn status(Given(state): Given<Arc<State>>) -> Response {
    json(&describe::status(&state))
}

/// `POST /v1/segment`.
pub(crate) async fn segment(
    Given(state): Given<Arc<State>>,
    request: Request,
) -> Result<Response, Problem> {
    let place = state.pool.place()?;
    let (ask, mut sent) = pictures(&state, request, 1).await?;
    let entry = state.models.find(ask.model.as_deref())?;
    let bytes = sent.remove(0).bytes;
    let (name, output) = (entry.name().to_owned(), ask.output);
    let options = ask.options()?;
    let made = state.pool.segment(
        entry,
        bytes,
        options,
        Some(place),
        state.limits.deadline,
        move |segmented| {
            let size = segmented.segmentation.labels().size();
            Ok((answer::make(&segmented, &ask, &name)?, size))
        },
    );
    let (body, (width, height)) = made.await?;
    let headers = [
        (header::CONTENT_TYPE, output.kind().to_owned()),
        (
            HeaderName::from_static("x-segmenta-size"),
            format!("{width}x{height}"),
        ),
        (
            HeaderName::from_static("x-segmenta-model"),
            entry.name().to_owned(),
        ),
    ];
    Ok((StatusCode::OK, headers, body).into_response())
}
