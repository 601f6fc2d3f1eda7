//! `segmenta train` and `eval`: a run from a folder of pictures to a model that predicts, and what can be wrong.

use std::fs;

use segmenta_image::{LabelMap, Palette};

use crate::{Room, snapshot};

const RECIPE: &str = "\
[model]
encoder = \"resnet18\"
encoder_weights = \"none\"
classes = 1
[input]
size = [64, 64]
[train]
epochs = 1
batch = 2
score = \"dice\"
previews = 1
";

/// Six pictures, the left half of each being a thing.
pub(crate) fn with_data() -> Room {
    let room = Room::new();
    for n in 0..6 {
        room.picture(format!("set/images/{n}.png"), 48, 32);
        let id = |i: usize| u8::from(i % 48 < 20 + n) * 255;
        let map = LabelMap::new(48, 32, (0..48 * 32).map(id).collect()).unwrap();
        room.write(format!("set/masks/{n}.png"), map.to_png(&Palette::voc()));
    }
    room.write("my.toml", RECIPE);
    room
}

#[test]
fn a_recipe_and_a_folder_become_a_model() {
    let room = with_data();
    let answer = room.line("train my.toml --data set -o run").succeeded();
    assert!(answer.stdout.contains("Dice") && answer.stdout.contains("model.safetensors"));
    assert!(room.exists("run/report.html") && room.exists("run/metrics.csv"));

    // What the masks' values mean was found, and holds for the run from then on.
    let config = fs::read_to_string(room.path("run/config.toml")).unwrap();
    assert!(config.contains("masks = \"0/255\""), "{config}");

    // The same run is not written over, but goes on.
    let again = room.line("train my.toml --data set -o run");
    assert_eq!(again.code, Some(1), "{}", again.transcript());
    assert!(again.stderr.contains("--resume") || again.stderr.contains("--overwrite"));
    let more = "train my.toml --data set -o run --resume --set train.epochs=2";
    room.line(more).succeeded();
    let metrics = fs::read_to_string(room.path("run/metrics.csv")).unwrap();
    assert_eq!(metrics.lines().count(), 4, "{metrics}");

    // The model file is enough to predict and to be measured.
    let predict = "predict set/images/0.png --weights run/model.safetensors -o out";
    room.line(predict).succeeded();
    let mask = LabelMap::open(room.path("out/0.mask.png")).unwrap();
    assert_eq!(mask.size(), (48, 32));
    assert!(mask.ids().iter().all(|&id| id <= 1));
    let eval = "eval --weights run/model.safetensors --data set --json";
    let answer = room.line(eval).succeeded();
    let scores: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    // The split lies in the run alone: what it kept is measured on, and every score says so.
    assert_eq!(scores["pictures"], 1);
    let protocol = scores["scores"]["mIoU"]["protocol"].as_str().unwrap();
    assert!(
        protocol.contains("ignored")
            && protocol.ends_with("on the run's validation list, 1 picture"),
        "{protocol}"
    );
    assert!(!answer.stderr.contains("learned from"), "{}", answer.stderr);
    let folders =
        "eval --weights run/model.safetensors --images set/images --masks set/masks --json";
    let answer = room.line(folders).succeeded();
    let same: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(same["scores"], scores["scores"]);
}

/// What a score is worth depends on whether its pictures were learned from.
#[test]
fn measuring_knows_what_was_learned_from() {
    let room = with_data();
    room.line("train my.toml --data set -o run -q").succeeded();
    let eval = "eval --weights run/model.safetensors --data set";
    let measured = |flags: &str| {
        let answer = room.line(&format!("{eval} --json {flags}")).succeeded();
        let found: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
        (found["pictures"].as_u64().unwrap(), answer.stderr)
    };
    let warning = |text: &str| text.contains("the model learned from");
    for (flags, pictures, warns) in [
        ("", 1, false),
        ("--split val", 1, false),
        ("--split train", 5, true),
        ("--split all", 6, true),
    ] {
        let (counted, said) = measured(flags);
        assert_eq!(
            (counted, warning(&said)),
            (pictures, warns),
            "{flags}: {said}"
        );
    }
    assert!(measured("--split all").1.contains("5 of 6 pictures"));
    assert_eq!(room.line(&format!("{eval} --split test")).code, Some(2));
    // The lists are names a line, as `data.splits` reads them.
    let lines = |list: &str| {
        let text = fs::read_to_string(room.path(format!("run/lists/{list}"))).unwrap();
        text.lines().count()
    };
    assert_eq!((lines("train.txt"), lines("val.txt")), (5, 1));
    // Out of its run the file still knows that there were lists.
    fs::copy(
        room.path("run/model.safetensors"),
        room.path("alone.safetensors"),
    )
    .unwrap();
    let answer = room
        .line("eval --weights alone.safetensors --data set")
        .succeeded();
    assert!(answer.stderr.contains("is not known"), "{}", answer.stderr);
    // Lists that were changed are not the run's.
    room.write("run/lists/val.txt", "0\n");
    assert!(measured("").1.contains("is not known"));
}

/// The network before training is a baseline, however good it is.
#[test]
fn a_run_is_never_headed_by_the_untrained_network() {
    let room = with_data();
    // A step so large that the first epoch is worse than nothing learned.
    let answer = room
        .line("train my.toml --data set -o run --set optimizer.lr=0.5 --set train.score=pixel_accuracy")
        .succeeded();
    assert!(
        answer.stdout.contains("in epoch 1"),
        "{}",
        answer.transcript()
    );
    let rows: Vec<&str> = answer
        .stderr
        .lines()
        .filter(|line| line.contains("/1 "))
        .collect();
    assert_eq!(rows.len(), 2, "{}", answer.stderr);
    assert!(
        !rows[0].contains("best") && rows[1].ends_with("best"),
        "{rows:?}"
    );
    let head = answer
        .stderr
        .lines()
        .find(|line| line.contains("validation"))
        .unwrap();
    let columns: Vec<&str> = head.split_whitespace().collect();
    assert_eq!(
        columns,
        [
            "epoch",
            "loss",
            "validation",
            "accuracy",
            "training",
            "pictures/s",
            "left"
        ]
    );
    let log = fs::read_to_string(room.path("run/log.txt")).unwrap();
    assert!(log.contains("of 4096 pixels right"), "{log}");
    let metrics = fs::read_to_string(room.path("run/metrics.csv")).unwrap();
    let last: Vec<&str> = metrics.lines().last().unwrap().split(',').collect();
    let trained: f64 = last[last.len() - 3].parse().unwrap();
    assert!((0.0..=1.0).contains(&trained), "{metrics}");
}

/// Both files are model files: what a run left last can be looked at and used as what was best.
#[test]
fn both_files_of_a_run_describe_themselves() {
    let room = with_data();
    room.line("train my.toml --data set -o run -q").succeeded();
    for file in ["model", "last"] {
        let predict =
            format!("predict set/images/0.png --weights run/{file}.safetensors -o {file}");
        let answer = room.line(&predict).succeeded();
        assert!(!answer.stderr.contains("warning"), "{}", answer.stderr);
        let shown = room
            .line(&format!("weights run/{file}.safetensors"))
            .succeeded()
            .stdout;
        assert!(shown.contains("unet"), "{shown}");
    }
    let mask = |file: &str| fs::read(room.path(format!("{file}/0.mask.png"))).unwrap();
    assert_eq!(
        mask("model"),
        mask("last"),
        "one epoch: best and last are the same"
    );
}

#[test]
fn what_training_can_live_with_is_told_once_in_the_words_of_the_check() {
    let room = crate::eval::with_faulty_annotations();
    room.write("my.toml", RECIPE);
    let checked = room.line("data check coco").succeeded().stdout;
    let faults = checked
        .split("\n\n")
        .find(|part| part.contains("faults in annotations"))
        .expect(&checked);
    let answer = room
        .line("train my.toml --data coco -o run -q --set data.train_share=0.5")
        .succeeded();
    assert_eq!(
        answer.stderr.matches(faults.trim()).count(),
        1,
        "{}",
        answer.stderr
    );
    assert!(faults.contains("outside the picture"), "{faults}");
    let more = "train --resume -o run --set train.epochs=2";
    let answer = room.line(more).succeeded();
    assert!(
        !answer.stderr.contains("faults in annotations"),
        "{}",
        answer.stderr
    );
}

fn last_line(text: &str) -> &str {
    text.trim().lines().last().unwrap_or_default()
}

/// A limit on the size of files stands for a disk that is full.
#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_written_is_told_in_one_line_by_every_writer() {
    let room = with_data();
    let limited = |blocks: usize, line: &str| {
        let binary = env!("CARGO_BIN_EXE_segmenta");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec {binary} {line}");
        let mut command = std::process::Command::new("sh");
        command.current_dir(room.path("")).args(["-c", &script]);
        room.answer(command.output().unwrap())
    };
    // Weights, through segmenta-weights.
    let answer = limited(1000, "train my.toml --data set -o run -q");
    assert_eq!(answer.code, Some(1), "{}", answer.transcript());
    let error = last_line(&answer.stderr);
    assert!(
        error.starts_with("error: cannot write the file: file too large; it takes"),
        "{error}"
    );
    assert!(
        error.contains("safetensors · raise the limit on the size of files"),
        "{error}"
    );
    // A picture, through segmenta-image.
    let answer = limited(2, "data preview set -o small.png");
    let error = last_line(&answer.stderr);
    assert!(
        error.contains("cannot write the file: file too large · "),
        "{error}"
    );
    assert!(error.contains("small.png · raise the limit"), "{error}");
    assert!(!room.exists("small.png"));
}

#[test]
fn numbers_out_of_range_are_told_by_key_and_range() {
    let room = with_data();
    for (setting, said) in [
        (
            "train.batch=1000000000",
            "give a whole number from 1 to 4096 · train.batch",
        ),
        (
            "data.workers=1000000000",
            "give a whole number from 1 to 256 · data.workers",
        ),
        (
            "train.accumulate=-1",
            "give a whole number from 1 to 65536 · train.accumulate",
        ),
        (
            "data.cache_mb=1e12",
            "give a whole number from 0 to 1048576 · data.cache_mb",
        ),
        ("input.size=[1000000,1000000]", "· input.size"),
        (
            "model.classes=1000000000",
            "give a whole number from 1 to 256 · model.classes",
        ),
    ] {
        let answer = room.line(&format!("train my.toml --data set -o run --set {setting}"));
        assert_eq!(answer.code, Some(2), "{}", answer.transcript());
        assert!(answer.stderr.contains(said), "{}", answer.stderr);
        assert_eq!(answer.stderr.trim().lines().count(), 1, "{}", answer.stderr);
        assert!(!room.exists("run"));
    }
}

#[test]
fn what_is_wrong_is_said_before_a_folder_is_made() {
    let room = with_data();
    let fails = |line: &str, code: i32, name: &str| {
        let answer = room.line(line);
        assert_eq!(answer.code, Some(code), "{}", answer.transcript());
        snapshot(name, &answer);
        assert!(!room.exists("run"), "{line}");
    };
    fails("train no-such-recipe --data set -o run", 2, "train-recipe");
    fails("train my.toml -o run", 2, "train-no-data");
    fails(
        "train my.toml --data set -o run --set train.epoch=3",
        2,
        "train-key",
    );
    fails(
        "train my.toml --data set -o run --set model.encoder=resnet19",
        2,
        "train-encoder",
    );
    fails("train my.toml --data nowhere -o run", 1, "train-nowhere");
    fails(
        "train voc -m segformer --data set -o run",
        2,
        "train-tutorial",
    );
    // A mask with an id that no class has.
    let ids = vec![200; 48 * 32];
    let map = LabelMap::new(48, 32, ids).unwrap();
    room.write("set/masks/3.png", map.to_png(&Palette::voc()));
    room.write("set/classes.txt", "ground\nthing\n");
    let answer = room.line("train my.toml --data set -o run");
    assert_eq!(answer.code, Some(1), "{}", answer.transcript());
    assert!(
        answer.stderr.contains("200") && !room.exists("run"),
        "{}",
        answer.transcript()
    );
}

/// Where `train` is told to go on: with what it was begun with, for as long as it is told.
#[test]
fn what_is_given_to_a_run_that_goes_on_is_used_or_refused() {
    let room = with_data();
    room.line("train my.toml --data set -o run").succeeded();
    let epochs = || {
        let metrics = fs::read_to_string(room.path("run/metrics.csv")).unwrap();
        metrics.lines().count() - 2
    };
    assert_eq!(epochs(), 1);

    // A recipe that says more epochs now.
    room.write("my.toml", RECIPE.replace("epochs = 1", "epochs = 2"));
    let answer = room
        .line("train my.toml --data set -o run --resume")
        .succeeded();
    assert!(
        answer.stderr.contains("train.epochs = 2, begun with 1"),
        "{}",
        answer.transcript()
    );
    assert_eq!(epochs(), 2);
    // The run itself is enough: it knows its recipe, how long it goes on and where its data is.
    let answer = room.line("train -o run --resume").succeeded();
    assert!(
        answer.stderr.contains("nothing is left to do"),
        "{}",
        answer.transcript()
    );

    let refused = |line: &str, code: i32, said: &[&str]| {
        let answer = room.line(line);
        assert_eq!(answer.code, Some(code), "{}", answer.transcript());
        for said in said {
            assert!(
                answer.stderr.contains(said),
                "{said}: {}",
                answer.transcript()
            );
        }
        assert_eq!(epochs(), 2, "{line}");
    };
    room.write("other.toml", RECIPE.replace("resnet18", "resnet34"));
    refused(
        "train other.toml --data set -o run --resume",
        2,
        &["model.encoder", "resnet18", "resnet34", "-o"],
    );
    refused(
        "train my.toml --data set -o run --resume --set train.batch=4",
        2,
        &["train.batch is 2 there and 4 here"],
    );
    refused(
        "train my.toml --data set -o run --resume --set train.epochs=1",
        2,
        &["train.epochs"],
    );
    refused(
        "train my.toml --data set -o run --resume --set train.seed=0 --set train.seed=1",
        2,
        &["set twice"],
    );
    refused(
        "train my.toml --data set -o nothing --resume",
        1,
        &["no run is there", "nothing"],
    );
    refused("train --resume", 2, &["-o DIR"]);
    refused("train -m unet -o run --resume", 2, &["-m goes with"]);
    refused(
        "train my.toml --data set -o run --resume --max-steps 0",
        2,
        &["--max-steps"],
    );
    refused("train my.toml --explain", 2, &["--explain"]);
    for n in 6..16 {
        room.picture(format!("more/images/{n}.png"), 48, 32);
        let ids = (0..48 * 32).map(|i| u8::from(i % 48 < 20)).collect();
        let map = LabelMap::new(48, 32, ids).unwrap();
        room.write(format!("more/masks/{n}.png"), map.to_png(&Palette::voc()));
    }
    refused(
        "train my.toml --data more -o run --resume",
        1,
        &["the data are not the run's", "--data DIR"],
    );
}

/// Every command that we print is run as it was printed.
#[cfg(unix)]
#[test]
fn the_commands_that_are_printed_do_what_is_said() {
    let room = with_data();
    fs::rename(room.path("my.toml"), room.path("it's mine.toml")).unwrap();
    let line = ["train", "it's mine.toml", "--data", "set", "-o", "a run"];
    let line = line
        .iter()
        .chain(&["--set", "train.epochs=2", "--max-steps", "1"]);
    // What was asked for is no error.
    let answer = room.run(line).succeeded();
    let again = last_line(&answer.stdout);
    assert_eq!(
        again,
        "segmenta train --resume -o 'a run'",
        "{}",
        answer.transcript()
    );
    assert!(
        answer.stdout.contains("1 step taken"),
        "{}",
        answer.transcript()
    );
    let answer = room.shell(again).succeeded();
    let metrics = fs::read_to_string(room.path("a run/metrics.csv")).unwrap();
    assert_eq!(metrics.lines().count(), 4, "{metrics}");
    let predict = last_line(&answer.stdout).replace("PHOTO", "set/images/0.png");
    room.shell(&format!("{predict} -o out")).succeeded();
    assert!(room.exists("out/0.mask.png"));
}

/// As the tutorial on VOC spells it, whose recipe and folder have other names than what was typed.
#[cfg(unix)]
#[test]
fn the_tutorials_spelling_goes_on_as_it_is_printed() {
    let room = Room::new();
    for n in 0..4 {
        let width = 40 + n;
        room.picture(format!("voc/JPEGImages/{n}.jpg"), width, 40);
        let ids = (0..width * 40)
            .map(|i| u8::from(i % width < 10 + n))
            .collect();
        let map = LabelMap::new(width, 40, ids).unwrap();
        room.write(
            format!("voc/SegmentationClass/{n}.png"),
            map.to_png(&Palette::voc()),
        );
    }
    room.write("voc/ImageSets/Segmentation/train.txt", "0\n1\n");
    room.write("voc/ImageSets/Segmentation/val.txt", "2\n3\n");
    let line = "train voc -m unet --data voc --max-steps 1 --set train.batch=1 --set train.epochs=1 \
                --set augment=[] --set input.size=[32,32]";
    let answer = room.line(line).succeeded();
    let answer = room.shell(last_line(&answer.stdout)).succeeded();
    assert!(
        answer.stdout.contains("in epoch 1"),
        "{}",
        answer.transcript()
    );
    assert!(room.exists("runs/voc-unet/model.safetensors"));
}

/// What lists keep to be measured on is not learned from, whichever of the lists there are.
#[test]
fn lists_in_part_are_gone_by() {
    let room = with_data();
    let (val, train) = ("set/splits/val.txt", "set/splits/train.txt");
    let parts = |words: &str| {
        let answer = room.line("train my.toml --data set -o run --max-steps 1 --overwrite");
        assert!(answer.stderr.contains(words), "{}", answer.transcript());
        let begun = fs::read_to_string(room.path("run/begun.json")).unwrap();
        let begun: serde_json::Value = serde_json::from_str(&begun).unwrap();
        ["training", "validation"].map(|part| begun["data"][part].as_u64().unwrap())
    };
    room.write(val, "2\n4\n");
    let rest = "those in no split are learned from, those of `val` are measured on";
    assert_eq!(parts(rest), [4, 2]);
    room.write(train, "\n");
    assert_eq!(parts(rest), [4, 2], "an empty list names nothing");
    room.write(val, "0\n1\n2\n3\n4\n5\n");
    assert_eq!(parts("pictures for `val` alone"), [5, 1]);
    fs::remove_file(room.path(val)).unwrap();
    room.write(train, "0\n1\n2\n3\n4\n");
    assert_eq!(parts("pictures for `train` alone"), [4, 1]);
    let seed = room.line("train my.toml --data set -o run --overwrite --set train.seed=-1");
    assert!(
        seed.stderr
            .contains("it cannot be -1; give a whole number from 0"),
        "{}",
        seed.transcript()
    );
}
