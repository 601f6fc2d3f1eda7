//! Every address that is answered, once: the router and the description for programs are made of this table.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};

use crate::guard::guard;
use crate::problem::Problem;
use crate::server::State;
use crate::{api, health, hugging_face, label_studio, page, v2};

/// An address.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// What it is for, in a sentence.
    pub(crate) about: &'static str,
    /// What is sent.
    pub(crate) takes: Takes,
    answer: MethodRouter<Arc<State>>,
}

/// What a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    /// A picture, as it is or in a form, with the parameters of `/v1/segment`.
    Picture,
    /// Several in a form.
    Pictures,
    /// JSON, which another protocol describes.
    Json,
}

pub(crate) fn ask<H, T>(path: &'static str, about: &'static str, handler: H) -> Route
where
    H: Handler<T, Arc<State>>,
    T: 'static,
{
    Route {
        method: Method::GET,
        path,
        about,
        takes: Takes::Nothing,
        answer: get(handler),
    }
}

fn send<H, T>(path: &'static str, about: &'static str, takes: Takes, handler: H) -> Route
where
    H: Handler<T, Arc<State>>,
    T: 'static,
{
    Route {
        method: Method::POST,
        path,
        about,
        takes,
        answer: post(handler),
    }
}

/// All of them.
pub(crate) fn routes() -> Vec<Route> {
    use Takes::{Json, Nothing, Picture, Pictures};
    vec![
        ask("/", "The page for people", page::html),
        ask("/page.css", "Its style", page::css),
        ask("/page.js", "Its script", page::js),
        ask("/openapi.json", "This description", api::openapi::document),
        ask("/health", "Whether the server lives", health::health),
        ask(
            "/ready",
            "Whether every network is loaded and nothing ends",
            health::ready,
        ),
        ask("/metrics", "Counters for Prometheus", health::metrics),
        ask("/v1/models", "The networks that are served", api::models),
        ask("/v1/models/{model}", "One of them", api::model),
        ask("/v1/status", "Queue, threads and counts", api::status),
        send("/v1/segment", "Segments a picture", Picture, api::segment),
        send(
            "/v1/segment/batch",
            "Segments several pictures: a zip, or multipart/mixed where that is accepted",
            Pictures,
            api::segment_batch,
        ),
        ask("/v2", "KServe V2: the server", v2::server),
        ask(
            "/v2/health/live",
            "KServe V2: whether the server lives",
            v2::live,
        ),
        ask(
            "/v2/health/ready",
            "KServe V2: whether every network is loaded",
            v2::ready,
        ),
        ask(
            "/v2/models/{model}",
            "KServe V2: a network's tensors",
            v2::metadata,
        ),
        ask(
            "/v2/models/{model}/ready",
            "KServe V2: whether it is loaded",
            v2::model_ready,
        ),
        ask(
            "/v2/models/{model}/config",
            "Triton: its configuration",
            v2::config,
        ),
        ask(
            "/v2/models/{model}/stats",
            "Triton: its counts",
            v2::statistics,
        ),
        send(
            "/v2/models/{model}/infer",
            "KServe V2: tensors in, tensors out",
            Json,
            v2::infer,
        ),
        ask(
            "/v2/models/{model}/versions/{version}",
            "KServe V2: a network's tensors",
            v2::metadata_of_version,
        ),
        ask(
            "/v2/models/{model}/versions/{version}/ready",
            "KServe V2: whether it is loaded",
            v2::version_ready,
        ),
        ask(
            "/v2/models/{model}/versions/{version}/config",
            "Triton: its configuration",
            v2::config_of_version,
        ),
        ask(
            "/v2/models/{model}/versions/{version}/stats",
            "Triton: its counts",
            v2::statistics_of_version,
        ),
        send(
            "/v2/models/{model}/versions/{version}/infer",
            "KServe V2: tensors in, tensors out",
            Json,
            v2::infer_of_version,
        ),
        send(
            "/v2/repository/index",
            "Triton: the networks by name",
            Nothing,
            v2::index,
        ),
        send(
            "/v2/repository/models/{model}/load",
            "Triton: loads a network anew that was named at start",
            Nothing,
            v2::load,
        ),
        send(
            "/v2/repository/models/{model}/unload",
            "Triton: puts it away",
            Nothing,
            v2::unload,
        ),
        send(
            "/",
            "Hugging Face's image segmentation by the first network",
            Json,
            hugging_face::first,
        ),
        send(
            "/models/{model}",
            "Hugging Face's image segmentation",
            Json,
            hugging_face::named,
        ),
        send(
            "/setup",
            "Label Studio's backend: its labels",
            Json,
            label_studio::setup,
        ),
        send(
            "/predict",
            "Label Studio's backend: brush labels for tasks",
            Json,
            label_studio::predict,
        ),
    ]
}

/// What answers requests.
pub(crate) fn router(state: Arc<State>) -> Router {
    router_of(routes(), state)
}

/// What answers at these addresses, behind the guard.
pub(crate) fn router_of(routes: Vec<Route>, state: Arc<State>) -> Router {
    let mut router = Router::new();
    for route in routes {
        router = router.route(route.path, route.answer);
    }
    router
        .fallback(nothing)
        .method_not_allowed_fallback(another_method)
        // Bodies are counted where they are read.
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(&state), guard))
        .with_state(state)
}

async fn nothing(uri: Uri) -> Response {
    let path: String = uri.path().chars().take(80).collect();
    let remedy = "/openapi.json lists what there is";
    Problem::new(StatusCode::NOT_FOUND, "there is nothing", path, remedy).into_response()
}

async fn another_method(method: Method, uri: Uri) -> Response {
    let path: String = uri.path().chars().take(80).collect();
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let what = format!("{method} is not answered");
    Problem::new(status, what, path, "/openapi.json lists what there is").into_response()
}
