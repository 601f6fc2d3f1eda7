//! COCO's annotations of instances: <https://cocodataset.org/#format-data>.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;

use super::rle::Order;
use super::{Annotated, Annotations, Area, Rle, Shape, TOO_MANY};
use crate::DataError;

#[derive(Deserialize)]
struct Document {
    images: Vec<Image>,
    #[serde(default)]
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
    file_name: String,
    width: usize,
    height: usize,
}

#[derive(Deserialize)]
struct Category {
    id: u64,
    name: String,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: u64,
    category_id: u64,
    segmentation: Option<Segmentation>,
    #[serde(default)]
    area: f64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Segmentation {
    Polygons(Vec<Vec<f32>>),
    Runs { counts: Counts, size: [usize; 2] },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Counts {
    Packed(String),
    Plain(Vec<u32>),
}

/// Reads a document: polygons, and run lengths plain or packed. Classes are its categories by their id, numbered from
/// 1 without gaps. Larger shapes are painted first, so that a thing lies over what is behind it.
///
/// # Errors
/// A file that cannot be read, is no such document, has more than 254 categories, or names unknown ones.
pub fn read(path: &Path) -> Result<Annotations, DataError> {
    let file = File::open(path).map_err(|cause| DataError::read(path, &cause))?;
    let document: Document = serde_json::from_reader(BufReader::with_capacity(1 << 20, file))
        .map_err(|error| {
            let remedy = "give COCO's JSON of instances: images, annotations, categories";
            DataError::at(format!("no annotations of COCO ({error})"), path, remedy)
        })?;
    build(document, path)
}

fn build(document: Document, path: &Path) -> Result<Annotations, DataError> {
    let wrong = |what: String, remedy: &str| DataError::at(what, path, remedy);
    let mut categories = document.categories;
    categories.sort_by_key(|category| category.id);
    if categories.len() > 254 {
        return Err(wrong(format!("{} categories", categories.len()), TOO_MANY));
    }
    let ids: HashMap<u64, u8> = categories
        .iter()
        .zip(1..)
        .map(|(c, id)| (c.id, id))
        .collect();
    let places: HashMap<u64, usize> = document
        .images
        .iter()
        .enumerate()
        .map(|(i, p)| (p.id, i))
        .collect();
    let mut all = Annotations {
        classes: categories
            .into_iter()
            .map(|category| category.name)
            .collect(),
        ..Annotations::default()
    };
    let picture = |image: Image| Annotated {
        file: image.file_name,
        width: image.width,
        height: image.height,
        shapes: Vec::new(),
    };
    all.pictures = document.images.into_iter().map(picture).collect();
    let mut annotations = document.annotations;
    annotations.sort_by(|a, b| b.area.total_cmp(&a.area));
    for annotation in annotations {
        let number = annotation.category_id;
        let Some(&class) = ids.get(&number) else {
            let remedy = "add it to the document's categories";
            return Err(wrong(
                format!("an annotation of the unknown category {number}"),
                remedy,
            ));
        };
        let number = annotation.image_id;
        let Some(&place) = places.get(&number) else {
            let remedy = "add it to the document's images";
            return Err(wrong(
                format!("an annotation of the unknown image {number}"),
                remedy,
            ));
        };
        let area = match annotation.segmentation {
            Some(Segmentation::Polygons(rings)) if !rings.is_empty() => Ok(polygons(&rings)),
            Some(Segmentation::Runs {
                counts,
                size: [height, width],
            }) => {
                let runs = match counts {
                    Counts::Packed(text) => Rle::unpack(&text, width, height),
                    Counts::Plain(runs) => Rle::new(width, height, runs, Order::Columns),
                };
                runs.map(|runs| Area::Runs {
                    left: 0,
                    top: 0,
                    runs,
                })
            }
            _ => {
                all.leave_out("annotations without a segmentation");
                continue;
            }
        };
        let file = &all.pictures[place].file;
        let area =
            area.map_err(|what| wrong(format!("{what}, image {file}"), "export it again"))?;
        all.pictures[place].shapes.push(Shape { class, area });
    }
    Ok(all)
}

fn polygons(rings: &[Vec<f32>]) -> Area {
    let points = |ring: &Vec<f32>| ring.as_chunks::<2>().0.to_vec();
    Area::Rings(rings.iter().map(points).collect())
}
