//! Layouts recognised and read, and the real samples where the workplace has them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use segmenta_data::check::Problem;
use segmenta_data::{Dataset, Kind, Open, Split};
use segmenta_image::VOID;

use crate::{Room, check, ids, names, problems, sound};

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
