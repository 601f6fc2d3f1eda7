//! Hugging Face's task `image-segmentation`: a picture's bytes, or `{"inputs": base64}`, to a list of
//! `{"label", "score", "mask"}`, each mask a black and white PNG in base64 (huggingface.co/docs/inference-providers).

use std::sync::Arc;

use axum::extract::{Path, Request, State as Given};
use axum::http::header;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use segmenta::image::probability_png;
use segmenta::{SegmentOptions, Segmentation};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{json as answer, mean_probabilities, whole};
use crate::problem::Problem;
use crate::server::State;

#[derive(Deserialize)]
struct Document {
    inputs: String,
    #[serde(default)]
    parameters: Option<Parameters>,
}

#[derive(Default, Deserialize)]
struct Parameters {
    subtask: Option<String>,
}

/// `POST /`.
pub(crate) async fn first(
    Given(state): Given<Arc<State>>,
    request: Request,
) -> Result<Response, Problem> {
    run(&state, None, request).await
}

/// `POST /models/{model}`.
pub(crate) async fn named(
    Given(state): Given<Arc<State>>,
    Path(model): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    run(&state, Some(&model), request).await
}

async fn run(state: &State, model: Option<&str>, request: Request) -> Result<Response, Problem> {
    let entry = state.models.find(model)?;
    let place = state.pool.place()?;
    let kind = request.headers().get(header::CONTENT_TYPE);
    let is_json = kind
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/json"));
    let body = whole(state, request.into_body()).await?;
    let picture = if is_json { from_json(&body)? } else { body };
    if picture.is_empty() {
        return Err(Problem::bad(
            "there is no picture",
            "the body",
            "send its bytes, or {\"inputs\": base64}",
        ));
    }
    let options = SegmentOptions::new().probability(true);
    let deadline = state.limits.deadline;
    let make = |segmented: crate::pool::Segmented| classes(&segmented.segmentation);
    let classes = state
        .pool
        .segment(entry, picture, options, Some(place), deadline, make);
    Ok(answer(&classes.await?))
}

fn from_json(body: &[u8]) -> Result<Bytes, Problem> {
    let document: Document = serde_json::from_slice(body).map_err(|error| {
        Problem::bad(
            format!("the JSON cannot be read: {error}"),
            "the body",
            "send {\"inputs\": base64}",
        )
    })?;
    let subtask = document.parameters.unwrap_or_default().subtask;
    if let Some(other) = subtask.filter(|subtask| subtask != "semantic") {
        let shown: String = other.chars().take(40).collect();
        return Err(Problem::bad(
            format!("the subtask “{shown}”"),
            "parameters",
            "these networks do `semantic`",
        ));
    }
    picture(&document.inputs)
}

/// A picture in base64, with or without what a data URI has before it.
pub(crate) fn picture(text: &str) -> Result<Bytes, Problem> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return Err(Problem::bad(
            "an address instead of a picture",
            "the request",
            "send the picture itself: no address is fetched",
        ));
    }
    let text = match text.strip_prefix("data:") {
        Some(uri) => uri.split_once(";base64,").map_or("", |(_, data)| data),
        None => text,
    };
    let bytes = STANDARD.decode(text.trim());
    bytes.map(Bytes::from).map_err(|_| {
        Problem::bad(
            "the picture is not in base64",
            "the request",
            "encode its file's bytes",
        )
    })
}

fn classes(segmentation: &Segmentation) -> Result<Vec<Value>, Problem> {
    let scores = mean_probabilities(segmentation);
    let labels = segmentation.labels();
    segmentation
        .shares()
        .into_iter()
        .map(|class| {
            let is_of = labels
                .ids()
                .iter()
                .map(|&id| f32::from(u8::from(id == class.id)));
            let is_of: Vec<f32> = is_of.collect();
            let png = probability_png(labels.width(), labels.height(), &is_of);
            let png = png.map_err(|error| Problem::of_picture(&error.into()))?;
            let score = scores.get(usize::from(class.id)).copied().flatten();
            Ok(json!({"label": class.name, "score": score, "mask": STANDARD.encode(png)}))
        })
        .collect()
}
