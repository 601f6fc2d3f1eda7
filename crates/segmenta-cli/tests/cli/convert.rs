//! `segmenta data convert`: two things of one name, one list of classes, and what is said of documents.

use std::fs;

use segmenta_image::{LabelMap, Picture};

use crate::{Answer, Room, snapshot};

const HEAD: &str =
    "<annotations><meta><task><labels><label><name>x</name></label></labels></task></meta>";

fn cvat(room: &Room, name: &str, pictures: &[&str]) {
    let image = |(id, name): (usize, &&str)| {
        format!(
            r#"<image id="{id}" name="{name}" width="4" height="4"><box label="x" xtl="0" ytl="0" xbr="{}" ybr="2"/></image>"#,
            id % 3 + 1
        )
    };
    let images: String = pictures.iter().enumerate().map(image).collect();
    room.write(name, format!("{HEAD}{images}</annotations>"));
}

fn labelme(room: &Room, name: &str, picture: &str, label: &str) {
    room.write(
        name,
        format!(
            r#"{{"shapes":[{{"label":"{label}","points":[[0,0],[2,0],[2,2]],"shape_type":"polygon"}}],
            "imagePath":"{picture}","imageData":null,"imageHeight":4,"imageWidth":4}}"#
        ),
    );
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "an answer is judged once")]
fn fails(answer: Answer, name: &str) {
    assert_eq!(answer.code, Some(1), "{}", answer.transcript());
    snapshot(name, &answer);
}

fn classes(room: &Room, out: &str) -> Vec<String> {
    let text = fs::read_to_string(room.path(out).join("classes.txt")).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn every_picture_keeps_its_mask() {
    let room = Room::new();
    cvat(
        &room,
        "a.xml",
        &["a.jpg", "a.png", "b/a.jpg", "seq.0000", "seq.0001", "A.bmp"],
    );
    let answer = room.line("data convert cvat a.xml -o o").succeeded();
    assert!(answer.stdout.starts_with("6 masks of 2 classes"));
    assert_eq!(
        room.files("o/masks"),
        [
            "A.png",
            "a.jpg.png",
            "a.png.png",
            "b/a.png",
            "seq.0000.png",
            "seq.0001.png"
        ]
    );
    cvat(&room, "twice.xml", &["a.jpg", "a.jpg"]);
    fails(
        room.line("data convert cvat twice.xml -o t"),
        "convert-twice",
    );
    labelme(&room, "l/a.json", "a.jpg", "x");
    labelme(&room, "l/b.json", "a.jpg", "y");
    fails(
        room.line("data convert labelme l -o t"),
        "convert-labelme-twice",
    );
    // In two folders they are two.
    fs::create_dir(room.path("l/val")).unwrap();
    fs::rename(room.path("l/b.json"), room.path("l/val/b.json")).unwrap();
    room.line("data convert labelme l -o t").succeeded();
    assert_eq!(room.files("t/masks"), ["a.png", "val/a.png"]);
}

#[test]
fn masks_that_are_there_stay_unless_told() {
    let room = Room::new();
    cvat(&room, "train.xml", &["a.jpg"]);
    cvat(&room, "val.xml", &["b.jpg", "a.jpg"]);
    room.line("data convert cvat train.xml -o o").succeeded();
    let before = fs::read(room.path("o/masks/a.png")).unwrap();
    room.line("data convert cvat train.xml -o o").succeeded();
    fails(
        room.line("data convert cvat val.xml -o o"),
        "convert-existing",
    );
    assert_eq!(room.files("o/masks"), ["a.png"]);
    assert_eq!(fs::read(room.path("o/masks/a.png")).unwrap(), before);
    room.line("data convert cvat val.xml -o o --overwrite")
        .succeeded();
    assert_ne!(fs::read(room.path("o/masks/a.png")).unwrap(), before);
}

#[test]
fn one_list_of_classes_serves_all_conversions() {
    let room = Room::new();
    labelme(&room, "lt/1.json", "1.jpg", "cat");
    labelme(&room, "lt/2.json", "2.jpg", "dog");
    labelme(&room, "lv/3.json", "3.jpg", "ant");
    labelme(&room, "lv/4.json", "4.jpg", "dog");
    room.line("data convert labelme lt -o t").succeeded();
    fails(room.line("data convert labelme lv -o v"), "convert-beside");
    fails(
        room.line("data convert labelme lv -o t"),
        "convert-other-ids",
    );
    assert!(!room.exists("v"));
    fails(
        room.line("data convert labelme lv -o v --classes t/classes.txt"),
        "convert-class-missing",
    );
    room.line("data convert labelme lv -o v --classes cat,dog,ant")
        .succeeded();
    assert_eq!(classes(&room, "v"), ["background", "cat", "dog", "ant"]);
    let dog = LabelMap::open(room.path("v/masks/4.png")).unwrap();
    assert!(dog.ids().contains(&2) && !dog.ids().contains(&1));
    // A shorter list of the same order leaves the longer one, and a longer one goes on from it.
    room.line("data convert labelme lt -o v").succeeded();
    assert_eq!(classes(&room, "v").len(), 4);
    room.line("data convert labelme lv -o w --renumber")
        .succeeded();
    assert_eq!(classes(&room, "w"), ["background", "ant", "dog"]);
    for (list, said) in [
        ("none.txt", "no such list"),
        ("cat,cat", "two classes called `cat`"),
    ] {
        let answer = room.line(&format!("data convert labelme lv -o x --classes {list}"));
        assert_eq!(answer.code, Some(2), "{}", answer.transcript());
        assert!(answer.stderr.contains(said), "{}", answer.stderr);
    }
}

#[test]
fn colours_keep_their_ids() {
    let room = Room::new();
    let paint = |name: &str, most: [u8; 3], least: [u8; 3]| {
        let mut mask = Picture::filled(4, 2, most);
        mask.pixels_mut()[..3].copy_from_slice(&least);
        room.write(name, mask.to_png());
    };
    paint("train/1.png", [9, 9, 9], [5, 5, 5]);
    paint("val/2.png", [5, 5, 5], [9, 9, 9]);
    room.line("data convert rgb train -o t").succeeded();
    fails(room.line("data convert rgb val -o v"), "convert-rgb-beside");
    room.line("data convert rgb val -o v --classes t/classes.txt")
        .succeeded();
    assert_eq!(classes(&room, "v"), ["090909", "050505"]);
    let ids = LabelMap::open(room.path("v/masks/2.png")).unwrap();
    assert_eq!(ids.ids()[..2], [0, 1]);
    assert_eq!(
        fs::read_to_string(room.path("v/labelmap.txt")).unwrap(),
        "# label:color_rgb:parts:actions\n090909:9,9,9::\n050505:5,5,5::\n"
    );
    // As CVAT exports masks: the list lies above them.
    paint("cvat/SegmentationClass/a.png", [0, 0, 0], [250, 50, 83]);
    room.write(
        "cvat/labelmap.txt",
        "\u{feff}# label:color_rgb:parts:actions\r\nbackground:0,0,0::\r\ncar:250,50,83::\r\n",
    );
    let answer = room
        .line("data convert rgb cvat/SegmentationClass -o c")
        .succeeded();
    snapshot("convert-labelmap", &answer);
    assert_eq!(classes(&room, "c"), ["background", "car"]);
    room.line("data convert rgb cvat/SegmentationClass -o d --colors cvat/labelmap.txt --classes car,background")
        .succeeded();
    let ids = LabelMap::open(room.path("d/masks/a.png")).unwrap();
    assert_eq!(ids.ids()[..2], [0, 1]);
    let none = room.line("data convert rgb val -o e --classes road,sky");
    assert_eq!(none.code, Some(2), "{}", none.transcript());
    assert!(none.stderr.contains("--colors FILE"), "{}", none.stderr);
    // Masks that were written before are not masks of colours.
    room.line("data convert rgb val -o val/out").succeeded();
    let again = room.line("data convert rgb val -o val/out").succeeded();
    assert!(again.stdout.starts_with("1 mask"), "{}", again.stdout);
}

#[test]
fn documents_are_judged_aloud() {
    let room = Room::new();
    room.write("video.xml", format!(r#"{HEAD}<track id="0" label="x"><box frame="0" xtl="1" ytl="1" xbr="5" ybr="5"/></track></annotations>"#));
    fails(
        room.line("data convert cvat video.xml -o o"),
        "convert-video-without-size",
    );
    room.write("none.xml", format!("{HEAD}</annotations>"));
    fails(
        room.line("data convert cvat none.xml -o o"),
        "convert-nothing",
    );
    let coco = |name: &str, text: &str| room.write(name, format!("\u{feff}{text}"));
    coco(
        "c.json",
        r#"{"images":[{"id":1,"file_name":"a.jpg","width":10,"height":6}],"categories":[{"id":3,"name":"cat"}],
        "annotations":[{"id":1,"image_id":1,"category_id":3,"segmentation":[[4,4]]},
        {"id":2,"image_id":1,"category_id":3,"bbox":[0,0,1,1]}]}"#,
    );
    let answer = room.line("data convert coco c.json -o o -q").succeeded();
    snapshot("convert-coco-faults", &answer);
    coco(
        "studio.json",
        r#"[{"id":1,"data":{"image":"a.jpg"},"annotations":[]}]"#,
    );
    fails(
        room.line("data convert coco studio.json -o s"),
        "convert-label-studio",
    );
    assert!(!room.exists("s"));
    let utf_16: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(HEAD.encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    room.write("utf16.xml", utf_16);
    let answer = room.line("data convert cvat utf16.xml -o u");
    assert!(answer.stderr.contains("annotations"), "{}", answer.stderr);
}

#[test]
fn a_class_that_is_called_otherwise_in_the_list_is_told() {
    let room = Room::new();
    labelme(&room, "l/a.json", "a.jpg", "#road");
    let answer = room.line("data convert labelme l -o o").succeeded();
    assert_eq!(classes(&room, "o"), ["background", "road"]);
    assert!(
        answer.stderr.contains("\"#road\" is `road` there"),
        "{}",
        answer.transcript()
    );
    labelme(&room, "k/a.json", "a.jpg", " road ");
    let answer = room.line("data convert labelme k -o p").succeeded();
    assert!(answer.stderr.is_empty(), "{}", answer.transcript());
}

#[test]
fn a_shape_that_draws_nothing_is_told() {
    let room = Room::new();
    let image = |shape: &str| {
        format!(
            r#"{HEAD}<image id="0" name="a.png" width="9" height="9">{shape}</image></annotations>"#
        )
    };
    for shape in [
        r#"<ellipse label="x" cx="5" cy="3" rx="0" ry="2"/>"#,
        r#"<polygon label="x" points="1,1;5,5;3,3"/>"#,
        r#"<box label="x" xtl="2" ytl="1" xbr="2" ybr="8"/>"#,
    ] {
        room.write("a.xml", image(shape));
        let answer = room.line("data convert cvat a.xml -o o").succeeded();
        assert!(
            answer
                .stderr
                .contains("1 shape without an area: no pixel is drawn"),
            "{shape}: {}",
            answer.transcript()
        );
    }
}

/// A fault in a document is told by its place, not by sending it to the command that it was given to.
#[test]
fn a_fault_in_a_document_names_its_place() {
    let room = Room::new();
    for (name, text, line, words) in [
        (
            "c.json",
            r#"{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [], "categories": []}"#,
            "data convert coco c.json -o o",
            "missing field `width` at line 1",
        ),
        (
            "l.json",
            r#"{"shapes": [{"label": null, "points": []}], "imagePath": "a.jpg"}"#,
            "data convert labelme l.json -o o",
            "it cannot be null at line 1 column 26; give a text",
        ),
        (
            "n.json",
            r#"{"images": [{"id": 1, "file_name": "a\u0000.jpg", "width": 4, "height": 4}], "annotations": [], "categories": []}"#,
            "data convert coco n.json -o o",
            "whose name no file can have",
        ),
    ] {
        room.write(name, text);
        let answer = room.line(line);
        assert!(
            answer.code == Some(1) && answer.stderr.contains(words),
            "{}",
            answer.transcript()
        );
        assert!(!answer.stderr.contains("convert it as that"));
        assert!(!room.exists("o/classes.txt"), "nothing is written");
    }
}
