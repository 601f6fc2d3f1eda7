//! Layouts made here file by file, and the real samples where the workplace has them.

mod names;
mod rules;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use segmenta_data::check::{Problem, Report};
use segmenta_data::{Dataset, Kind, Open, Shares, Split};
use segmenta_image::{LabelMap, Palette, Picture, VOID};

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
fn voc_lies_in_its_devkit() {
    let room = Room::new();
    for name in ["a", "b", "c"] {
        room.picture(&format!("VOCdevkit/VOC2012/JPEGImages/{name}.jpg"), 6, 4);
    }
    for name in ["a", "b"] {
        room.mask(
            &format!("VOCdevkit/VOC2012/SegmentationClass/{name}.png"),
            6,
            4,
            &[0, 15, 255],
        );
    }
    room.text("VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt", "a\n");
    room.text(
        "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt",
        "b\nghost\n",
    );
    let dataset = room.open();
    assert_eq!(dataset.kind(), Kind::Voc);
    assert_eq!(
        names(&dataset),
        [("a", Some(Split::Train)), ("b", Some(Split::Val))]
    );
    assert_eq!(ids(&dataset, 0), [0, 15, VOID].into());
    assert_eq!(dataset.classes().name(15), "person");
    assert!(problems(&dataset).contains(&Problem::ListedWithoutFiles));
}

#[test]
fn trimaps_become_three_classes() {
    let room = Room::new();
    room.picture("images/cat_1.jpg", 4, 3);
    room.picture("images/dog_1.jpg", 4, 3);
    room.mask("annotations/trimaps/cat_1.png", 4, 3, &[1, 2, 3]);
    room.mask("annotations/trimaps/dog_1.png", 4, 3, &[1, 2]);
    // What macOS leaves beside files is no mask.
    room.text("annotations/trimaps/._cat_1.png", "resource fork");
    room.text("annotations/trainval.txt", "# a comment\ncat_1 1 1 1\n");
    room.text("annotations/test.txt", "dog_1 2 2 1\n");
    let dataset = room.open();
    assert_eq!(dataset.kind(), Kind::Pets);
    assert_eq!(
        names(&dataset),
        [("cat_1", Some(Split::Train)), ("dog_1", Some(Split::Test))]
    );
    assert_eq!(ids(&dataset, 0), [0, 1, 2].into());
    sound(&dataset);
    room.mask("annotations/trimaps/dog_1.png", 4, 3, &[1, 0]);
    let report = check(&room.open());
    assert_eq!(report.findings[0].problem, Problem::IdsOutOfRange);
    assert!(
        report.findings[0].files[0].contains("dog_1.png: value 0 (6 pixels)"),
        "{report}"
    );
}

#[test]
fn camvids_eleventh_id_counts_nowhere() {
    let room = Room::new();
    for split in ["train", "val"] {
        room.picture(&format!("CamVid/{split}/1.png"), 4, 3);
        room.mask(&format!("CamVid/{split}annot/1.png"), 4, 3, &[0, 10, 11]);
    }
    let dataset = room.open();
    assert_eq!((dataset.kind(), dataset.len()), (Kind::CamVid, 2));
    assert_eq!(ids(&dataset.only(Split::Val), 0), [0, 10, VOID].into());
    sound(&dataset);
}

#[test]
fn cityscapes_label_ids_become_train_ids() {
    let room = Room::new();
    room.picture("leftImg8bit/train/ulm/ulm_0_leftImg8bit.png", 4, 3);
    room.mask(
        "gtFine/train/ulm/ulm_0_gtFine_labelIds.png",
        4,
        3,
        &[7, 33, 0, 29],
    );
    room.mask("gtFine/train/ulm/ulm_0_gtFine_instanceIds.png", 4, 3, &[1]);
    let dataset = room.open();
    assert_eq!(dataset.kind(), Kind::Cityscapes);
    assert_eq!(names(&dataset), [("train/ulm/ulm_0", Some(Split::Train))]);
    assert_eq!(ids(&dataset, 0), [0, 18, VOID].into());
    room.mask(
        "gtFine/train/ulm/ulm_0_gtFine_labelTrainIds.png",
        4,
        3,
        &[2, 255],
    );
    assert_eq!(ids(&room.open(), 0), [2, VOID].into());
}

#[test]
fn ade20k_counts_from_one() {
    let room = Room::new();
    for split in ["training", "validation"] {
        room.picture(&format!("images/{split}/ADE_1.jpg"), 4, 3);
        room.mask(
            &format!("annotations/{split}/ADE_1.png"),
            4,
            3,
            &[0, 1, 150],
        );
    }
    let dataset = room.open();
    assert_eq!(
        (dataset.kind(), dataset.classes().len()),
        (Kind::Ade20k, 150)
    );
    let unique: BTreeSet<&String> = dataset.classes().names().iter().collect();
    assert_eq!(unique.len(), 150);
    assert_eq!(ids(&dataset.only(Split::Val), 0), [0, 149, VOID].into());
    sound(&dataset);
}

#[test]
fn folders_pair_by_name() {
    let room = Room::new();
    for name in ["train/ä b", "val/c", "d"] {
        room.picture(&format!("Images/{name}.jpg"), 5, 2);
    }
    room.mask("masks/train/ä b.png", 5, 2, &[0, 2]);
    room.mask("masks/val/c_mask.png", 5, 2, &[0, 1, 255]);
    room.mask("masks/e.png", 5, 2, &[0]);
    let dataset = room.open();
    assert_eq!(dataset.kind(), Kind::Folder);
    assert_eq!(
        names(&dataset),
        [
            ("train/ä b", Some(Split::Train)),
            ("val/c", Some(Split::Val))
        ]
    );
    assert_eq!(dataset.classes().len(), 3);
    let found = problems(&dataset);
    assert!(found.contains(&Problem::MissingMask) && found.contains(&Problem::MissingPicture));
}

#[test]
fn folders_below_their_splits() {
    let room = Room::new();
    for split in ["train", "valid"] {
        room.picture(&format!("{split}/images/{split}.jpg"), 5, 2);
        room.mask(&format!("{split}/masks/{split}.png"), 5, 2, &[0, 1]);
    }
    let dataset = room.open();
    assert_eq!(
        names(&dataset),
        [("train", Some(Split::Train)), ("valid", Some(Split::Val))]
    );
}

#[test]
fn patterns_say_where_files_lie() {
    let room = Room::new();
    room.picture("all/img_7.jpg", 5, 2);
    room.mask("all/mask_7.png", 5, 2, &[0, 255]);
    let open = Open {
        images: Some("all/img_{}.jpg".into()),
        masks: Some("all/mask_{}.png".into()),
        classes: Some(vec!["nucleus".into()]),
        ..Open::default()
    };
    let dataset = open.open(room.0.path()).unwrap();
    assert_eq!(names(&dataset), [("7", None)]);
    assert_eq!(dataset.classes().names(), ["background", "nucleus"]);
    assert_eq!(ids(&dataset, 0), [0, 1].into());
    assert!(problems(&dataset).contains(&Problem::WhiteOnBlack));
}

#[test]
fn a_last_class_called_unlabelled_is_none() {
    let room = Room::new();
    room.picture("images/a.png", 4, 2);
    room.mask("labels/a.png", 4, 2, &[0, 1, 2, 7]);
    room.text("classes.txt", "road\r\nsky\r\nunlabelled\r\n");
    let dataset = room.open();
    assert_eq!(dataset.classes().names(), ["road", "sky"]);
    let error = dataset.sample(0).unwrap_err().to_string();
    assert!(
        error.contains("2 pixels of value 7 where masks are ids of 2 classes")
            && error.contains("a.png"),
        "{error}"
    );
    room.mask("labels/a.png", 4, 2, &[0, 1, 2]);
    assert_eq!(ids(&room.open(), 0), [0, 1, VOID].into());
}

#[test]
fn coco_draws_polygons_and_run_lengths() {
    let room = Room::new();
    room.picture("train2017/000001.jpg", 10, 8);
    room.picture("train2017/000002.jpg", 10, 8);
    let square = "[1,1, 7,1, 7,7, 1,7]";
    // A hole runs the other way round.
    let hole = "[3,3, 3,5, 5,5, 5,3]";
    room.text("annotations/instances_train2017.json", &format!(r#"{{
        "info": {{"year": 2017}}, "licenses": [],
        "images": [{{"id": 1, "file_name": "000001.jpg", "width": 10, "height": 8, "coco_url": "-"}},
                   {{"id": 2, "file_name": "000002.jpg", "width": 10, "height": 8}}],
        "categories": [{{"id": 18, "name": "dog"}}, {{"id": 3, "name": "car", "supercategory": "vehicle"}}],
        "annotations": [
            {{"id": 1, "image_id": 1, "category_id": 18, "area": 32, "iscrowd": 0, "segmentation": [{square}, {hole}]}},
            {{"id": 2, "image_id": 2, "category_id": 3, "area": 3, "iscrowd": 1,
              "segmentation": {{"size": [8, 10], "counts": [8, 3, 69]}}}},
            {{"id": 3, "image_id": 2, "category_id": 18, "area": 1, "segmentation": []}}]}}"#));
    let dataset = room.open();
    assert_eq!(dataset.kind(), Kind::Coco);
    assert_eq!(dataset.classes().names(), ["background", "car", "dog"]);
    assert_eq!(dataset.only(Split::Train).len(), 2);
    let counts = dataset.sample(0).unwrap().labels().counts();
    assert_eq!((counts[1], counts[2]), (0, 36 - 4));
    let second = dataset.sample(1).unwrap();
    let car: Vec<usize> = (0..80).filter(|&i| second.labels().ids()[i] == 1).collect();
    assert_eq!(car, [1, 11, 21]);
    sound(&dataset);
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
            "run lengths of 1 pixels",
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
fn pictures_alone_are_an_image_folder() {
    let room = Room::new();
    room.picture("cats/1.jpg", 3, 3);
    room.picture("dogs/1.jpg", 3, 3);
    let dataset = room.open();
    assert_eq!(dataset.kind(), Kind::ImageFolder);
    assert_eq!(names(&dataset), [("cats/1", None), ("dogs/1", None)]);
    assert_eq!(problems(&dataset), [Problem::NoMasks]);
    let error = dataset.sample(0).unwrap_err().to_string();
    assert!(error.contains("without a mask"), "{error}");
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

/// The workplace's real samples, which are no part of the project.
#[expect(clippy::print_stdout, reason = "who skips says so")]
fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data")
        .join(name);
    if !path.is_dir() {
        println!("skipped: no {name} in ../shared/data");
        return None;
    }
    Some(path)
}

#[test]
fn real_samples_are_recognised_and_sound() {
    let splits = |dataset: &Dataset| Split::ALL.map(|split| dataset.only(split).len());
    for (name, kind, classes, dealt) in [
        ("voc", Kind::Voc, 21, [3, 4, 0]),
        ("pets", Kind::Pets, 3, [19, 0, 7]),
        ("nuclei", Kind::Folder, 2, [0; 3]),
        ("membrane", Kind::Folder, 2, [0; 3]),
        ("camvid", Kind::Folder, 11, [367, 101, 0]),
    ] {
        let Some(path) = shared(name) else { continue };
        let dataset = Dataset::open(path).unwrap();
        assert_eq!(
            (dataset.kind(), dataset.classes().len()),
            (kind, classes),
            "{name}"
        );
        assert_eq!(splits(&dataset), dealt, "{name}");
        // CamVid's hundreds would take a debug build long; its layout has been seen.
        let few = if name == "camvid" {
            dataset.only(Split::Val)
        } else {
            dataset
        };
        let report = check(&few);
        assert_eq!(report.errors(), 0, "{name}: {report}");
    }
}
