//! Data sets made here file by file: their layouts, their names, what their masks' values mean, and, in this file,
//! what can be wrong with them or odd about them.

mod layouts;
mod names;
mod rules;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use segmenta_data::check::{Problem, Report};
use segmenta_data::{Dataset, Kind, Open, Shares, Split};
use segmenta_image::{LabelMap, Palette, Picture};

/// A folder to lay data out in.
struct Room(tempfile::TempDir);

impl Room {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn text(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// A picture that no other is like.
    fn picture(&self, name: &str, width: usize, height: usize) {
        let seed = name
            .bytes()
            .fold(7u8, |h, b| h.wrapping_mul(31).wrapping_add(b));
        let colour = [seed, seed.wrapping_mul(3), width as u8];
        Picture::filled(width, height, colour)
            .save(self.path(name))
            .unwrap();
    }

    fn mask(&self, name: &str, width: usize, height: usize, ids: &[u8]) {
        let ids = ids.iter().copied().cycle().take(width * height).collect();
        let map = LabelMap::new(width, height, ids).unwrap();
        map.save(self.path(name), &Palette::voc()).unwrap();
    }

    fn open(&self) -> Dataset {
        Dataset::open(self.0.path()).unwrap()
    }
}

fn names(dataset: &Dataset) -> Vec<(&str, Option<Split>)> {
    dataset
        .items()
        .iter()
        .map(|item| (item.name(), item.split()))
        .collect()
}

fn ids(dataset: &Dataset, index: usize) -> BTreeSet<u8> {
    dataset
        .sample(index)
        .unwrap()
        .labels()
        .ids()
        .iter()
        .copied()
        .collect()
}

fn check(dataset: &Dataset) -> Report {
    dataset.check(&|| {})
}

fn problems(dataset: &Dataset) -> Vec<Problem> {
    check(dataset)
        .findings
        .iter()
        .map(|finding| finding.problem)
        .collect()
}

#[track_caller]
fn sound(dataset: &Dataset) {
    let report = check(dataset);
    assert_eq!(report.errors(), 0, "{report}");
}

#[test]
fn damaged_annotations_are_refused_by_name() {
    let room = Room::new();
    room.picture("images/a.jpg", 3, 3);
    for (text, said) in [
        ("{", "EOF"),
        (
            r#"{"images": [], "categories": [], "annotations": [{"image_id": 9, "category_id": 1}]}"#,
            "category 1",
        ),
        (
            r#"{"images": [{"id": 9, "file_name": "a.jpg", "width": 3, "height": 3}], "categories": [{"id": 1, "name": "x"}],
            "annotations": [{"image_id": 9, "category_id": 1, "segmentation": {"size": [3, 3], "counts": [1]}}]}"#,
            "run lengths of 1 pixel",
        ),
    ] {
        room.text("annotations.json", text);
        let open = Open {
            kind: Some(Kind::Coco),
            ..Open::default()
        };
        let error = open.open(room.0.path()).unwrap_err().to_string();
        assert!(
            error.contains(said) && error.contains("annotations.json"),
            "{error}"
        );
    }
}

#[test]
fn what_is_no_data_set_is_refused() {
    let room = Room::new();
    let refused = |path: &Path| Dataset::open(path).unwrap_err().to_string();
    assert!(refused(room.0.path()).contains("no data set is recognised"));
    assert!(refused(&room.path("missing")).contains("cannot read it"));
    room.text("file", "");
    assert!(refused(&room.path("file")).contains("no folder"));
    let voc = Open {
        kind: Some(Kind::Voc),
        ..Open::default()
    };
    assert!(
        voc.open(room.0.path())
            .unwrap_err()
            .to_string()
            .contains("JPEGImages")
    );
    let star = Open {
        images: Some("*.jpg".into()),
        ..Open::default()
    };
    assert!(
        star.open(room.0.path())
            .unwrap_err()
            .to_string()
            .contains("write {} once")
    );
}

#[test]
fn every_problem_is_found_and_named() {
    let room = Room::new();
    for (name, side) in [
        ("good", 6),
        ("colour", 6),
        ("large", 6),
        ("cut", 6),
        ("mask-cut", 6),
        ("200", 6),
        ("one", 1),
    ] {
        room.picture(&format!("images/{name}.png"), side, side);
        room.mask(&format!("masks/{name}.png"), side, side, &[0, 1]);
    }
    room.text("classes.txt", "ground\nplant\nstone\n");
    Picture::filled(6, 6, [9; 3])
        .save(room.path("masks/colour.png"))
        .unwrap();
    room.mask("masks/large.png", 7, 6, &[0, 1]);
    room.mask("masks/200.png", 6, 6, &[0, 200, 201]);
    for name in ["images/cut.png", "masks/mask-cut.png"] {
        let bytes = fs::read(room.path(name)).unwrap();
        fs::write(room.path(name), &bytes[..bytes.len() / 2]).unwrap();
    }
    fs::copy(room.path("images/good.png"), room.path("images/twin.png")).unwrap();
    room.mask("masks/twin.png", 6, 6, &[255]);
    room.text("splits/train.txt", "good\none\n");
    room.text("splits/val.txt", "twin\nnobody\n");
    let report = check(&room.open());
    let finding = |problem| {
        let found = report
            .findings
            .iter()
            .find(|finding| finding.problem == problem);
        found
            .unwrap_or_else(|| panic!("no {problem:?} in {report}"))
            .files
            .join("; ")
    };
    assert_eq!(finding(Problem::ColourMask), "masks/colour.png");
    assert_eq!(
        finding(Problem::SizesDiffer),
        "masks/large.png: 7×6 for a picture of 6×6"
    );
    assert_eq!(
        finding(Problem::IdsOutOfRange),
        "masks/200.png: values 200 (12 pixels), 201 (12 pixels)"
    );
    assert!(finding(Problem::UnreadablePicture).starts_with("images/cut.png: "));
    assert!(finding(Problem::UnreadableMask).starts_with("masks/mask-cut.png: "));
    assert_eq!(
        finding(Problem::InTwoSplits),
        "images/good.png (train) = images/twin.png (val)"
    );
    assert_eq!(finding(Problem::BlankMask), "masks/twin.png");
    assert_eq!(finding(Problem::EmptyClass), "stone (2)");
    assert_eq!(
        finding(Problem::ListedWithoutFiles),
        "nobody in splits/val.txt"
    );
    assert_eq!(report.errors(), 7);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["splits"]["train"], 2);
    assert_eq!(json["findings"][0]["severity"], "error");
}

#[test]
fn long_lists_are_shortened() {
    let room = Room::new();
    for i in 0..12 {
        room.picture(&format!("images/{i:02}.png"), 3, 3 + i);
        room.mask(&format!("masks/{i:02}.png"), 2, 2, &[0, 1]);
    }
    let text = check(&room.open()).to_string();
    assert!(
        text.contains("12 masks of another size") && text.contains("and 7 more"),
        "{text}"
    );
    assert!(text.contains("of 3×3 to 3×14"), "{text}");
}

/// An orientation tag before a PNG's data: the picture is shown turned by 90°.
fn turned_png(picture: &Picture) -> Vec<u8> {
    let png = picture.to_png();
    let exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let mut chunk = b"eXIf".to_vec();
    chunk.extend_from_slice(exif);
    let crc = chunk.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 * (crc & 1))
        })
    });
    let header = 8 + 25;
    let mut bytes = png[..header].to_vec();
    bytes.extend_from_slice(&(exif.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&chunk);
    bytes.extend_from_slice(&(!crc).to_be_bytes());
    bytes.extend_from_slice(&png[header..]);
    bytes
}

#[test]
fn a_mask_is_turned_with_its_photograph() {
    let room = Room::new();
    let mut picture = Picture::filled(4, 2, [0; 3]);
    picture.pixels_mut()[..3].fill(255);
    fs::write(room.path("images/a.png"), turned_png(&picture)).unwrap();
    room.mask("masks/a.png", 4, 2, &[1, 0, 0, 0, 0, 0, 0, 0]);
    let dataset = room.open();
    let sample = dataset.sample(0).unwrap();
    assert_eq!(sample.size(), (2, 4));
    for (pixel, &id) in sample
        .picture()
        .pixels()
        .chunks(3)
        .zip(sample.labels().ids())
    {
        assert_eq!(pixel[0] == 255, id == 1);
    }
    assert!(problems(&dataset).contains(&Problem::Turned));
    // A mask drawn on the upright photograph stays as it is.
    room.mask("masks/a.png", 2, 4, &[1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(room.open().sample(0).unwrap().labels().ids()[0], 1);
}

#[test]
fn odd_pictures_and_masks_are_read() {
    let room = Room::new();
    let grey16: Vec<u16> = vec![0, 1, 2, 1];
    let bytes: Vec<u8> = grey16.iter().flat_map(|v| v.to_be_bytes()).collect();
    room.picture("images/a.png", 2, 2);
    let mut png_bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut png_bytes, 2, 2);
    encoder.set_depth(png::BitDepth::Sixteen);
    encoder
        .write_header()
        .unwrap()
        .write_image_data(&bytes)
        .unwrap();
    fs::write(room.path("masks/a.png"), png_bytes).unwrap();
    let mut png_bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut png_bytes, 1, 1);
    encoder.set_color(png::ColorType::GrayscaleAlpha);
    encoder
        .write_header()
        .unwrap()
        .write_image_data(&[90, 10])
        .unwrap();
    fs::write(room.path("images/b.png"), png_bytes).unwrap();
    room.mask("masks/b.png", 1, 1, &[2]);
    let dataset = room.open();
    assert_eq!(ids(&dataset, 0), [0, 1, 2].into());
    assert_eq!(dataset.sample(1).unwrap().picture().pixels(), [90; 3]);
    sound(&dataset);
}

#[cfg(unix)]
#[test]
fn links_that_lead_back_are_passed_over() {
    let room = Room::new();
    room.picture("images/a.png", 2, 2);
    room.mask("masks/a.png", 2, 2, &[0, 1]);
    std::os::unix::fs::symlink(room.0.path().join("images"), room.path("images/again")).unwrap();
    std::os::unix::fs::symlink("nowhere.png", room.path("images/broken.png")).unwrap();
    let dataset = room.open();
    assert_eq!(names(&dataset), [("a", None)]);
    sound(&dataset);
}

#[test]
fn splits_are_dealt_the_same_every_time() {
    let room = Room::new();
    for i in 0..20 {
        room.picture(&format!("{i:02}.jpg"), 2, 2);
    }
    let dataset = room.open();
    let count = |shares, seed| {
        let dealt = dataset.split(shares, seed);
        Split::ALL.map(|split| dealt.only(split).len())
    };
    let shares = |train, val, test| Shares::new(train, val, test).unwrap();
    assert_eq!(count(shares(0.8, None, None), 42), [16, 4, 0]);
    assert_eq!(count(shares(0.7, Some(0.2), None), 42), [14, 4, 2]);
    assert_eq!(count(shares(0.5, Some(0.2), Some(0.1)), 42), [10, 4, 2]);
    assert_eq!(
        names(&dataset.split(shares(0.8, None, None), 1)),
        names(&dataset.split(shares(0.8, None, None), 1))
    );
    assert_ne!(
        names(&dataset.split(shares(0.8, None, None), 1)),
        names(&dataset.split(shares(0.8, None, None), 2))
    );
    for (train, val) in [(0.0, None), (0.9, Some(0.2)), (f64::NAN, None), (1.5, None)] {
        assert!(Shares::new(train, val, None).is_err(), "{train} {val:?}");
    }
}

#[test]
fn an_inspection_says_what_each_picture_has() {
    let room = Room::new();
    room.text("classes.txt", "ground\ncell\nwall\n");
    room.picture("images/a.png", 4, 2);
    room.mask("masks/a.png", 4, 2, &[0, 1, 1, 255]);
    room.picture("images/b.png", 4, 2);
    room.mask("masks/b.png", 2, 2, &[2]);
    room.picture("images/c.png", 2, 2);
    room.mask("masks/c.png", 2, 2, &[0, 9]);
    std::fs::copy(room.path("images/a.png"), room.path("images/d.png")).unwrap();
    room.mask("masks/d.png", 4, 2, &[0]);
    let dataset = room.open();
    let (report, contents) = dataset.inspect(&|| {});
    assert_eq!(report, dataset.check(&|| {}));
    assert_eq!(contents[0].size, Some((4, 2)));
    assert_eq!(contents[0].classes, [(0, 2), (1, 4)]);
    assert_eq!(contents[0].ignored, 2);
    assert_eq!(contents[1].classes, [(2, 4)]);
    let of = |problem| {
        let mut found = report.findings.iter();
        let found = found.find(|finding| finding.problem == problem);
        found.map(|finding| finding.items.clone())
    };
    assert_eq!(of(Problem::SizesDiffer), Some(vec![1]));
    assert_eq!(of(Problem::IdsOutOfRange), Some(vec![2]));
    assert_eq!(of(Problem::Copies), Some(vec![0, 3]));
    // Programs that read the report see what they saw.
    assert!(
        !serde_json::to_string(&report)
            .unwrap()
            .contains("\"items\"")
    );
}

#[test]
fn files_that_a_program_names_are_a_data_set() {
    let room = Room::new();
    room.picture("photos/a b.png", 3, 2);
    room.mask("out/a b.mask.png", 3, 2, &[1]);
    room.picture("photos/é.png", 3, 2);
    let classes = segmenta_data::Classes::new(["ground", "cell"]);
    let pairs = [
        (
            room.path("photos/a b.png"),
            Some(room.path("out/a b.mask.png")),
        ),
        (room.path("photos/é.png"), None),
    ];
    let dataset = Dataset::from_files(room.root(), pairs, classes);
    assert_eq!(
        names(&dataset),
        [("photos/a b.png", None), ("photos/é.png", None)]
    );
    assert_eq!(dataset.sample(0).unwrap().labels().counts()[1], 6);
    assert!(dataset.sample(1).is_err());
    let (_, contents) = dataset.inspect(&|| {});
    assert_eq!(contents[1].size, Some((3, 2)));
}
