//! Label Studio's machine-learning backend: `/setup` says what it is, `/predict` gives tasks brush labels, in the run lengths that
//! its brushes have (`@thi.ng/rle-pack`, which its converter reads).

use std::sync::Arc;

use axum::extract::{Request, State as Given};
use axum::http::StatusCode;
use axum::response::Response;
use segmenta::{LabelMap, SegmentOptions};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::{json as answer, mean_probabilities, whole};
use crate::hugging_face::picture;
use crate::pool::Segmented;
use crate::problem::Problem;
use crate::server::State;

#[derive(Deserialize)]
struct Document {
    tasks: Vec<Task>,
    label_config: Option<String>,
}

#[derive(Deserialize)]
struct Task {
    id: Option<Value>,
    data: Map<String, Value>,
}

/// `POST /setup`.
pub(crate) async fn setup(Given(state): Given<Arc<State>>) -> Result<Response, Problem> {
    let entry = state.models.find(None)?;
    let loaded = entry.get()?;
    let labels = loaded.model.description().class_names();
    Ok(answer(
        &json!({"model_version": entry.name(), "labels": labels}),
    ))
}

/// `POST /predict`.
pub(crate) async fn predict(
    Given(state): Given<Arc<State>>,
    request: Request,
) -> Result<Response, Problem> {
    let entry = state.models.find(None)?;
    let mut place = Some(state.pool.place()?);
    let body = whole(&state, request.into_body()).await?;
    let document: Document = serde_json::from_slice(&body).map_err(|error| {
        Problem::bad(
            format!("the JSON cannot be read: {error}"),
            "the body",
            "send {\"tasks\": [{\"data\": …}]}",
        )
    })?;
    drop(body);
    if document.tasks.len() > state.limits.pictures {
        let most = state.limits.pictures;
        return Err(Problem::bad(
            format!("more than {most} tasks"),
            "the body",
            "send fewer at a time",
        ));
    }
    let names = Names::of(document.label_config.as_deref().unwrap_or_default());
    let mut results = Vec::with_capacity(document.tasks.len());
    for task in document.tasks {
        let given = names.value.as_ref().and_then(|value| task.data.get(value));
        let given = given
            .or_else(|| task.data.get("image"))
            .and_then(Value::as_str);
        let shown = task.id.unwrap_or(Value::Null).to_string();
        let given = given.ok_or_else(|| {
            Problem::bad(
                "there is no picture",
                format!("task {shown}"),
                "give it as `image`, a data URI",
            )
        })?;
        // Label Studio's addresses of its own uploads would have to be fetched.
        if given.starts_with('/') {
            return Err(Problem::bad(
                "an upload's address instead of a picture",
                format!("task {shown}"),
                "no address is fetched: give pictures as data URIs",
            ));
        }
        let bytes = picture(given)?;
        let names = names.clone();
        let make = move |segmented: Segmented| brushes(&segmented, &names);
        let options = SegmentOptions::new().probability(true);
        let deadline = state.limits.deadline;
        let (result, score) = state
            .pool
            .segment(entry, bytes, options, place.take(), deadline, make)
            .await?;
        results.push(json!({"result": result, "score": score, "model_version": entry.name()}));
    }
    Ok(answer(
        &json!({"results": results, "model_version": entry.name()}),
    ))
}

/// What the labelling interface calls its tags.
#[derive(Clone, Debug)]
struct Names {
    /// `BrushLabels`' name, and the picture's.
    from: String,
    to: String,
    /// The field of a task's data that has the picture.
    value: Option<String>,
}

impl Names {
    /// Out of the interface's XML: the attributes of its `BrushLabels` and `Image`.
    fn of(interface: &str) -> Self {
        let attribute = |tag: &str, name: &str| {
            let begins = interface.find(&format!("<{tag} "))?;
            let rest = &interface[begins..];
            let inside = &rest[..rest.find('>')?];
            let found = inside.find(&format!(" {name}="))?;
            let value = &inside[found + name.len() + 2..];
            let quote = value.chars().next().filter(|c| "\"'".contains(*c))?;
            value[1..]
                .split_once(quote)
                .map(|(value, _)| value.to_owned())
        };
        let or = |found: Option<String>, otherwise: &str| found.unwrap_or_else(|| otherwise.into());
        Self {
            from: or(attribute("BrushLabels", "name"), "tag"),
            to: or(attribute("Image", "name"), "image"),
            value: attribute("Image", "value").map(|value| value.trim_start_matches('$').into()),
        }
    }
}

/// A brush label for each class but the background.
fn brushes(segmented: &Segmented, names: &Names) -> Result<(Vec<Value>, Option<f64>), Problem> {
    let segmentation = &segmented.segmentation;
    let labels = segmentation.labels();
    let (width, height) = labels.size();
    let scores = mean_probabilities(segmentation);
    let mut all = Vec::new();
    let shares = segmentation.shares();
    // As cut-outs have it: id 0 is what nobody paints, where it is called so.
    let painted = shares.iter().filter(|class| {
        class.id != 0 || !["background", "__background__"].contains(&class.name.as_str())
    });
    for class in painted {
        let rle = packed(labels, class.id).ok_or_else(|| {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Problem::new(
                status,
                "a picture of more than a thousand million pixels",
                "the picture",
                "send it in parts",
            )
        })?;
        all.push(json!({
            "id": format!("segmenta-{}", class.id),
            "from_name": names.from,
            "to_name": names.to,
            "type": "brushlabels",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "score": scores.get(usize::from(class.id)).copied().flatten(),
            "value": {"format": "rle", "rle": rle, "brushlabels": [class.name]},
        }));
    }
    let known: Vec<f64> = scores.into_iter().flatten().collect();
    let mean = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
    Ok((all, mean))
}

/// A mask in the format of `@thi.ng/rle-pack` as Label Studio uses it: RGBA bytes, four of 255 for a painted pixel and four
/// of 0 for any other. After the count of values (32 bits), the size of a value less one (5) and four sizes of counts less one
/// (4 each) follow runs: a bit that is 1 for equal values, two that say which size the count has, the count less one, and the
/// value once, or each value. None for more values than 32 bits count.
fn packed(labels: &LabelMap, id: u8) -> Option<Vec<u8>> {
    const SIZES: [u32; 4] = [3, 4, 8, 16];
    let values = u32::try_from(labels.ids().len() as u64 * 4).ok()?;
    let mut bits = Bits::default();
    bits.push(u64::from(values), 32);
    bits.push(7, 5);
    for size in SIZES {
        bits.push(u64::from(size - 1), 4);
    }
    for run in labels.ids().chunk_by(|a, b| (*a == id) == (*b == id)) {
        let value = if run[0] == id { 255 } else { 0 };
        let mut left = run.len() as u64 * 4;
        while left > 0 {
            let count = left.min(1 << 16);
            let which = SIZES
                .iter()
                .position(|&size| count <= 1 << size)
                .unwrap_or(3);
            bits.push(1, 1);
            bits.push(which as u64, 2);
            bits.push(count - 1, SIZES[which]);
            bits.push(value, 8);
            left -= count;
        }
    }
    Some(bits.finish())
}

/// Bits in a row, the highest of each number first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    rest: u64,
    count: u32,
}

impl Bits {
    fn push(&mut self, value: u64, size: u32) {
        self.rest = self.rest << size | value;
        self.count += size;
        while self.count >= 8 {
            self.count -= 8;
            self.bytes.push((self.rest >> self.count) as u8);
        }
        self.rest &= (1 << self.count) - 1;
    }

    fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.push(0, 8 - self.count);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the format as its description says.
    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        let mut at = 0;
        let mut take = |size: usize| {
            let bits = (0..size).map(|i| u64::from(bytes[(at + i) / 8] >> (7 - (at + i) % 8) & 1));
            let value = bits.fold(0, |value, bit| value << 1 | bit);
            at += size;
            value
        };
        let count = take(32) as usize;
        let size = take(5) as usize + 1;
        let sizes: Vec<usize> = (0..4).map(|_| take(4) as usize + 1).collect();
        let mut values = Vec::new();
        while values.len() < count {
            let (is_run, which) = (take(1) == 1, take(2) as usize);
            let run = take(sizes[which]) as usize + 1;
            assert!(is_run);
            let value = take(size) as u8;
            values.extend(std::iter::repeat_n(value, run));
        }
        values
    }

    #[test]
    fn brushes_are_the_mask() {
        for (width, height) in [(1, 1), (3, 2), (5, 7), (300, 200)] {
            let ids: Vec<u8> = (0..width * height)
                .map(|i| (i / 7 % 3) as u8 * (i % 11 != 0) as u8)
                .collect();
            let map = LabelMap::new(width, height, ids.clone()).unwrap();
            for id in 0..3 {
                let values = unpacked(&packed(&map, id).unwrap());
                let wanted: Vec<u8> = ids
                    .iter()
                    .flat_map(|&own| [if own == id { 255 } else { 0 }; 4])
                    .collect();
                assert_eq!(values, wanted);
            }
        }
        let plain = LabelMap::new(400, 300, vec![1; 120_000]).unwrap();
        assert!(packed(&plain, 1).unwrap().len() < 64);
    }

    #[test]
    fn names_are_the_interface_s() {
        let names = Names::of(
            "<View><Image name='pic' value=\"$photo\"/><BrushLabels name=\"brush\" toName=\"pic\"><Label value=\"a\"/></BrushLabels></View>",
        );
        assert_eq!((&*names.from, &*names.to), ("brush", "pic"));
        assert_eq!(names.value.as_deref(), Some("photo"));
        let names = Names::of("");
        assert_eq!(
            (&*names.from, &*names.to, names.value),
            ("tag", "image", None)
        );
    }
}
