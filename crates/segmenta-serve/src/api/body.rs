//! Pictures out of a request's body: as they are, or as files of a form; and what else a form says.

use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};

use super::ask::Ask;
use crate::problem::Problem;
use crate::server::State;

/// A picture that was sent.
pub(crate) struct Sent {
    /// The name of its file, if a form says it.
    pub(crate) name: Option<String>,
    pub(crate) bytes: Bytes,
}

/// A body whole, within the server's limits of size and time.
///
/// # Errors
/// 413 and 408.
pub(crate) async fn whole(state: &State, body: Body) -> Result<Bytes, Problem> {
    let limit = state.limits.body;
    let read = Limited::new(body, limit).collect();
    let read = tokio::time::timeout(state.limits.read, read).await;
    let read = read.map_err(|_| too_slow(state))?;
    let collected = read.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            too_large(state)
        } else {
            Problem::bad(
                "the body ended before it was whole",
                "the request",
                "send it again",
            )
        }
    })?;
    Ok(collected.to_bytes())
}

fn too_large(state: &State) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("more than {} MiB", state.limits.body >> 20),
        "the body",
        "send a smaller picture, or start the server with a larger --max-body",
    )
}

fn too_slow(state: &State) -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        format!("not whole within {} s", state.limits.read.as_secs_f64()),
        "the body",
        "send it faster",
    )
}

/// The pictures of a request, and what it says in its query and its form.
///
/// # Errors
/// No picture, more than `most` of them, a form that is none, what [`whole`] and [`Ask::set`] say.
pub(crate) async fn pictures(
    state: &State,
    request: Request,
    most: usize,
) -> Result<(Ask, Vec<Sent>), Problem> {
    let mut ask = Ask::read(request.uri().query().unwrap_or_default())?;
    // What says that it is too large is not read.
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > state.limits.body as u64) {
        return Err(too_large(state));
    }
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let sent = if kind.starts_with("multipart/") {
        let form = tokio::time::timeout(state.limits.read, form(state, request, &mut ask, most));
        form.await.map_err(|_| too_slow(state))??
    } else {
        let bytes = whole(state, request.into_body()).await?;
        vec![Sent { name: None, bytes }]
    };
    if sent.iter().all(|sent| sent.bytes.is_empty()) {
        return Err(Problem::bad(
            "there is no picture",
            "the body",
            "send its bytes (curl --data-binary @photo.jpg), or a form with a file",
        ));
    }
    Ok((ask, sent))
}

async fn form(
    state: &State,
    request: Request,
    ask: &mut Ask,
    most: usize,
) -> Result<Vec<Sent>, Problem> {
    let broken = |error: String| {
        Problem::bad(
            format!("a form that cannot be read: {error}"),
            "the body",
            "send it again",
        )
    };
    let (parts, body) = request.into_parts();
    let limited = Body::new(Limited::new(body, state.limits.body));
    let request = Request::from_parts(parts, limited);
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|error| broken(error.body_text()))?;
    let failed = |error: axum::extract::multipart::MultipartError| {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE
            || error.body_text().contains("length limit")
        {
            too_large(state)
        } else {
            broken(error.body_text())
        }
    };
    let mut sent: Vec<Sent> = Vec::new();
    while let Some(field) = form.next_field().await.map_err(failed)? {
        let name = field.name().unwrap_or_default().to_owned();
        let file = field.file_name().map(ToOwned::to_owned);
        let is_picture = file.is_some()
            || ["image", "file", "picture", "images", "files"].contains(&name.as_str());
        let bytes = field.bytes().await.map_err(failed)?;
        if !is_picture {
            ask.set(&name, &String::from_utf8_lossy(&bytes))?;
            continue;
        }
        if sent.len() == most {
            let remedy = if most == 1 {
                "send one, or all of them to /v1/segment/batch"
            } else {
                "send fewer at a time"
            };
            return Err(Problem::bad(
                format!("more than {}", pictures_of(most)),
                "the form",
                remedy,
            ));
        }
        sent.push(Sent { name: file, bytes });
    }
    Ok(sent)
}

fn pictures_of(count: usize) -> String {
    if count == 1 {
        "one picture".into()
    } else {
        format!("{count} pictures")
    }
}
