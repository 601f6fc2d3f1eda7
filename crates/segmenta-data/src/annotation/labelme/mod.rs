//! labelme's JSON, one a picture.

mod picture;

use segmenta_files::count;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use segmenta_image::{LabelMap, VOID};
use serde::Deserialize;

use super::class_list::IGNORED;
use super::outline::ellipse;
use super::rle::Order;
use super::{
    Annotated, Annotations, Area, Rle, Shape as Drawn, TOO_MANY, is_background, json, sound,
};
use crate::{DataError, text};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    image_path: Option<String>,
    image_width: Option<f64>,
    image_height: Option<f64>,
    /// The picture itself, as base64.
    image_data: Option<String>,
    shapes: Vec<Shape>,
}

#[derive(Deserialize)]
struct Shape {
    label: String,
    points: Vec<[f64; 2]>,
    /// Old files have none, or `null`.
    shape_type: Option<String>,
    /// A grey PNG over the rectangle between the two points, anything but 0 inside.
    mask: Option<String>,
}

impl Shape {
    fn sort(&self) -> &str {
        self.shape_type.as_deref().unwrap_or("polygon")
    }
}

/// Reads documents: polygons, rectangles (of two corners, or of four if they are turned), circles and masks, painted
/// in the order in which they were drawn. Classes are the labels in alphabetical order, so that ids do not depend on
/// which picture comes first; `_background_` is id 0, `__ignore__` 255. Lines and points have no area: they are left
/// out, with a [`super::Remark`].
///
/// A picture's file is its path from `root` on, which is the folder of all documents; with none, it is what each
/// document says.
///
/// # Errors
/// A file that cannot be read or is no such document; more than 254 labels; a size that is not the picture's, where
/// that lies beside the document or in it; coordinates that are no numbers.
pub fn read(paths: &[impl AsRef<Path>], root: Option<&Path>) -> Result<Annotations, DataError> {
    let documents = paths.iter().map(|path| {
        let path = path.as_ref();
        document(&text::read(path)?, path)
    });
    build(documents.collect::<Result<_, _>>()?, root)
}

/// As [`read`], from the text of one document; messages call it `path`, and its picture is looked for beside that.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str, path: &Path) -> Result<Annotations, DataError> {
    build(vec![document(text, path)?], None)
}

fn document<'a>(text: &str, path: &'a Path) -> Result<(&'a Path, Document), DataError> {
    let remedy = "give the JSON files that labelme saves";
    Ok((path, json::read(text, path, "labelme", remedy)?))
}

fn build(documents: Vec<(&Path, Document)>, root: Option<&Path>) -> Result<Annotations, DataError> {
    let mut all = Annotations::default();
    let labels = documents.iter().flat_map(|(_, document)| &document.shapes);
    let mut labels: Vec<&str> = labels
        .map(|shape| shape.label.trim())
        .filter(|label| !is_background(label) && *label != IGNORED)
        .collect();
    labels.sort_unstable();
    labels.dedup();
    let count = labels.len();
    for label in labels {
        if all.class(label).is_none() {
            let (path, _) = documents[0];
            return Err(DataError::at(format!("{count} labels"), path, TOO_MANY));
        }
    }
    for (path, document) in documents {
        let picture = annotated(&mut all, path, root, document)?;
        all.pictures.push(picture);
    }
    Ok(all)
}

fn annotated(
    all: &mut Annotations,
    path: &Path,
    root: Option<&Path>,
    document: Document,
) -> Result<Annotated, DataError> {
    let claimed = match (document.image_width, document.image_height) {
        (Some(width), Some(height)) => Some((width, height)),
        _ => None,
    };
    let named = document.image_path.map(|name| name.replace('\\', "/"));
    let named = named.filter(|name| !name.trim().is_empty());
    let size = picture::size(
        path,
        named.as_deref(),
        document.image_data.as_deref(),
        claimed,
    )?;
    let mut drawn = Vec::new();
    for (index, shape) in document.shapes.iter().enumerate() {
        let name = || format!("{}, shape {} ({})", path.display(), index + 1, shape.label);
        let wrong = |what: String| {
            let what = format!("{what}, shape {} ({})", index + 1, shape.label);
            DataError::at(what, path, "draw the shape again")
        };
        if shape.label.trim().is_empty() {
            return Err(wrong("a shape without a label".into()));
        }
        let class = match shape.label.trim() {
            IGNORED => VOID,
            label => {
                let too_many = || DataError::at("more than 254 labels", path, TOO_MANY);
                all.class(label).ok_or_else(too_many)?
            }
        };
        match area(shape, size).map_err(wrong)? {
            Ok(area) => {
                sound::inside(&mut all.remarks, &area, size, name);
                drawn.push(Drawn::new(class, area));
            }
            Err(what) => all.remarks.add("shape", &what, name),
        }
    }
    Ok(Annotated {
        file: picture::file(path, named.as_deref(), root),
        origin: path.display().to_string(),
        width: size.0,
        height: size.1,
        shapes: drawn,
    })
}

/// What a shape covers, or why it covers nothing.
fn area(shape: &Shape, picture: (usize, usize)) -> Result<Result<Area, String>, String> {
    let points = sound::points(&shape.points)?;
    let ring = match (shape.sort(), &*points) {
        ("polygon", points @ [_, _, _, ..]) => points.to_vec(),
        // Other tools that write this format turn rectangles: four corners.
        ("rectangle" | "oriented_rectangle" | "rotation", &[a, b, c, d]) => vec![a, b, c, d],
        ("rectangle", &[[x0, y0], [x1, y1]]) => vec![[x0, y0], [x1, y0], [x1, y1], [x0, y1]],
        ("circle", &[centre, edge]) => {
            let radius = (edge[0] - centre[0]).hypot(edge[1] - centre[1]);
            ellipse(centre, [radius; 2], 0.0)
        }
        ("mask", &[start, end]) => return mask(shape, start, end, picture).map(Ok),
        ("polygon", points) => {
            let what = format!(
                "of the type polygon with {} of 3 points: left out",
                points.len()
            );
            return Ok(Err(what));
        }
        (sort @ ("rectangle" | "oriented_rectangle" | "circle" | "mask"), points) => {
            return Err(format!("a {sort} of {}", count(points.len(), "point")));
        }
        (sort @ ("line" | "linestrip" | "point" | "points"), _) => {
            return Ok(Err(format!(
                "of the type {sort}, which has no area: left out"
            )));
        }
        (sort, _) => return Ok(Err(format!("of the unknown type {sort}: left out"))),
    };
    Ok(Ok(Area::Rings(vec![ring])))
}

fn mask(
    shape: &Shape,
    start: [f32; 2],
    end: [f32; 2],
    (width, height): (usize, usize),
) -> Result<Area, String> {
    let text = shape.mask.as_deref().ok_or("a mask without its picture")?;
    let bytes = BASE64_STANDARD
        .decode(text)
        .map_err(|_| "a mask that is no base64")?;
    let size = imagesize::blob_size(&bytes).map_err(|_| "a mask that is no PNG")?;
    let [[x0, y0], [x1, y1]] = [start, end].map(|point| point.map(f32::round));
    // What is between the points, both included, where they name pixels.
    let is_whole = start == [x0, y0] && end == [x1, y1];
    let (w, h) = (f64::from(x1 - x0) + 1.0, f64::from(y1 - y0) + 1.0);
    let fits = w == size.width as f64 && h == size.height as f64;
    if is_whole && !fits {
        let (mw, mh) = (size.width, size.height);
        return Err(format!(
            "a mask of {mw}×{mh} for points that are {w}×{h} apart"
        ));
    }
    if size.width > width || size.height > height {
        let (mw, mh) = (size.width, size.height);
        return Err(format!(
            "a mask of {mw}×{mh} in a picture of {width}×{height}"
        ));
    }
    let map = LabelMap::decode(&bytes).map_err(|error| {
        let text = error.to_string();
        text.split(" · ").next().unwrap_or_default().to_owned()
    })?;
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
    let (left, top) = (x0 as i64, y0 as i64);
    Ok(Area::Runs { left, top, runs })
}

/// The folders of a path below another one.
pub(super) fn below(path: &Path, root: &Path) -> PathBuf {
    let folder = path.parent().unwrap_or(Path::new(""));
    folder
        .strip_prefix(root)
        .unwrap_or(Path::new(""))
        .to_path_buf()
}
