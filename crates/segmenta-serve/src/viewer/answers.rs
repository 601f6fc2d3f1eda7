//! What is answered of a data set.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Path, State as Given};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use segmenta::data::Dataset;
use segmenta::image::{Filter as Resampling, Palette};
use serde_json::json;

use super::Viewed;
use super::filter::Filter;
use crate::api;
use crate::problem::Problem;
use crate::server::State;

/// The longer side of a picture that is sent, unless less is asked for: as many pixels as screens have.
const LONGEST: usize = 2048;

/// Files of a finding that are named; the pictures that have it can be asked for.
const NAMED: usize = 20;

fn viewed(state: &State) -> Result<&Arc<Viewed>, Problem> {
    // The routes are there only where a data set is.
    state.viewed.as_ref().ok_or_else(|| {
        let remedy = "start `segmenta view DIR`";
        Problem::new(
            StatusCode::NOT_FOUND,
            "no data set is looked at",
            "the server",
            remedy,
        )
    })
}

/// `GET /v1/data`.
pub(super) async fn summary(Given(state): Given<Arc<State>>) -> Result<Response, Problem> {
    let viewed = viewed(&state)?;
    let dataset = &viewed.dataset;
    let inspected = viewed.inspected.get();
    let pixels: u64 = inspected.map_or(0, |found| {
        found.report.classes.iter().map(|class| class.pixels).sum()
    });
    let classes: Vec<_> = (0..dataset.classes().len().min(256))
        .map(|id| {
            let counted = inspected.and_then(|found| found.report.classes.get(id));
            json!({
                "id": id,
                "name": dataset.classes().name(id),
                "color": dataset.classes().palette().color(id as u8),
                "pictures": counted.map(|class| class.pictures),
                "share": counted.map(|class| class.pixels as f64 / pixels.max(1) as f64),
            })
        })
        .collect();
    let findings = inspected.map_or(&[][..], |found| &found.report.findings);
    let findings: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "problem": finding.problem,
                "severity": finding.severity,
                "words": finding.problem.word(),
                "count": finding.count,
                "pictures": finding.items.len(),
                "detail": finding.detail,
                "remedy": finding.remedy,
                "files": &finding.files[..finding.files.len().min(NAMED)],
            })
        })
        .collect();
    let splits = segmenta::data::Split::ALL
        .into_iter()
        .filter(|split| dataset.has(*split));
    let is_masked = dataset.items().iter().any(segmenta::data::Item::has_mask);
    Ok(api::json(&json!({
        "title": viewed.title,
        "kind": dataset.kind().name(),
        "pictures": dataset.len(),
        "masks": is_masked.then(|| dataset.meaning().to_string()),
        "splits": splits.map(segmenta::data::Split::name).collect::<Vec<_>>(),
        "classes": classes,
        "check": {
            "done": inspected.is_some(),
            "pictures": viewed.checked.load(Ordering::Relaxed),
        },
        "findings": findings,
    })))
}

/// `GET /v1/data/items`.
pub(super) async fn items(Given(state): Given<Arc<State>>, uri: Uri) -> Result<Response, Problem> {
    let viewed = viewed(&state)?;
    let filter = Filter::read(uri.query().unwrap_or_default())?;
    let meant = filter.apply(viewed)?;
    let inspected = viewed.inspected.get();
    let listed = meant.iter().skip(filter.from).take(filter.count);
    let listed: Vec<_> = listed
        .map(|&index| {
            let item = &viewed.dataset.items()[index];
            let contents = inspected.map(|found| &found.contents[index]);
            json!({
                "index": index,
                "name": item.name(),
                "split": item.split(),
                "masked": item.has_mask(),
                "size": contents.and_then(|contents| contents.size),
                "classes": contents.map(|contents| &contents.classes),
                "ignored": contents.map(|contents| contents.ignored),
                "findings": inspected.map(|found| &found.findings[index]),
            })
        })
        .collect();
    Ok(api::json(&json!({
        "total": meant.len(),
        "from": filter.from,
        "items": listed,
    })))
}

/// `GET /v1/data/items/{index}/picture`.
pub(super) async fn picture(
    Given(state): Given<Arc<State>>,
    Path(index): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    drawn(&state, &index, &uri, |dataset, index, side| {
        let picture = dataset.picture(index).map_err(|error| of_data(&error))?;
        let (width, height) = fitted(picture.size(), side);
        Ok(picture.resize(width, height, Resampling::Bilinear).to_png())
    })
    .await
}

/// `GET /v1/data/items/{index}/mask`: a PNG of the size of the picture that is sent, whose grey is the class's id.
pub(super) async fn mask(
    Given(state): Given<Arc<State>>,
    Path(index): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    drawn(&state, &index, &uri, |dataset, index, side| {
        let sample = dataset.sample(index).map_err(|error| of_data(&error))?;
        let (width, height) = fitted(sample.size(), side);
        let grey = Palette::from_colors(&std::array::from_fn::<_, 256, _>(|id| [id as u8; 3]));
        Ok(sample.labels().resize_nearest(width, height).to_png(&grey))
    })
    .await
}

/// A picture made on a thread that may compute, not on the one that waits for sockets.
async fn drawn(
    state: &Arc<State>,
    index: &str,
    uri: &Uri,
    draw: fn(&Dataset, usize, usize) -> Result<Vec<u8>, Problem>,
) -> Result<Response, Problem> {
    let viewed = Arc::clone(viewed(state)?);
    let side = side(uri.query().unwrap_or_default())?;
    let pictures = viewed.dataset.len();
    let index = index.parse().ok().filter(|&index| index < pictures);
    let index: usize = index.ok_or_else(|| {
        let remedy = format!("name one of 0 to {}", pictures.saturating_sub(1));
        Problem::new(
            StatusCode::NOT_FOUND,
            "there is no such picture",
            "the address",
            remedy,
        )
    })?;
    let broken = || {
        let what = "the picture was not made";
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            what,
            "the server",
            "start it again",
        )
    };
    // Nothing closes it while the server runs.
    let permit = Arc::clone(&viewed.readers).acquire_owned().await;
    let permit = permit.map_err(|_| broken())?;
    let made = tokio::task::spawn_blocking(move || {
        let made = draw(&viewed.dataset, index, side);
        drop(permit);
        made
    });
    let png = made.await.map_err(|_| broken())??;
    let headers = [
        (header::CONTENT_TYPE, "image/png"),
        // Files may be mended while they are looked at.
        (header::CACHE_CONTROL, "private, max-age=30"),
    ];
    Ok((headers, png).into_response())
}

/// `side=N`: the longer side in pixels at most.
fn side(query: &str) -> Result<usize, Problem> {
    let mut side = LONGEST;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == "side" {
            let given = value
                .parse()
                .ok()
                .filter(|side| (1..=LONGEST).contains(side));
            side = given.ok_or_else(|| {
                let shown: String = value.chars().take(40).collect();
                let remedy = format!("1 to {LONGEST} pixels");
                Problem::bad(format!("`side` is “{shown}”"), "the query", remedy)
            })?;
        }
    }
    Ok(side)
}

/// The size with its longer side at most that long, proportions kept.
fn fitted((width, height): (usize, usize), side: usize) -> (usize, usize) {
    let longer = width.max(height);
    if longer <= side {
        return (width, height);
    }
    let of = |length: usize| (length * side).div_ceil(longer).max(1);
    (of(width), of(height))
}

fn of_data(error: &segmenta::data::DataError) -> Problem {
    Problem::of_text(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string())
}
