//! Documents of COCO, labelme and CVAT: what they give, and what is said of those that are not what they claim.

mod coco;
mod cvat;
mod labelme;

use std::path::Path;

use segmenta_data::annotation::Annotations;

fn here() -> &'static Path {
    Path::new("the document")
}

/// Annotations that could be read, and what was said of them.
#[track_caller]
fn read(result: Result<Annotations, segmenta_data::DataError>) -> (Annotations, Vec<String>) {
    let all = result.unwrap();
    let said = all.remarks().map(|remark| remark.to_string()).collect();
    (all, said)
}

/// The mask of the picture at a place, a line a row.
fn mask(all: &Annotations, index: usize) -> Vec<String> {
    let map = all.draw(index).unwrap();
    let rows = map.ids().chunks(map.width());
    let text = |row: &[u8]| row.iter().map(u8::to_string).collect::<String>();
    rows.map(text).collect()
}

#[track_caller]
fn refused(result: Result<Annotations, segmenta_data::DataError>, words: &[&str]) {
    let error = result.unwrap_err().to_string();
    assert!(
        error.contains("the document") && error.matches(" · ").count() == 2,
        "{error}"
    );
    for word in words {
        assert!(error.contains(word), "{error}: {word}");
    }
}
