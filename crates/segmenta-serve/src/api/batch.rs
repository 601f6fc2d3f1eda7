//! Many pictures in one request, many results in one answer: a zip, or parts for who accepts `multipart/mixed`.

use std::collections::BTreeSet;
use std::io::{Cursor, Write};
use std::sync::Arc;

use axum::extract::{Request, State as Given};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::answer;
use super::ask::Output;
use super::body::pictures;
use crate::pool::Segmented;
use crate::problem::Problem;
use crate::server::State;

/// A result with the picture's size, or what was wrong.
type Made = Result<(Vec<u8>, (usize, usize)), Problem>;

/// What separates the parts of an answer.
const BOUNDARY: &str = "segmenta-6f2a91c4";

/// `POST /v1/segment/batch`: what can be done is done; `results.json` says of each picture which file it became, or what was
/// wrong with it.
pub(crate) async fn segment_batch(
    Given(state): Given<Arc<State>>,
    request: Request,
) -> Result<Response, Problem> {
    let place = state.pool.place()?;
    let accepts = request.headers().get(header::ACCEPT);
    let accepts = accepts
        .and_then(|accepts| accepts.to_str().ok())
        .unwrap_or_default();
    let in_parts = accepts.contains("multipart/");
    let (ask, sent) = pictures(&state, request, state.limits.pictures).await?;
    let entry = state.models.find(ask.model.as_deref())?;
    let options = ask.options()?;
    let names = names(sent.iter().map(|sent| sent.name.as_deref()), ask.output);
    let until = tokio::time::Instant::now() + state.limits.deadline;
    // The first has the request's place; the others come one after another, so that many pictures of one sender do not
    // fill the queue: as many at a time as there are threads.
    let together = state.pool.limits().1;
    let mut place = Some(place);
    let given: Vec<Option<String>> = sent.iter().map(|sent| sent.name.clone()).collect();
    let mut made: Vec<Option<Made>> = sent.iter().map(|_| None).collect();
    // Dropped with this future when the sender goes away, and the work with it.
    let mut running = JoinSet::new();
    let mut left = sent.into_iter().enumerate();
    loop {
        while running.len() < together
            && let Some((i, sent)) = left.next()
        {
            let (state, entry) = (Arc::clone(&state), Arc::clone(entry));
            let (ask, options, place) = (ask.clone(), options.clone(), place.take());
            running.spawn(async move {
                let deadline = until.saturating_duration_since(tokio::time::Instant::now());
                let name = entry.name().to_owned();
                let make = move |segmented: Segmented| {
                    let size = segmented.segmentation.labels().size();
                    Ok((answer::make(&segmented, &ask, &name)?, size))
                };
                let pool = &state.pool;
                (
                    i,
                    pool.segment(&entry, sent.bytes, options, place, deadline, make)
                        .await,
                )
            });
        }
        match running.join_next().await {
            None => break,
            // Nothing is done any more in time.
            Some(Ok((_, Err(problem)))) if problem.status() == StatusCode::GATEWAY_TIMEOUT => {
                return Err(problem);
            }
            Some(Ok((i, result))) => made[i] = Some(result),
            Some(Err(error)) => tracing::error!("a picture's task ended: {error}"),
        }
    }
    let mut files: Vec<(String, Vec<u8>)> = Vec::with_capacity(made.len() + 1);
    let mut results: Vec<Value> = Vec::with_capacity(made.len());
    for ((made, name), file) in made.into_iter().zip(given).zip(names) {
        results.push(match made {
            Some(Ok((bytes, (width, height)))) => {
                let result = json!({"name": name, "file": file, "width": width, "height": height});
                files.push((file, bytes));
                result
            }
            Some(Err(problem)) => {
                json!({"name": name, "status": problem.status().as_u16(), "error": problem.line()})
            }
            None => {
                json!({"name": name, "status": 500, "error": "the work ended without a result"})
            }
        });
    }
    let listed =
        serde_json::to_vec(&json!({"model": entry.name(), "results": results})).unwrap_or_default();
    files.push(("results.json".into(), listed));
    if in_parts {
        return Ok(parts(&files, ask.output));
    }
    let packed = packed(&files).map_err(|error| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
            "the zip",
            "ask for multipart/mixed",
        )
    })?;
    Ok(([(header::CONTENT_TYPE, "application/zip")], packed).into_response())
}

/// A name for each result, told apart where pictures have one name. None leads out of the archive.
fn names<'a>(given: impl Iterator<Item = Option<&'a str>>, output: Output) -> Vec<String> {
    let mut taken = BTreeSet::from(["results.json".to_owned()]);
    let ending = match output {
        Output::Json => "json".to_owned(),
        other => format!("{}.{}", other.word(), other.extension()),
    };
    given
        .enumerate()
        .map(|(i, name)| {
            let name = name.unwrap_or_default();
            let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
            let safe: String = last
                .chars()
                .filter(|c| !c.is_control() && !"<>:\"|?*".contains(*c))
                .collect();
            let stem = match safe.rsplit_once('.') {
                Some((stem, _)) if !stem.is_empty() => stem.to_owned(),
                _ => safe,
            };
            let stem = match stem.trim_matches('.') {
                "" => format!("{}", i + 1),
                stem => stem.to_owned(),
            };
            let mut unique = format!("{stem}.{ending}");
            let mut copy = 1;
            while !taken.insert(unique.clone()) {
                copy += 1;
                unique = format!("{stem}-{copy}.{ending}");
            }
            unique
        })
        .collect()
}

fn packed(files: &[(String, Vec<u8>)]) -> zip::result::ZipResult<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    // PNGs are compressed already.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in files {
        zip.start_file(name.as_str(), options)?;
        zip.write_all(bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

fn parts(files: &[(String, Vec<u8>)], output: Output) -> Response {
    let mut body = Vec::new();
    for (name, bytes) in files {
        let kind = if name == "results.json" {
            "application/json"
        } else {
            output.kind()
        };
        // No name here has a quote or a control character.
        let head = format!(
            "--{BOUNDARY}\r\nContent-Type: {kind}\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
             Content-Length: {}\r\n\r\n",
            bytes.len()
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    let kind = format!("multipart/mixed; boundary={BOUNDARY}");
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_names_of_their_own_inside_the_archive() {
        let given = [
            Some("a.jpg"),
            Some("b/a.png"),
            Some("../../etc/passwd"),
            Some("..\\x.tif"),
            Some(".."),
            None,
            Some("results.json"),
            Some("日本 1.png"),
        ];
        let names = names(given.into_iter(), Output::Mask);
        assert_eq!(
            names,
            [
                "a.mask.png",
                "a-2.mask.png",
                "passwd.mask.png",
                "x.mask.png",
                "5.mask.png",
                "6.mask.png",
                "results.mask.png",
                "日本 1.mask.png"
            ]
        );
        let json = super::names([Some("results.png")].into_iter(), Output::Json);
        assert_eq!(json, ["results-2.json"]);
    }
}
