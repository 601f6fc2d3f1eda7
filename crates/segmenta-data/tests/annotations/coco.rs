//! COCO's JSON.

use segmenta_data::annotation::coco;

use crate::{here, mask, read, refused};

fn coco_of(images: &str, categories: &str, annotations: &str) -> String {
    format!(r#"{{"images":[{images}],"categories":[{categories}],"annotations":[{annotations}]}}"#)
}

const IMAGE: &str = r#"{"id":1,"file_name":"a.jpg","width":10,"height":6}"#;
const CAT: &str = r#"{"id":3,"name":"cat"}"#;

fn annotation(id: i32, segmentation: &str, more: &str) -> String {
    format!(
        r#"{{"id":{id},"image_id":1,"category_id":3,"segmentation":{segmentation},"iscrowd":0{more}}}"#
    )
}

#[test]
fn coco_that_contradicts_itself_is_refused_with_both_values() {
    for (images, categories, annotations, words) in [
        (
            IMAGE,
            CAT,
            annotation(7, r#"{"counts":[0,6,54],"size":[10,6]}"#, ""),
            &["annotation 7", "6×10", "10×6"][..],
        ),
        (
            IMAGE,
            CAT,
            annotation(7, r#"{"counts":[0,6,53],"size":[6,10]}"#, ""),
            &["annotation 7", "59 pixels", "10×6"],
        ),
        (
            IMAGE,
            CAT,
            annotation(7, r#"{"counts":"~~~","size":[6,10]}"#, ""),
            &["annotation 7", "run lengths"],
        ),
        (
            IMAGE,
            CAT,
            annotation(7, "[[1,1,5,1,1e300,4]]", ""),
            &["annotation 7", "1000", "no number"],
        ),
        (
            IMAGE,
            CAT,
            annotation(7, "[1,1,5,1,5,4]", ""),
            &["annotation 7", "neither polygons nor run lengths"],
        ),
        (
            r#"{"id":1,"file_name":"a.jpg","width":10,"height":6},{"id":1,"file_name":"b.jpg","width":4,"height":6}"#,
            CAT,
            String::new(),
            &["two images of the id 1", "a.jpg", "b.jpg"],
        ),
        (
            IMAGE,
            r#"{"id":3,"name":"cat"},{"id":3,"name":"dog"}"#,
            String::new(),
            &["two categories of the id 3", "cat", "dog"],
        ),
        (
            r#"{"id":1,"file_name":"a.jpg","width":0,"height":6}"#,
            CAT,
            String::new(),
            &["0×6", "image 1 (a.jpg)"],
        ),
        (
            r#"{"id":1,"file_name":"a.jpg","width":-4,"height":6}"#,
            CAT,
            String::new(),
            &["-4×6", "a.jpg"],
        ),
        (
            r#"{"id":1,"file_name":"a.jpg","width":4000000000,"height":4000000000}"#,
            CAT,
            String::new(),
            &["4000000000×4000000000", "a.jpg"],
        ),
        ("", CAT, String::new(), &["no image"]),
        (
            IMAGE,
            r#"{"id":4,"name":"cat"}"#,
            annotation(7, "[[1,1,5,1,5,4]]", ""),
            &["annotation 7", "category 3"],
        ),
        (
            r#"{"id":2,"file_name":"a.jpg","width":10,"height":6}"#,
            CAT,
            annotation(7, "[[1,1,5,1,5,4]]", ""),
            &["annotation 7", "image 1"],
        ),
    ] {
        refused(
            coco::parse(&coco_of(images, categories, &annotations), here()),
            words,
        );
    }
}

#[test]
fn coco_s_faults_that_only_take_pixels_are_counted_and_named() {
    let square = "[1,1,5,1,5,4,1,4]";
    let annotations = [
        annotation(1, "[[4,4]]", ""),
        annotation(2, &format!("[[1,1,5,4],{square}]"), ""),
        annotation(3, "[[1,1,5,1,5,4,1]]", ""),
        annotation(4, "[]", r#","bbox":[0,0,1,1]"#),
        annotation(5, "[]", r#","keypoints":[1,1,2]"#),
        annotation(2, "[[900,900,910,900,910,910]]", ""),
        annotation(8, "[[1,1,2,1,2,500]]", ""),
        annotation(9, &format!("[{square}]"), r#","area":700"#),
        annotation(10, &format!("[{square}]"), r#","area":0"#),
    ]
    .join(",");
    let categories = format!(r#"{CAT},{{"id":5,"name":"cat"}},{{"id":0,"name":"Background"}}"#);
    let (all, said) = read(coco::parse(
        &coco_of(IMAGE, &categories, &annotations),
        here(),
    ));
    assert_eq!(all.classes, ["background", "cat"]);
    for wanted in [
        "2 rings of fewer than 3 points: left out (first: annotation 1, 1 of 3 points)",
        "1 ring of an odd count of numbers: left out (first: annotation 3, 7 numbers)",
        "1 annotation without a segmentation (a box only): left out (first: annotation 4)",
        "1 annotation without a segmentation (keypoints only): left out (first: annotation 5)",
        "1 annotation with the id of another one (first: annotation 2)",
        "1 shape outside the picture (first: annotation 2, image 1 (a.jpg), x 900 to 910, y 900 to 910 for 10×6)",
        "1 shape reaching far out of the picture: cut off (first: annotation 8, image 1 (a.jpg), x 1 to 2, y 1 to 500 for 10×6)",
        "1 annotation whose area is another than the shape's, which is taken for the order (first: annotation 9: 700 for 12)",
        "1 annotation with an area of 0: the shape's is taken for the order (first: annotation 10: 0 for 12)",
        "1 category with the name of another one: one class (first: cat, ids 3 and 5)",
    ] {
        assert!(
            said.iter().any(|text| text == wanted),
            "{wanted}\n{said:#?}"
        );
    }
    assert_eq!(mask(&all, 0)[1], "0111100000");
}

#[test]
fn the_larger_of_cocos_shapes_lies_below_whatever_their_areas_say() {
    let categories = format!(r#"{CAT},{{"id":4,"name":"dog"}}"#);
    let small = annotation(1, "[[1,1,3,1,3,3,1,3]]", r#","area":0"#);
    let large = annotation(2, "[[0,0,9,0,9,5,0,5]]", r#","area":0"#)
        .replace(r#""category_id":3"#, r#""category_id":4"#);
    let document = coco_of(IMAGE, &categories, &format!("{small},{large}"));
    let (all, _) = read(coco::parse(&document, here()));
    assert_eq!(mask(&all, 0)[1], "2112222220");
}

#[test]
fn coco_s_other_documents_are_called_by_their_names() {
    for (text, words) in [
        (
            coco_of(
                IMAGE,
                CAT,
                r#"{"image_id":1,"file_name":"a.png","segments_info":[]}"#,
            ),
            &["panoptic"][..],
        ),
        (
            coco_of(IMAGE, CAT, r#"{"id":1,"image_id":1,"caption":"A cat."}"#),
            &["captions"],
        ),
        (
            r#"[{"image_id":1,"category_id":2,"score":1}]"#.into(),
            &["results"],
        ),
        (r#"{"shapes":[],"imagePath":"a.jpg"}"#.into(), &["labelme"]),
        (
            coco_of(IMAGE, CAT, &annotation(1, "[[1,1,NaN,1,5,4]]", "")),
            &["no number", "NaN"],
        ),
        (String::new(), &["empty"]),
    ] {
        refused(coco::parse(&text, here()), words);
    }
}

/// `tools/annotation_references.py` makes them.
#[test]
fn packed_run_lengths_are_pycocotools() {
    let cases: serde_json::Value = serde_json::from_str(include_str!("packed.json")).unwrap();
    for case in cases.as_array().unwrap() {
        let side = |index: usize| case["size"][index].as_u64().unwrap() as usize;
        let (height, width) = (side(0), side(1));
        let image = format!(r#"{{"id":1,"file_name":"a.jpg","width":{width},"height":{height}}}"#);
        let runs = format!(r#"{{"counts":{},"size":{}}}"#, case["counts"], case["size"]);
        let shape = annotation(1, &runs, &format!(r#","area":{}"#, case["area"]));
        let (all, said) = read(coco::parse(&coco_of(&image, CAT, &shape), here()));
        assert!(said.is_empty(), "{said:?}");
        let map = all.draw(0).unwrap();
        let columns = case["columns"].as_str().unwrap().bytes().enumerate();
        for (index, pixel) in columns {
            let (x, y) = (index / height, index % height);
            assert_eq!(
                map.ids()[y * width + x],
                pixel - b'0',
                "({x}, {y}) of {width}×{height}"
            );
        }
    }
}
