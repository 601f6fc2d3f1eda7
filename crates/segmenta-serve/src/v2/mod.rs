//! KServe's V2 protocol, also called the Open Inference Protocol, with Triton's extensions for binary tensors, the repository,
//! configurations and statistics: what clients made for Triton and OpenVINO Model Server speak.
//!
//! Each network is there twice. `NAME` takes a picture's file (`image`, BYTES) and answers `labels` (UINT8, height×width of the
//! picture) and `shares` (FP32, one for each class); `NAME.tensor` takes the network's own input (`input`, FP32, NCHW) and
//! answers its results.

pub mod codec;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Bytes;
use axum::extract::{Path, Request, State as Given};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use segmenta::graph::Shape;
use segmenta::{SegmentOptions, Tensor};
use serde_json::{Value, json};

use crate::api::{json as answer, whole};
use crate::health::is_ready;
use crate::models::{Entry, Loaded};
use crate::problem::Problem;
use crate::server::State;
use codec::{InferRequest, Numbers, Output};

const HEAD_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
/// What a network's second name ends in.
const TENSOR: &str = ".tensor";
const VERSION: &str = "1";

/// An error in the protocol's own words.
pub(crate) struct Refusal(Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<String> for Refusal {
    fn from(text: String) -> Self {
        Self(Problem::of_text(StatusCode::BAD_REQUEST, &text))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": self.0.line()}).to_string();
        self.0.with_body("application/json", body)
    }
}

type Answer = Result<Response, Refusal>;

/// A network by one of its two names.
struct Named<'a> {
    entry: &'a Arc<Entry>,
    is_tensor: bool,
}

impl<'a> Named<'a> {
    fn find(state: &'a State, name: &str, version: Option<&str>) -> Result<Self, Refusal> {
        if let Some(other) = version.filter(|&version| version != VERSION) {
            let what = format!("no version “{other}” of a network");
            let status = StatusCode::NOT_FOUND;
            return Err(
                Problem::new(status, what, name, format!("it is version {VERSION}")).into(),
            );
        }
        if let Ok(entry) = state.models.find(Some(name)) {
            return Ok(Self {
                entry,
                is_tensor: false,
            });
        }
        let plain = name.strip_suffix(TENSOR);
        Ok(Self {
            entry: state.models.find(Some(plain.unwrap_or(name)))?,
            is_tensor: plain.is_some(),
        })
    }

    fn name(&self) -> String {
        let ending = if self.is_tensor { TENSOR } else { "" };
        format!("{}{ending}", self.entry.name())
    }

    /// Name, type and extents of what goes in and out; −1 where they are the picture's.
    fn tensors(&self, loaded: &Loaded) -> [Vec<(String, &'static str, Vec<i64>)>; 2] {
        let model = &loaded.model;
        let description = model.description();
        if self.is_tensor {
            let channels = description.options.in_channels as i64;
            let results = results(loaded)
                .into_iter()
                .map(|(name, channels)| (name, "FP32", vec![-1, channels as i64, -1, -1]));
            return [
                vec![("input".into(), "FP32", vec![-1, channels, -1, -1])],
                results.collect(),
            ];
        }
        let classes = description.class_names().len() as i64;
        [
            vec![("image".into(), "BYTES", vec![1])],
            vec![
                ("labels".into(), "UINT8", vec![-1, -1]),
                ("shares".into(), "FP32", vec![classes]),
            ],
        ]
    }
}

/// Names and channels of a network's results, in the order in which it gives them.
fn results(loaded: &Loaded) -> Vec<(String, usize)> {
    let engine = loaded.model.engine();
    let graph = engine.graph();
    // Channels do not depend on the size, which has to be one that the network can take.
    let side = graph.least_side().unwrap_or(1).max(64).next_multiple_of(64);
    let channels = loaded.model.description().options.in_channels;
    let shapes = engine.result_shapes(Shape::new(1, channels, side, side));
    let result = loaded.model.result().to_owned();
    let names = std::iter::once(result).chain((1..).map(|i| format!("result{i}")));
    names
        .zip(shapes.unwrap_or_default())
        .map(|(name, shape)| (name, shape.channels))
        .collect()
}

/// `GET /v2`.
pub(crate) async fn server() -> Response {
    answer(&json!({
        "name": "segmenta",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data", "model_configuration", "model_repository", "statistics"],
    }))
}

/// `GET /v2/health/live`.
pub(crate) async fn live() -> StatusCode {
    StatusCode::OK
}

/// `GET /v2/health/ready`.
pub(crate) async fn ready(Given(state): Given<Arc<State>>) -> StatusCode {
    // The protocol has 4xx for what is not.
    if is_ready(&state) {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    }
}

pub(crate) async fn metadata(Given(state): Given<Arc<State>>, Path(model): Path<String>) -> Answer {
    describe(&state, &model, None)
}

pub(crate) async fn metadata_of_version(
    Given(state): Given<Arc<State>>,
    Path((model, version)): Path<(String, String)>,
) -> Answer {
    describe(&state, &model, Some(&version))
}

fn describe(state: &State, model: &str, version: Option<&str>) -> Answer {
    let named = Named::find(state, model, version)?;
    let loaded = named.entry.get()?;
    let [inputs, outputs] = named.tensors(&loaded).map(|tensors| {
        let tensors = tensors.into_iter();
        let tensors = tensors.map(
            |(name, datatype, shape)| json!({"name": name, "datatype": datatype, "shape": shape}),
        );
        tensors.collect::<Vec<Value>>()
    });
    Ok(answer(&json!({
        "name": named.name(),
        "versions": [VERSION],
        "platform": "segmenta",
        "inputs": inputs,
        "outputs": outputs,
    })))
}

pub(crate) async fn model_ready(
    Given(state): Given<Arc<State>>,
    Path(model): Path<String>,
) -> Answer {
    readiness(&state, &model, None)
}

pub(crate) async fn version_ready(
    Given(state): Given<Arc<State>>,
    Path((model, version)): Path<(String, String)>,
) -> Answer {
    readiness(&state, &model, Some(&version))
}

fn readiness(state: &State, model: &str, version: Option<&str>) -> Answer {
    let named = Named::find(state, model, version)?;
    let is_loaded = named.entry.loaded().is_some() && !state.is_draining();
    Ok(if is_loaded {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    }
    .into_response())
}

pub(crate) async fn config(Given(state): Given<Arc<State>>, Path(model): Path<String>) -> Answer {
    configuration(&state, &model, None)
}

pub(crate) async fn config_of_version(
    Given(state): Given<Arc<State>>,
    Path((model, version)): Path<(String, String)>,
) -> Answer {
    configuration(&state, &model, Some(&version))
}

fn configuration(state: &State, model: &str, version: Option<&str>) -> Answer {
    let named = Named::find(state, model, version)?;
    let loaded = named.entry.get()?;
    let [inputs, outputs] = named.tensors(&loaded).map(|tensors| {
        let tensors = tensors.into_iter().map(|(name, datatype, dims)| {
            let datatype = if datatype == "BYTES" {
                "STRING"
            } else {
                datatype
            };
            json!({"name": name, "data_type": format!("TYPE_{datatype}"), "dims": dims})
        });
        tensors.collect::<Vec<Value>>()
    });
    Ok(answer(&json!({
        "name": named.name(),
        "platform": "segmenta",
        "backend": "segmenta",
        "version_policy": {"latest": {"num_versions": 1}},
        // The batch is an extent of its own, of the tensor.
        "max_batch_size": 0,
        "input": inputs,
        "output": outputs,
    })))
}

pub(crate) async fn statistics(
    Given(state): Given<Arc<State>>,
    Path(model): Path<String>,
) -> Answer {
    counts(&state, &model, None)
}

pub(crate) async fn statistics_of_version(
    Given(state): Given<Arc<State>>,
    Path((model, version)): Path<(String, String)>,
) -> Answer {
    counts(&state, &model, Some(&version))
}

fn counts(state: &State, model: &str, version: Option<&str>) -> Answer {
    let named = Named::find(state, model, version)?;
    let statistics = &named.entry.statistics;
    let of = |value: &AtomicU64| value.load(Ordering::Relaxed);
    let duration =
        |count: u64, micros: &AtomicU64| json!({"count": count, "ns": of(micros) * 1000});
    let (succeeded, pictures) = (of(&statistics.succeeded), of(&statistics.pictures));
    Ok(answer(&json!({"model_stats": [{
        "name": named.name(),
        "version": VERSION,
        "inference_count": pictures,
        "execution_count": of(&statistics.runs),
        "inference_stats": {
            "success": duration(succeeded, &statistics.request),
            "fail": {"count": of(&statistics.failed), "ns": 0},
            "queue": duration(succeeded, &statistics.queue),
            "compute_input": duration(pictures, &statistics.input),
            "compute_infer": duration(pictures, &statistics.network),
            "compute_output": duration(succeeded, &statistics.output),
        },
        "batch_stats": [],
    }]})))
}

/// `POST /v2/repository/index`.
pub(crate) async fn index(Given(state): Given<Arc<State>>, body: Bytes) -> Answer {
    let body = parameters(&body)?;
    let only_ready = body.get("ready").and_then(Value::as_bool).unwrap_or(false);
    let mut all = Vec::new();
    for entry in state.models.iter() {
        let is_loaded = entry.loaded().is_some();
        if only_ready && !is_loaded {
            continue;
        }
        let (word, reason) = if is_loaded {
            ("READY", "")
        } else {
            ("UNAVAILABLE", "unloaded")
        };
        for ending in ["", TENSOR] {
            all.push(json!({
                "name": format!("{}{ending}", entry.name()),
                "version": VERSION,
                "state": word,
                "reason": reason,
            }));
        }
    }
    Ok(answer(&all))
}

/// What a body of the repository's says; nothing is as good as an empty object.
fn parameters(body: &[u8]) -> Result<Value, Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(json!({}));
    }
    serde_json::from_slice(body).map_err(|error| format!("the JSON cannot be read: {error}").into())
}

/// `POST /v2/repository/models/{model}/load`: only what was named at start, as it was named.
pub(crate) async fn load(
    Given(state): Given<Arc<State>>,
    Path(model): Path<String>,
    body: Bytes,
) -> Answer {
    let given = parameters(&body)?;
    let has_some = given
        .get("parameters")
        .and_then(Value::as_object)
        .is_some_and(|given| !given.is_empty());
    if has_some {
        let remedy = "networks are those that were named when the server began, as they were named";
        return Err(Problem::bad(
            "a configuration or files come with the request",
            model,
            remedy,
        )
        .into());
    }
    let entry = Arc::clone(Named::find(&state, &model, None)?.entry);
    let batching = state.batching;
    let loading = tokio::task::spawn_blocking(move || entry.load(batching, &mut |_| {}));
    match loading.await {
        Ok(Ok(())) => Ok(StatusCode::OK.into_response()),
        Ok(Err(error)) => Err(Problem::of_text(StatusCode::BAD_REQUEST, &error.to_string()).into()),
        Err(error) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Err(Problem::new(status, error.to_string(), model, "what was loaded stays").into())
        }
    }
}

/// `POST /v2/repository/models/{model}/unload`.
pub(crate) async fn unload(Given(state): Given<Arc<State>>, Path(model): Path<String>) -> Answer {
    Named::find(&state, &model, None)?.entry.unload();
    Ok(StatusCode::OK.into_response())
}

pub(crate) async fn infer(
    Given(state): Given<Arc<State>>,
    Path(model): Path<String>,
    request: Request,
) -> Answer {
    run(&state, &model, None, request).await
}

pub(crate) async fn infer_of_version(
    Given(state): Given<Arc<State>>,
    Path((model, version)): Path<(String, String)>,
    request: Request,
) -> Answer {
    run(&state, &model, Some(&version), request).await
}

fn head_length(headers: &HeaderMap) -> Result<Option<usize>, Refusal> {
    let Some(length) = headers.get(HEAD_LENGTH) else {
        return Ok(None);
    };
    let length = length.to_str().ok().and_then(|length| length.parse().ok());
    Ok(Some(length.ok_or(
        "Inference-Header-Content-Length is no number".to_owned(),
    )?))
}

async fn run(state: &Arc<State>, model: &str, version: Option<&str>, request: Request) -> Answer {
    let named = Named::find(state, model, version)?;
    let place = state.pool.place()?;
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        return Err("compressed bodies are not read · send it as it is"
            .to_owned()
            .into());
    }
    let head = head_length(request.headers())?;
    let body = whole(state, request.into_body()).await?;
    let mut infer = codec::read(&body, head)?;
    drop(body);
    let [expected, _] = named.tensors(&*named.entry.get()?);
    let expected = &expected[0].0;
    if infer.inputs.len() != 1 || infer.inputs[0].name != *expected {
        let names: Vec<&str> = infer
            .inputs
            .iter()
            .map(|input| input.name.as_str())
            .collect();
        return Err(format!(
            "the inputs are [{}] · {} · it takes one, `{expected}`",
            names.join(", "),
            named.name()
        )
        .into());
    }
    let input = infer.inputs.remove(0);
    let name = named.name();
    let deadline = state.limits.deadline;
    let (body, head) = if named.is_tensor {
        let &[batch, channels, height, width] = &input.shape[..] else {
            return Err(format!(
                "`input` has the shape {:?} · {name} · it takes four extents, NCHW",
                input.shape
            )
            .into());
        };
        let shape = Shape::new(batch, channels, height, width);
        let data = input.floats()?;
        let input = Tensor { shape, data };
        let make = move |results: Vec<Tensor>, loaded: &Loaded| {
            let outputs =
                self::results(loaded)
                    .into_iter()
                    .zip(results)
                    .map(|((name, _), tensor)| {
                        let Shape {
                            batch,
                            channels,
                            height,
                            width,
                        } = tensor.shape;
                        Output {
                            name,
                            shape: vec![batch, channels, height, width],
                            numbers: Numbers::Floats(tensor.data),
                        }
                    });
            written(&name, &infer, &outputs.collect::<Vec<_>>())
        };
        state
            .pool
            .forward(named.entry, input, Some(place), deadline, make)
            .await?
    } else {
        let bytes = Bytes::from(input.one_string()?);
        let options = SegmentOptions::new();
        let make = move |segmented: crate::pool::Segmented| {
            let segmentation = segmented.segmentation;
            let mut shares = vec![0.0; segmentation.class_names().len()];
            for class in segmentation.shares() {
                if let Some(share) = shares.get_mut(usize::from(class.id)) {
                    *share = class.share as f32;
                }
            }
            let (width, height) = segmentation.labels().size();
            let outputs = [
                Output {
                    name: "labels".into(),
                    shape: vec![height, width],
                    numbers: Numbers::Bytes(segmentation.labels().ids().to_vec()),
                },
                Output {
                    name: "shares".into(),
                    shape: vec![shares.len()],
                    numbers: Numbers::Floats(shares),
                },
            ];
            written(&name, &infer, &outputs)
        };
        state
            .pool
            .segment(named.entry, bytes, options, Some(place), deadline, make)
            .await?
    };
    let mut response = match head {
        None => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Some(_) => ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response(),
    };
    if let Some(head) = head {
        response
            .headers_mut()
            .insert(HEAD_LENGTH, HeaderValue::from(head));
    }
    Ok(response)
}

fn written(
    name: &str,
    request: &InferRequest,
    outputs: &[Output],
) -> Result<(Vec<u8>, Option<usize>), Problem> {
    codec::write(name, request, outputs)
        .map_err(|text| Problem::of_text(StatusCode::BAD_REQUEST, &text))
}
