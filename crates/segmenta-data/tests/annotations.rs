//! Documents of COCO, labelme and CVAT: what they give, and what is said of those that are not what they claim.

use std::path::Path;

use segmenta_data::annotation::{Annotations, ClassList, coco, cvat, labelme};
use segmenta_image::{LabelMap, Palette, Picture};

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
    let text = |row: &[u8]| row.iter().map(u8::to_string).collect::<Vec<_>>().join("");
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

fn cvat_of(meta: &str, body: &str) -> String {
    format!(
        "<annotations><version>1.1</version><meta><task>{meta}</task></meta>{body}</annotations>"
    )
}

const LABELS: &str = "<labels><label><name>x</name></label><label><name>y</name></label>\
    <label><name>arm</name><type>skeleton</type></label><label><name>1</name><type>points</type><parent>arm</parent></label></labels>";

fn image(shapes: &str) -> String {
    format!(r#"<image id="0" name="a.png" width="8" height="4">{shapes}</image>"#)
}

#[test]
fn cvat_turns_boxes_and_ellipses() {
    // A box of 4×2 around (3, 2) turned upright.
    let shapes = r#"<box label="x" xtl="1" ytl="1" xbr="5" ybr="3" rotation="90.00" z_order="0"/>"#;
    let (all, said) = read(cvat::parse(&cvat_of(LABELS, &image(shapes)), here()));
    assert_eq!(all.classes, ["background", "x", "y", "arm"]);
    assert_eq!(mask(&all, 0), vec!["00110000"; 4]);
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn cvat_s_elements_without_pixels_are_counted() {
    let shapes = r#"<tag label="x"/><polyline label="x" points="0,0;1,1"/><points label="x" points="1,1"/>
        <skeleton label="arm"><points label="1" points="1,1" outside="0" occluded="0"/></skeleton>
        <cuboid label="x" xtl1="0"/><polygon label="x" points="0,0;1,1"/><star label="x"/>
        <mask label="y" rle="1, 2, 1" left="6" top="0" width="2" height="2" z_order="3" occluded="1"/>
        <box label="z" xtl="6" ytl="0" xbr="8" ybr="1"/>"#;
    let (all, said) = read(cvat::parse(&cvat_of(LABELS, &image(shapes)), here()));
    assert_eq!(mask(&all, 0)[..2], ["00000042", "00000020"]);
    for wanted in [
        "1 tag on whole pictures",
        "1 shape of the type polyline",
        "1 shape of the type points",
        "1 shape of the type skeleton",
        "1 shape of the type cuboid",
        "1 shape of the unknown type star",
        "1 polygon of fewer than 3 points: left out (first: image 0 (a.png), 2 of 3 points)",
        "1 label of shapes that the task does not list: added to the classes (first: z, image 0 (a.png))",
    ] {
        assert!(
            said.iter().any(|text| text.starts_with(wanted)),
            "{wanted}\n{said:#?}"
        );
    }
}

#[test]
fn cvat_s_tracks_are_drawn_frame_by_frame() {
    let meta = format!(
        "<id>5</id><size>7</size><mode>interpolation</mode><start_frame>10</start_frame><stop_frame>16</stop_frame>\
         <frame_filter></frame_filter>{LABELS}<original_size><width>8</width><height>2</height></original_size>"
    );
    let tracks = r#"<track id="0" label="x">
            <box frame="10" outside="0" keyframe="1" xtl="0" ytl="0" xbr="2" ybr="2" z_order="0"/>
            <box frame="14" outside="1" keyframe="1" xtl="4" ytl="0" xbr="6" ybr="2" z_order="0"/>
        </track><track id="1" label="y">
            <polygon frame="15" outside="0" keyframe="1" points="0,0;1,0;1,1;0,1" z_order="-1"/>
            <polygon frame="99" outside="1" keyframe="1" points="0,0;1,0;1,1;0,1"/>
        </track><track id="2" label="y">
            <mask frame="11" outside="0" keyframe="1" rle="0, 2" left="1" top="0" width="2" height="1" z_order="-1"/>
        </track><track id="3" label="x"><points frame="10" outside="0" keyframe="1" points="1,1"/></track>"#;
    let (all, said) = read(cvat::parse(&cvat_of(&meta, tracks), here()));
    let files: Vec<&str> = all.pictures.iter().map(|p| &*p.file).collect();
    assert_eq!(
        (files.len(), files[0], files[6]),
        (7, "frame_000010.png", "frame_000016.png")
    );
    let rows: Vec<String> = (0..7)
        .map(|frame| mask(&all, frame).swap_remove(0))
        .collect();
    // Track 0 moves a pixel a frame until it is outside; track 2 is a mask in its own frame alone, below track 0.
    assert_eq!(
        rows,
        [
            "11000000", "01100000", "00110000", "00011000", "00000000", "20000000", "20000000"
        ]
    );
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("type points"), "{said:?}");
}

#[test]
fn a_step_between_frames_is_kept() {
    let meta = format!(
        "<start_frame>0</start_frame><stop_frame>8</stop_frame><frame_filter>step=4</frame_filter>{LABELS}\
         <original_size><width>8</width><height>1</height></original_size>"
    );
    let track = r#"<track id="0" label="x"><box frame="0" xtl="0" ytl="0" xbr="1" ybr="1"/>
        <box frame="8" xtl="4" ytl="0" xbr="5" ybr="1"/></track>"#;
    let (all, _) = read(cvat::parse(&cvat_of(&meta, track), here()));
    let rows: Vec<String> = (0..3)
        .map(|frame| mask(&all, frame).swap_remove(0))
        .collect();
    assert_eq!(rows, ["10000000", "00100000", "00001000"]);
    assert_eq!(all.pictures[1].file, "frame_000004.png");
}

#[test]
fn cvat_that_contradicts_itself_is_refused() {
    let size = "<original_size><width>8</width><height>2</height></original_size>";
    let track = |shapes: &str| format!(r#"<track id="3" label="x">{shapes}</track>"#);
    let shape = |frame: i32| format!(r#"<box frame="{frame}" xtl="0" ytl="0" xbr="1" ybr="1"/>"#);
    for (meta, body, words) in [
        (
            LABELS.to_owned(),
            track(&shape(0)),
            &["without its size"][..],
        ),
        (
            format!("{LABELS}{size}"),
            track(&format!("{}{}", shape(4), shape(4))),
            &["two shapes of track 3", "frame 4"],
        ),
        (
            format!("{LABELS}{size}"),
            track(&format!(
                r#"{}<ellipse frame="9" cx="1" cy="1" rx="1" ry="1"/>"#,
                shape(4)
            )),
            &["track 3", "box in frame 4", "ellipse in frame 9"],
        ),
        (
            format!("{LABELS}{size}<stop_frame>99999999999</stop_frame>"),
            track(&shape(0)),
            &["frames 0 to 99999999999"],
        ),
        (
            LABELS.to_owned(),
            String::new(),
            &["neither an image nor a track"],
        ),
        (
            LABELS.to_owned(),
            image(r#"<ellipse label="x" cx="1" cy="1" rx="-4" ry="1"/>"#),
            &["radii -4 and 1", "a.png"],
        ),
        (
            LABELS.to_owned(),
            image(r#"<box label="x" xtl="nan" ytl="1" xbr="1" ybr="1"/>"#),
            &["xtl `nan`", "a.png"],
        ),
        (
            LABELS.to_owned(),
            image(r#"<polygon label="x" points="1,1;2,inf;3,3"/>"#),
            &["`2,inf`", "a.png"],
        ),
        (
            LABELS.to_owned(),
            image(r#"<mask label="x" rle="1, 2" left="0" top="0" width="2" height="2"/>"#),
            &["3 pixels for 2×2", "a.png"],
        ),
        (
            LABELS.to_owned(),
            image(
                r#"<mask label="x" rle="1" left="0" top="0" width="999999999" height="999999999"/>"#,
            ),
            &["999999999×999999999", "a.png"],
        ),
        (
            LABELS.to_owned(),
            r#"<image id="0" name="a.png" width="0" height="4"/>"#.to_owned(),
            &["0×4", "a.png"],
        ),
    ] {
        refused(cvat::parse(&cvat_of(&meta, &body), here()), words);
    }
    for (text, words) in [
        (
            "<annotation><object><bndbox/></object></annotation>",
            &["Pascal VOC"][..],
        ),
        ("<svg/>", &["svg"]),
        ("", &["empty"]),
        (
            "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;\">]><annotations>&c;</annotations>",
            &["DTD"],
        ),
    ] {
        refused(cvat::parse(text, here()), words);
    }
    // Nested without end: read or refused, but in time and memory.
    let deep = "<a>".repeat(1 << 16) + &"</a>".repeat(1 << 16);
    let _ = cvat::parse(&cvat_of("", &deep), here());
}

fn labelme_of(shapes: &str) -> String {
    format!(
        r#"{{"version":"5","imagePath":"a.jpg","imageData":null,"imageHeight":4,"imageWidth":8,"shapes":[{shapes}]}}"#
    )
}

fn shape(label: &str, sort: &str, points: &str) -> String {
    format!(
        r#"{{"label":"{label}","points":{points},"group_id":1,"shape_type":{sort},"flags":{{}}}}"#
    )
}

#[test]
fn labelme_s_shapes_are_labelmes() {
    let shapes = [
        shape("x", "null", "[[0,0],[2,0],[2,2],[0,2]]"),
        shape("x", r#""rectangle""#, "[[4,2],[2,0]]"),
        // Turned, as newer versions and other tools write them.
        shape("y", r#""rectangle""#, "[[4,0],[6,0],[6,2],[4,2]]"),
        shape("y", r#""oriented_rectangle""#, "[[6,0],[8,0],[8,2],[6,2]]"),
        shape("__ignore__", r#""polygon""#, "[[0,2],[4,2],[4,4],[0,4]]"),
        shape("_background_", r#""polygon""#, "[[0,3],[2,3],[2,4],[0,4]]"),
        shape("x", r#""circle""#, "[[6,3],[7,3]]"),
        shape("x", r#""line""#, "[[0,0],[1,1]]"),
        shape("x", r#""linestrip""#, "[[0,0],[1,1]]"),
        shape("x", r#""point""#, "[[0,0]]"),
        shape("x", r#""points""#, "[[0,0]]"),
        shape("x", r#""polygon""#, "[[0,0],[1,1]]"),
        shape("x", r#""spline""#, "[[0,0],[1,1]]"),
    ]
    .join(",");
    let (all, said) = read(labelme::parse(&labelme_of(&shapes), here()));
    assert_eq!(all.classes, ["background", "x", "y"]);
    let rows = mask(&all, 0);
    assert_eq!(rows[0], "11112222");
    assert_eq!(rows[2], "2552552552550110");
    assert_eq!(rows[3], "002552550110");
    for wanted in [
        "1 shape of the type line, which has no area: left out (first: the document, shape 8 (x))",
        "1 shape of the type linestrip",
        "1 shape of the type point,",
        "1 shape of the type points,",
        "1 shape of the type polygon with 2 of 3 points",
        "1 shape of the unknown type spline",
    ] {
        assert!(
            said.iter().any(|text| text.starts_with(wanted)),
            "{wanted}\n{said:#?}"
        );
    }
}

#[test]
fn labelme_that_contradicts_itself_is_refused() {
    for (shapes, words) in [
        (
            shape("x", r#""rectangle""#, "[[0,0],[1,1],[2,2]]"),
            &["rectangle of 3 points", "shape 1 (x)"][..],
        ),
        (
            shape("x", r#""circle""#, "[[0,0]]"),
            &["circle of 1 points", "shape 1 (x)"],
        ),
        (
            shape("", r#""polygon""#, "[[0,0],[1,1],[2,0]]"),
            &["without a label"],
        ),
        (
            shape("x", r#""mask""#, "[[0,0],[1,1]]"),
            &["without its picture", "shape 1 (x)"],
        ),
        (
            shape("x", r#""polygon""#, "[[0,0],[1e60,1],[2,0]]"),
            &["no number", "shape 1 (x)"],
        ),
    ] {
        refused(labelme::parse(&labelme_of(&shapes), here()), words);
    }
    let sized =
        |w: &str| labelme_of("").replace(r#""imageWidth":8"#, &format!(r#""imageWidth":{w}"#));
    refused(labelme::parse(&sized("0"), here()), &["0×4"]);
    refused(labelme::parse(&sized("null"), here()), &["no imageWidth"]);
    refused(
        labelme::parse(r#"{"images":[],"annotations":[]}"#, here()),
        &["COCO"],
    );
}

#[test]
fn labelme_s_size_is_the_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sub/a.json");
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    let write = |text: &str| {
        // As Windows writes it.
        let path_in_it = text.replace(r#""a.jpg""#, r#""..\\pictures\\a.png""#);
        std::fs::write(&path, format!("\u{feff}{path_in_it}")).unwrap();
        labelme::read(&[&path], Some(folder.path()))
    };
    let all = write(&labelme_of("")).unwrap();
    assert_eq!(all.pictures[0].file, "pictures/a.png");
    std::fs::create_dir(folder.path().join("pictures")).unwrap();
    let picture = Picture::filled(6, 4, [9, 9, 9]);
    picture.save(folder.path().join("pictures/a.png")).unwrap();
    let error = write(&labelme_of("")).unwrap_err().to_string();
    assert!(error.contains("8×4") && error.contains("6×4"), "{error}");
    let without = labelme_of("").replace(r#""imageHeight":4,"imageWidth":8,"#, "");
    assert_eq!(write(&without).unwrap().pictures[0].width, 6);
}

#[test]
fn labelme_s_masks_lie_between_their_points() {
    use base64::Engine;
    let map = LabelMap::new(2, 2, vec![1, 0, 1, 1]).unwrap();
    let png = base64::prelude::BASE64_STANDARD.encode(map.to_png(&Palette::voc()));
    let document = |points: &str| {
        let text = shape("x", r#""mask""#, points);
        labelme_of(&text.replace("{}", &format!(r#"{{}},"mask":"{png}""#)))
    };
    let (all, _) = read(labelme::parse(&document("[[1,1],[2,2]]"), here()));
    assert_eq!(mask(&all, 0)[1..3], ["01000000", "01100000"]);
    refused(
        labelme::parse(&document("[[1,1],[4,2]]"), here()),
        &["a mask of 2×2", "4×2", "shape 1 (x)"],
    );
}

#[test]
fn a_list_given_again_gives_the_same_ids() {
    let shapes = shape("dog", r#""rectangle""#, "[[0,0],[1,1]]");
    let (all, _) = read(labelme::parse(&labelme_of(&shapes), here()));
    assert_eq!(all.classes, ["background", "dog"]);
    let list = |names: &[&str]| ClassList::new(names.iter().copied()).unwrap();
    let again = all
        .clone()
        .with_classes(&list(&["background", "cat", "dog"]))
        .unwrap();
    assert_eq!(mask(&again, 0)[0], "20000000");
    assert_eq!(again.classes, ["background", "cat", "dog"]);
    // The background may be anywhere.
    let last = all
        .clone()
        .with_classes(&list(&["dog", "_background_"]))
        .unwrap();
    assert_eq!(mask(&last, 0)[0], "01111111");
    let error = all
        .with_classes(&list(&["background", "cat"]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`dog` is not in the list") && error.contains("a.jpg"),
        "{error}"
    );
}
