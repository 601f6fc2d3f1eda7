//! labelme's JSON.

use segmenta_data::annotation::{ClassList, labelme};
use segmenta_image::{LabelMap, Palette, Picture};

use crate::{here, mask, read, refused};

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
            &["circle of 1 point", "shape 1 (x)"],
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
