//! labelme's JSON, one a picture.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use segmenta_image::LabelMap;
use serde::Deserialize;

use super::outline::ellipse;
use super::rle::Order;
use super::{Annotated, Annotations, Area, Rle, Shape as Drawn, TOO_MANY};
use crate::DataError;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    image_path: String,
    image_width: usize,
    image_height: usize,
    shapes: Vec<Shape>,
}

#[derive(Deserialize)]
struct Shape {
    label: String,
    points: Vec<[f32; 2]>,
    #[serde(default = "polygon")]
    shape_type: String,
    /// A grey PNG over the rectangle between the two points, anything but 0 inside.
    mask: Option<String>,
}

fn polygon() -> String {
    "polygon".into()
}

/// Labels that name the background.
const BACKGROUND: [&str; 2] = ["_background_", "background"];

/// Reads documents: polygons, rectangles, circles and masks, painted in the order in which they were drawn. Classes
/// are the labels in alphabetical order, so that ids do not depend on which picture comes first. Lines and points are
/// left out and counted.
///
/// # Errors
/// A file that cannot be read or is no such document, or more than 254 labels.
pub fn read(paths: &[impl AsRef<Path>]) -> Result<Annotations, DataError> {
    let mut documents = Vec::with_capacity(paths.len());
    for path in paths {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|cause| DataError::read(path, &cause))?;
        let document: Document = serde_json::from_slice(&bytes).map_err(|error| {
            let what = format!("no annotation of labelme ({error})");
            DataError::at(what, path, "give the JSON files that labelme saves")
        })?;
        documents.push((path, document));
    }
    let mut all = Annotations::default();
    let shapes = documents.iter().flat_map(|(_, document)| &document.shapes);
    all.classes = shapes
        .map(|shape| shape.label.clone())
        .filter(|label| !BACKGROUND.contains(&&**label))
        .collect();
    all.classes.sort_unstable();
    all.classes.dedup();
    for (path, document) in documents {
        let mut drawn = Vec::new();
        for shape in &document.shapes {
            let class = if BACKGROUND.contains(&&*shape.label) {
                0
            } else {
                let too_many = || DataError::at("more than 254 labels", path, TOO_MANY);
                all.class(&shape.label).ok_or_else(too_many)?
            };
            match area(shape).map_err(|what| DataError::at(what, path, "draw the shape again"))? {
                Some(area) => drawn.push(Drawn { class, area }),
                None => all.leave_out(&format!("shapes of the type {}", shape.shape_type)),
            }
        }
        all.pictures.push(Annotated {
            file: document.image_path,
            width: document.image_width,
            height: document.image_height,
            shapes: drawn,
        });
    }
    Ok(all)
}

fn area(shape: &Shape) -> Result<Option<Area>, String> {
    let ring = match (&*shape.shape_type, &*shape.points) {
        ("polygon", points) => points.to_vec(),
        ("rectangle", &[[x0, y0], [x1, y1]]) => vec![[x0, y0], [x1, y0], [x1, y1], [x0, y1]],
        ("circle", &[centre, edge]) => {
            let radius = (edge[0] - centre[0]).hypot(edge[1] - centre[1]);
            ellipse(centre, [radius; 2])
        }
        ("mask", &[[x, y], _]) => return mask(shape, x, y).map(Some),
        _ => return Ok(None),
    };
    Ok(Some(Area::Rings(vec![ring])))
}

fn mask(shape: &Shape, left: f32, top: f32) -> Result<Area, String> {
    let text = shape.mask.as_deref().ok_or("a mask without its picture")?;
    let bytes = BASE64_STANDARD
        .decode(text)
        .map_err(|_| "a mask that is no base64")?;
    let map = LabelMap::decode(&bytes).map_err(|error| error.to_string())?;
    let mut runs = vec![0];
    let mut inside = false;
    for &value in map.ids() {
        if (value != 0) != inside {
            inside = !inside;
            runs.push(0);
        }
        *runs.last_mut().expect("there is a first run") += 1;
    }
    let runs = Rle::new(map.width(), map.height(), runs, Order::Rows)?;
    let (left, top) = (left.round() as usize, top.round() as usize);
    Ok(Area::Runs { left, top, runs })
}
