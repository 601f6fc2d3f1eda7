//! What 0, 1 and 255 mean: one rule for a data set, said, and masks that break it named with value and pixels.

use segmenta_data::check::{Finding, Problem, Report, count_classes};
use segmenta_data::{DataError, Dataset, MaskRule, Open, RuleOrigin};

use crate::{Room, check, ids, problems, sound};

/// 12×16 masks by the pixels of their values; the rest is 0.
fn masks(all: &[&[(u8, usize)]]) -> Room {
    let room = Room::new();
    for (n, values) in all.iter().enumerate() {
        room.picture(&format!("images/{n}.png"), 12, 16);
        let mut pixels: Vec<u8> = values
            .iter()
            .flat_map(|&(value, count)| std::iter::repeat_n(value, count))
            .collect();
        pixels.resize(12 * 16, 0);
        room.mask(&format!("masks/{n}.png"), 12, 16, &pixels);
    }
    room
}

fn told(room: &Room, rule: &str) -> Result<Dataset, DataError> {
    let rule = Some(rule.parse().unwrap());
    Open {
        rule,
        ..Open::default()
    }
    .open(room.root())
}

fn finding(report: &Report, problem: Problem) -> &Finding {
    let mut all = report.findings.iter();
    all.find(|finding| finding.problem == problem)
        .unwrap_or_else(|| panic!("no {problem:?} in {report}"))
}

const WHITE: &[(u8, usize)] = &[(255, 64)];
const ONES: &[(u8, usize)] = &[(1, 30)];

#[test]
fn a_stray_value_breaks_the_rule_instead_of_turning_it() {
    for (stray, value) in [(1u8, "1"), (254, "254"), (7, "7")] {
        let room = masks(&[WHITE, WHITE, WHITE, &[(255, 64), (stray, 1)]]);
        let dataset = room.open();
        assert_eq!(dataset.meaning().rule.to_string(), "0/255");
        assert_eq!(dataset.classes().names(), ["background", "foreground"]);
        let report = check(&dataset);
        assert_eq!(report.errors(), 1, "{report}");
        let found = finding(&report, Problem::IdsOutOfRange);
        assert_eq!(
            found.files,
            [format!("masks/3.png: value {value} (1 pixel)")]
        );
        let error = dataset.sample(3).unwrap_err().to_string();
        assert!(
            error.contains(&format!("1 pixel of value {value} where masks are 0/255")),
            "{error}"
        );
        assert!(error.contains("3.png"), "{error}");
        // Counts say what they leave out.
        let counts = count_classes(&dataset, &|| {});
        assert_eq!((counts.masks, counts.classes[1].pixels), (3, 3 * 64));
        assert!(
            counts.wrong[0].contains("masks/3.png: 1 pixel of value"),
            "{:?}",
            counts.wrong
        );
    }
}

#[test]
fn the_rule_is_said_with_what_speaks_for_it() {
    let room = masks(&[WHITE, WHITE, &[]]);
    let report = check(&room.open());
    let text = report.to_string();
    assert!(
        text.contains("masks are 0/255: 0 is class 0, 255 is class 1; no pixel ignored (found in 3 masks: 2 of 0 and 255 alone, 1 of 0 alone)"),
        "{text}"
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["masks"]["rule"], "0/255");
    assert_eq!(json["masks"]["by"], "found");
    assert_eq!(json["ignored"], 0);
}

#[test]
fn zero_and_one_beside_zero_and_255_are_an_error() {
    for (all, rule, broken) in [
        (
            vec![WHITE, WHITE, ONES],
            "0/255",
            "masks/2.png: value 1 (30 pixels)",
        ),
        (
            vec![WHITE, ONES, ONES],
            "0/1",
            "masks/0.png: value 255 (64 pixels)",
        ),
        (
            vec![WHITE, ONES],
            "0/255",
            "masks/1.png: value 1 (30 pixels)",
        ),
    ] {
        let room = masks(&all);
        let dataset = room.open();
        let report = check(&dataset);
        assert_eq!(dataset.meaning().rule.to_string(), rule, "{report}");
        assert_eq!(finding(&report, Problem::IdsOutOfRange).files, [broken]);
    }
}

#[test]
fn ids_with_255_for_no_class_stay_ids() {
    let room = masks(&[&[(1, 30), (255, 9)], ONES, &[(1, 9), (255, 30)]]);
    let dataset = room.open();
    assert_eq!(dataset.meaning().rule, MaskRule::Ids);
    assert_eq!(ids(&dataset, 0), [0, 1, 255].into());
    sound(&dataset);
    room.text("classes.txt", "ground\nthing\n");
    assert_eq!(room.open().meaning().rule, MaskRule::Ids);
    // One name stands before a background, whichever way the masks have it.
    room.text("classes.txt", "thing\n");
    assert_eq!(room.open().classes().names(), ["background", "thing"]);
    sound(&room.open());
}

#[test]
fn nothing_but_255_is_no_class() {
    let room = masks(&[&[(255, 192)]]);
    let dataset = room.open();
    assert_eq!(dataset.meaning().rule, MaskRule::Ids);
    assert_eq!(problems(&dataset), [Problem::BlankMask]);
    assert_eq!(count_classes(&dataset, &|| {}).pixels(), 0);
}

#[test]
fn what_jpeg_smeared_is_refused_by_file_value_and_pixels() {
    let smeared: Vec<(u8, usize)> = (1..=8)
        .map(|v| (v, 3))
        .chain((240..255).map(|v| (v, 2)))
        .chain([(255, 60), (128, 2)])
        .collect();
    let room = masks(&[&smeared, &smeared]);
    let dataset = room.open();
    assert_eq!(dataset.meaning().rule, MaskRule::white_on_black());
    let report = check(&dataset);
    let found = finding(&report, Problem::IdsOutOfRange);
    assert_eq!(found.count, 2);
    assert!(
        found.files[0].starts_with("masks/0.png: values 1 (3 pixels), 2 (3 pixels)"),
        "{report}"
    );
}

#[test]
fn an_id_far_from_the_others_is_none() {
    let room = masks(&[ONES, ONES, &[(1, 9), (200, 4)]]);
    let dataset = room.open();
    assert_eq!(dataset.classes().len(), 2);
    let report = check(&dataset);
    assert_eq!(
        finding(&report, Problem::IdsOutOfRange).files,
        ["masks/2.png: value 200 (4 pixels)"]
    );
    // Grey levels are no ids, and how to say what they are is said.
    let levels = masks(&[&[(128, 50), (255, 50)]]);
    levels.text("classes.txt", "a\nb\nc\n");
    let report = check(&levels.open());
    let found = finding(&report, Problem::IdsOutOfRange);
    assert!(found.remedy.contains("masks = \"0/128/255\""), "{report}");
    let dataset = told(&levels, "0/128/255").unwrap();
    assert_eq!(ids(&dataset, 0), [0, 1, 2].into());
    sound(&dataset);
}

#[test]
fn what_the_user_says_holds() {
    let room = masks(&[WHITE, ONES]);
    let dataset = told(&room, "ids").unwrap();
    assert_eq!(
        (dataset.meaning().by, ids(&dataset, 0)),
        (RuleOrigin::Told, [0, 255].into())
    );
    sound(&dataset);
    let dataset = told(&room, "0/255").unwrap();
    assert_eq!(ids(&dataset, 0), [0, 1].into());
    assert!(dataset.sample(1).is_err());
    // By the rule from-one 0 is no class.
    let ones = masks(&[ONES]);
    assert_eq!(ids(&told(&ones, "from-one").unwrap(), 0), [0, 255].into());
    let refused = |open: Open| open.open(room.root()).unwrap_err().to_string();
    let error = refused(Open {
        rule: Some("0/255".parse().unwrap()),
        ignore: vec![255],
        ..Open::default()
    });
    assert!(error.contains("255 is a class and no class"), "{error}");
    let error = refused(Open {
        rule: Some("0/255".parse().unwrap()),
        classes: Some(["a", "b", "c"].map(String::from).into()),
        ..Open::default()
    });
    assert!(error.contains("2 values for 3 classes"), "{error}");
}

#[test]
fn settings_reach_every_layout() {
    let room = Room::new();
    room.picture("images/cat_1.jpg", 4, 3);
    room.mask("annotations/trimaps/cat_1.png", 4, 3, &[1, 2, 3]);
    room.text("annotations/trainval.txt", "cat_1 1 1 1\n");
    let open = |open: Open| open.open(room.root());
    let dataset = open(Open {
        ignore: vec![3],
        ..Open::default()
    })
    .unwrap();
    assert_eq!(ids(&dataset, 0), [0, 1, 255].into());
    let names: Vec<String> = ["cat", "rest", "edge"].map(String::from).into();
    let dataset = open(Open {
        classes: Some(names.clone()),
        ..Open::default()
    })
    .unwrap();
    assert_eq!(dataset.classes().names(), names);
    let error = open(Open {
        classes: Some(names[..2].to_vec()),
        ..Open::default()
    })
    .unwrap_err()
    .to_string();
    assert!(error.contains("2 classes, where pets has 3"), "{error}");
    let pictures = Room::new();
    pictures.picture("a/1.png", 3, 3);
    let error = told(&pictures, "0/255").unwrap_err().to_string();
    assert!(error.contains("no file of a mask"), "{error}");
}

#[test]
fn names_of_classes_are_kept_or_told() {
    let room = masks(&[&[(1, 9), (2, 9)]]);
    // Somebody may look for what is unknown.
    room.text("classes.txt", "\u{feff}road\r\nsky\r\nunknown  \r\n");
    let dataset = room.open();
    assert_eq!(dataset.classes().names(), ["road", "sky", "unknown"]);
    assert_eq!(problems(&dataset), []);
    room.text("classes.txt", "void\nsky\nignore\n");
    let report = check(&room.open());
    assert_eq!(
        finding(&report, Problem::NoClass).files,
        [
            "ignore (2): taken out of the classes, its pixels count nowhere",
            "void (0): a class like any other"
        ]
    );
    assert_eq!((report.errors(), report.ignored), (0, 9));
    for (text, said) in [
        (
            "road\nsky\nroad\n",
            "classes 0 and 2 are both called `road`",
        ),
        ("road\n#1\n", "line 2 is a comment or a class: `#1`"),
        ("# nothing\n\n", "0 classes"),
    ] {
        room.text("classes.txt", text);
        let error = Dataset::open(room.root()).unwrap_err().to_string();
        assert!(
            error.contains(said) && error.contains("classes.txt"),
            "{error}"
        );
    }
}

#[test]
fn white_masks_among_ids_of_many_classes_are_warned_of() {
    let room = masks(&[WHITE, &[(1, 9), (2, 9), (3, 9)], &[(3, 9)]]);
    let report = check(&room.open());
    assert_eq!(
        finding(&report, Problem::WhiteAmongIds).files,
        ["masks/0.png"]
    );
    room.mask("masks/1.png", 12, 16, &[0, 1, 2, 3, 255]);
    assert_eq!(problems(&room.open()), []);
}
