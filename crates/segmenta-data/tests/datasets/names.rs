//! Two things of one name, and names in lists.

use std::fs;

use segmenta_data::check::Problem;
use segmenta_data::{Dataset, Kind, Open, Shares, Split};

use crate::{Room, check, names, problems, sound};

fn refused(room: &Room) -> String {
    Dataset::open(room.root()).unwrap_err().to_string()
}

fn of_one_name(dataset: &Dataset) -> Vec<String> {
    let report = check(dataset);
    let mut found = report.findings.into_iter();
    found
        .find(|finding| finding.problem == Problem::TwoOfOneName)
        .map_or_else(Vec::new, |finding| finding.files)
}

#[test]
fn pictures_of_one_stem_are_both_there() {
    let room = Room::new();
    for name in ["a.jpg", "a.png", "b.png"] {
        room.picture(&format!("images/{name}"), 16, 12);
    }
    room.mask("masks/a.png", 16, 12, &[1]);
    room.mask("masks/b.png", 16, 12, &[1]);
    room.mask("masks/b_mask.png", 16, 12, &[2]);
    let dataset = room.open();
    assert_eq!(
        names(&dataset),
        [("a.jpg", None), ("a.png", None), ("b", None)]
    );
    assert_eq!(
        of_one_name(&dataset),
        [
            "images/a.jpg, images/a.png, masks/a.png: one mask for 2 pictures",
            "images/b.png, masks/b.png, masks/b_mask.png: 2 masks for one picture"
        ]
    );
    for (index, files) in [(0, ["a.jpg", "a.png"]), (2, ["b.png", "b_mask.png"])] {
        let error = dataset.sample(index).unwrap_err().to_string();
        assert!(files.iter().all(|file| error.contains(file)), "{error}");
    }
    // Masks of whole names say which is whose.
    let room = Room::new();
    for name in ["a.jpg", "a.png"] {
        room.picture(&format!("images/{name}"), 16, 12);
        room.mask(&format!("masks/{name}.png"), 16, 12, &[0, 1]);
    }
    sound(&room.open());
    room.text("splits/train.txt", "a.jpg\na.png\n");
    assert_eq!(room.open().only(Split::Train).len(), 2);
    room.text("splits/train.txt", "a\n");
    let error = refused(&room);
    assert!(
        error.contains("images/a.jpg") && error.contains("images/a.png"),
        "{error}"
    );
}

#[test]
fn twins_are_found_in_every_layout() {
    let voc = Room::new();
    let pets = Room::new();
    let camvid = Room::new();
    let cityscapes = Room::new();
    let ade20k = Room::new();
    for (room, pictures, mask) in [
        (&voc, "JPEGImages/a", "SegmentationClass/a.png"),
        (&pets, "images/a", "annotations/trimaps/a.png"),
        (&camvid, "train/a", "trainannot/a.png"),
        (
            &cityscapes,
            "leftImg8bit/train/c/a_leftImg8bit",
            "gtFine/train/c/a_gtFine_labelTrainIds.png",
        ),
        (&ade20k, "images/training/a", "annotations/training/a.png"),
    ] {
        room.picture(&format!("{pictures}.jpg"), 4, 3);
        room.picture(&format!("{pictures}.PNG"), 4, 3);
        room.mask(mask, 4, 3, &[1]);
        let dataset = room.open();
        assert_ne!(dataset.kind(), Kind::Folder);
        assert_eq!(dataset.len(), 2, "{}", dataset.kind());
        let found = of_one_name(&dataset);
        assert_eq!(found.len(), 1, "{}", dataset.kind());
        assert!(
            found[0].contains(".jpg") && found[0].contains(".PNG"),
            "{found:?}"
        );
        let [first, second] = [0, 1].map(|at| dataset.items()[at].name().to_string());
        assert_ne!(first, second);
    }
    let pictures = Room::new();
    for name in ["a/1.jpg", "a/1.png", "a/1.PNG"] {
        pictures.picture(name, 3, 3);
    }
    let dataset = pictures.open();
    assert_eq!(
        names(&dataset).iter().map(|n| n.0).collect::<Vec<_>>(),
        ["a/1.PNG", "a/1.jpg", "a/1.png"]
    );
    assert_eq!(problems(&dataset), [Problem::NoMasks]);
}

#[test]
fn one_name_in_two_splits_is_two_names() {
    let room = Room::new();
    for split in ["train", "val"] {
        room.picture(&format!("{split}/images/1.png"), 4, 3);
        room.mask(&format!("{split}/masks/1.png"), 4, 3, &[0, 1]);
    }
    let dataset = room.open();
    assert_eq!(
        names(&dataset),
        [
            ("train/images/1", Some(Split::Train)),
            ("val/images/1", Some(Split::Val))
        ]
    );
    let dealt = dataset.split(Shares::new(0.5, None, None).unwrap(), 1);
    room.text("splits/train.txt", &dealt.list(Split::Train).unwrap());
    assert_eq!(room.open().only(Split::Train).len(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn folders_that_differ_in_case_are_refused() {
    let room = Room::new();
    room.picture("images/a.png", 4, 3);
    room.picture("Images/b.png", 4, 3);
    room.mask("masks/a.png", 4, 3, &[0, 1]);
    let error = refused(&room);
    assert!(
        error.contains("Images") && error.contains("images"),
        "{error}"
    );
}

#[test]
fn coco_pictures_of_one_name_are_told_apart_or_refused() {
    let room = Room::new();
    for name in ["left/1.jpg", "right/1.jpg"] {
        room.picture(name, 10, 8);
    }
    let document = |file: &str| {
        format!(
            r#"{{"images": [{{"id": 1, "file_name": "{file}", "width": 10, "height": 8}}],
                "categories": [{{"id": 1, "name": "dog"}}],
                "annotations": [{{"id": 1, "image_id": 1, "category_id": 1, "area": 36, "iscrowd": 0,
                                  "segmentation": [[1,1, 7,1, 7,7, 1,7]]}}]}}"#
        )
    };
    room.text("annotations/instances.json", &document("1.jpg"));
    let error = refused(&room);
    assert!(
        error.contains("left/1.jpg") && error.contains("right/1.jpg"),
        "{error}"
    );
    room.text("annotations/instances.json", &document("right/1.jpg"));
    assert_eq!(names(&room.open()), [("right/1", None)]);
}

/// Whatever a picture is called, the list that names it is read again.
#[test]
fn lists_hold_every_name() {
    let all = ["#0", "# 1", " 2", "3 ", "4 1", "a b", "ä", "5"];
    let room = Room::new();
    for name in all {
        room.picture(&format!("images/{name}.png"), 4, 3);
        room.mask(&format!("masks/{name}.png"), 4, 3, &[0, 1]);
    }
    let dealt = room.open().split(Shares::new(0.5, None, None).unwrap(), 7);
    for ending in ["\n", "\r\n"] {
        for mark in ["", "\u{feff}"] {
            for split in [Split::Train, Split::Val] {
                let text = dealt.list(split).unwrap().replace('\n', ending);
                room.text(&format!("splits/{split}.txt"), &format!("{mark}{text}"));
            }
            let dataset = room.open();
            assert_eq!(names(&dataset), names(&dealt));
            sound(&dataset);
        }
    }
    let wide: Vec<u8> = "\u{feff}#0\r\na b.png\r\n# a comment\r\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    fs::write(room.path("splits/train.txt"), wide).unwrap();
    fs::remove_file(room.path("splits/val.txt")).unwrap();
    assert_eq!(room.open().only(Split::Train).len(), 2);
}

#[cfg(unix)]
#[test]
fn a_name_that_no_line_holds_is_refused() {
    let room = Room::new();
    room.picture("images/a\nb.png", 4, 3);
    room.mask("masks/a\nb.png", 4, 3, &[0, 1]);
    let dealt = room.open().split(Shares::new(1.0, None, None).unwrap(), 7);
    let error = dealt.list(Split::Train).unwrap_err().to_string();
    assert!(
        error.contains("a list cannot hold") && !error.contains('\n'),
        "{error}"
    );
}

#[test]
fn lists_that_contradict_each_other_are_refused() {
    let room = Room::new();
    for name in ["a", "b"] {
        room.picture(&format!("images/{name}.png"), 4, 3);
        room.mask(&format!("masks/{name}.png"), 4, 3, &[0, 1]);
    }
    for folder in ["splits/", ""] {
        room.text(&format!("{folder}train.txt"), "a\nb\na\n");
        assert_eq!(problems(&room.open()), [Problem::ListedTwice]);
        room.text(&format!("{folder}val.txt"), "b\n");
        let error = refused(&room);
        assert!(
            error.contains("a name in two splits: b")
                && error.contains("train.txt")
                && error.contains("val.txt"),
            "{error}"
        );
        let _ = fs::remove_dir_all(room.path("splits"));
    }
    // A folder's split and a list's.
    let room = Room::new();
    room.picture("images/train/a.png", 4, 3);
    room.mask("masks/train/a.png", 4, 3, &[0, 1]);
    room.text("val.txt", "train/a\n");
    assert!(refused(&room).contains("the folder of train"));
    let lists = Open {
        splits: Some(room.root().into()),
        ..Open::default()
    };
    assert_eq!(lists.open(room.root()).unwrap().only(Split::Val).len(), 1);
}

#[test]
fn names_in_numbered_lists_may_have_blanks() {
    let room = Room::new();
    for name in ["my cat", "dog_1"] {
        room.picture(&format!("images/{name}.jpg"), 4, 3);
        room.mask(&format!("annotations/trimaps/{name}.png"), 4, 3, &[1, 2, 3]);
    }
    room.text(
        "annotations/trainval.txt",
        "# Image CLASS-ID SPECIES BREED-ID\nmy cat 1 1 1\n",
    );
    room.text("annotations/test.txt", "dog_1 2 2 1\n");
    assert_eq!(
        names(&room.open()),
        [("dog_1", Some(Split::Test)), ("my cat", Some(Split::Train))]
    );
}
