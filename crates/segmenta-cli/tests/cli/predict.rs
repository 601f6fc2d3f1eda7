//! `segmenta predict`: what is written, under which names, and what is said.

use std::fs;

use segmenta_image::{LabelMap, Picture};
use serde_json::Value;

use crate::{Room, snapshot};

const MODEL: &str = "--weights tiny.safetensors";

#[test]
fn a_mask_an_overlay_and_a_report() {
    let room = Room::with_model();
    let picture = room.picture("photo.png", 61, 40);
    let answer = room
        .line(&format!("predict photo.png {MODEL} -o out --legend"))
        .succeeded();
    assert_eq!(answer.stderr, "");
    assert_eq!(
        room.files("out"),
        ["photo.mask.png", "photo.overlay.png", "predictions.json"]
    );

    let labels = LabelMap::open(room.path("out/photo.mask.png")).unwrap();
    assert_eq!(labels.size(), picture.size());
    assert!(labels.ids().iter().all(|&id| id < 3));
    // The legend stands beside the picture or below it.
    let overlay = Picture::open(room.path("out/photo.overlay.png")).unwrap();
    assert!(overlay.width() > 61 || overlay.height() > 40);

    let report = room.report("out");
    let entry = &report["pictures"][0];
    assert_eq!(
        (&entry["width"], &entry["height"]),
        (&61.into(), &40.into())
    );
    let classes = entry["classes"].as_array().unwrap();
    let pixels: u64 = classes
        .iter()
        .map(|class| class["pixels"].as_u64().unwrap())
        .sum();
    assert_eq!(pixels, 61 * 40);
    for class in classes {
        let id = class["id"].as_u64().unwrap() as usize;
        assert_eq!(class["pixels"], labels.counts()[id]);
        assert_eq!(class["name"], report["model"]["classes"][id]["name"]);
    }
    for stage in ["decode", "prepare", "network", "labels", "write"] {
        assert!(
            entry["milliseconds"][stage].as_f64().unwrap() >= 0.0,
            "{stage}"
        );
    }
}

#[test]
fn folders_globs_and_names_that_would_collide() {
    let room = Room::with_model();
    for name in ["in/cat/1.png", "in/dog/1.png", "in/dog/1.jpg", "more/2.jpg"] {
        room.picture(name, 24, 16);
    }
    room.write("in/notes.txt", "no picture");
    let answer = room.run([
        "predict",
        "in",
        "more/*.jpg",
        "--weights",
        "tiny.safetensors",
        "-o",
        "in/out",
        "--what",
        "mask",
    ]);
    snapshot("predict-folder", &answer.succeeded());
    let written = [
        "2.mask.png",
        "cat/1.mask.png",
        "dog/1.jpg.mask.png",
        "dog/1.png.mask.png",
        "predictions.json",
    ];
    assert_eq!(room.files("in/out"), written);
    // What the first run wrote below the input is no input of the second.
    room.line(&format!("predict in {MODEL} -o in/out"))
        .succeeded();
    assert_eq!(
        room.report("in/out")["pictures"].as_array().unwrap().len(),
        3
    );
}

#[test]
fn a_batch_gives_what_one_by_one_gives_in_the_order_of_the_inputs() {
    let room = Room::with_model();
    for (i, width) in [40, 40, 33, 40, 40].into_iter().enumerate() {
        room.picture(format!("in/{i}.png"), width, 30 + i);
    }
    room.write("in/2b.png", "no picture");
    for (batch, out) in [(1, "one"), (3, "three")] {
        let answer = room.line(&format!(
            "predict in {MODEL} --batch {batch} -o {out} --resize 32x32"
        ));
        assert_eq!(answer.code, Some(1));
    }
    let files = |out: &str| -> Vec<Value> {
        let report = room.report(out);
        report["pictures"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["file"].clone())
            .collect()
    };
    assert_eq!(
        files("one"),
        ["in/0.png", "in/1.png", "in/2.png", "in/3.png", "in/4.png"]
    );
    assert_eq!(files("one"), files("three"));
    for i in 0..5 {
        let mask = |out: &str| LabelMap::open(room.path(format!("{out}/{i}.mask.png"))).unwrap();
        let (one, three) = (mask("one"), mask("three"));
        let same = one
            .ids()
            .iter()
            .zip(three.ids())
            .filter(|(a, b)| a == b)
            .count();
        assert!(same * 1000 >= one.ids().len() * 999, "picture {i}");
    }
}

#[test]
fn everything_that_can_be_written() {
    let room = Room::with_model();
    room.picture("a b\u{e9}.png", 50, 34);
    let arguments = [
        "predict",
        "a b\u{e9}.png",
        "--weights",
        "tiny.safetensors",
        "--what",
        "probability,cutout",
        "-q",
    ];
    let answer = room
        .run(
            arguments
                .into_iter()
                .chain(["--center-crop", "32", "--alpha", "1"]),
        )
        .succeeded();
    assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), ("", ""));
    assert_eq!(
        room.files("segmentation"),
        [
            "a b\u{e9}.cutout.png",
            "a b\u{e9}.probability.png",
            "predictions.json"
        ]
    );
    let shares = &room.report("segmentation")["pictures"][0]["classes"];
    let pixels: u64 = shares
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["pixels"].as_u64().unwrap())
        .sum();
    assert_eq!(pixels, 32 * 32, "only what the crop shows has a class");
}

#[test]
fn grids_are_as_torchvision_lays_them_out() {
    let room = Room::with_model();
    for i in 0..6 {
        room.picture(format!("in/{i}.jpg"), 40 + i, 30);
    }
    let line = format!(
        "predict in {MODEL} -o out --what mask --grid --resize 24x20 --sample 5 --seed 7 --batch 4"
    );
    room.line(&line).succeeded();
    for name in ["image_samples.png", "segmentation_output.png"] {
        let grid = Picture::open(room.path("out").join(name)).unwrap();
        assert_eq!(grid.size(), (4 * 26 + 2, 2 * 22 + 2), "{name}");
    }
    assert_eq!(room.report("out")["pictures"].as_array().unwrap().len(), 5);
    // Of different sizes the usual one is taken, and said.
    let answer = room
        .line(&format!("predict in {MODEL} -o out --grid"))
        .succeeded();
    assert!(
        answer
            .stderr
            .contains("5 of 6 pictures resized to 40×30 for the grid"),
        "{}",
        answer.stderr
    );
}

#[test]
fn a_recipe_says_options_and_what_is_typed_wins() {
    let room = Room::with_model();
    for i in 0..3 {
        room.picture(format!("in/{i}.png"), 40, 30);
    }
    let recipe = "[predict]\nweights = \"tiny.safetensors\"\nresize = \"24x20\"\nwhat = [\"mask\", \"cutout\"]\ngrid = true";
    room.write("my.toml", recipe);
    room.line("predict in --recipe my.toml -o all").succeeded();
    let grid = Picture::open(room.path("all/image_samples.png")).unwrap();
    assert_eq!(grid.size(), (3 * 26 + 2, 20 + 4));
    assert!(room.exists("all/0.mask.png") && room.exists("all/0.cutout.png"));
    room.line("predict in --recipe my.toml -o mask --what mask --resize 32x32")
        .succeeded();
    let grid = Picture::open(room.path("mask/image_samples.png")).unwrap();
    assert_eq!(grid.size(), (3 * 34 + 2, 32 + 4));
    assert!(!room.exists("mask/0.cutout.png"));

    room.write("odd.toml", "[predict]\nresise = 3");
    room.write("none.toml", "[model]\narch = \"unet\"");
    for (recipe, said) in [
        ("odd.toml", "--resise"),
        ("none.toml", "`model` is no key of it · none.toml"),
        ("torch-hub", "no recipe of predict is called `torch-hub`"),
    ] {
        let answer = room.line(&format!("predict in --recipe {recipe}"));
        assert_eq!(answer.code, Some(2), "{recipe}");
        assert!(answer.stderr.contains(said), "{recipe}: {}", answer.stderr);
    }
}

#[test]
fn a_sample_is_the_same_for_the_same_seed() {
    let room = Room::with_model();
    for i in 0..8 {
        room.picture(format!("in/{i}.png"), 16, 16);
    }
    let sample = |seed: u32| -> Vec<String> {
        room.line(&format!("predict in {MODEL} --sample 3 --seed {seed}"))
            .succeeded();
        let report = room.report("segmentation");
        report["pictures"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["file"].to_string())
            .collect()
    };
    assert_eq!(sample(1), sample(1));
    assert_ne!(sample(1), sample(2));
}

#[test]
fn json_is_a_line_a_picture_and_nothing_else() {
    let room = Room::with_model();
    room.picture("in/1.png", 20, 10);
    room.write("in/2.png", "no picture");
    let answer = room.line(&format!("predict in {MODEL} --json"));
    assert_eq!(answer.code, Some(1));
    let lines: Vec<Value> = answer
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["file"], "in/1.png");
    assert!(lines[1]["message"].as_str().unwrap().contains("in/2.png"));
}

#[test]
fn tiles_and_mirrors() {
    let room = Room::with_model();
    room.picture("wide.png", 150, 40);
    room.line(&format!(
        "predict wide.png {MODEL} --tile 64 --overlap 16 --tta flip --threads 2"
    ))
    .succeeded();
    let mask = LabelMap::open(room.path("segmentation/wide.mask.png")).unwrap();
    assert_eq!(mask.size(), (150, 40));
    let settings = &room.report("segmentation")["settings"];
    assert_eq!(
        (&settings["tile"], &settings["overlap"], &settings["tta"]),
        (&64.into(), &16.into(), &"flip".into())
    );
}

#[test]
fn one_pixel_is_a_picture() {
    let room = Room::with_model();
    room.picture("dot.png", 1, 1);
    room.line(&format!("predict dot.png {MODEL}")).succeeded();
    assert_eq!(
        LabelMap::open(room.path("segmentation/dot.mask.png"))
            .unwrap()
            .size(),
        (1, 1)
    );
}

/// Names are bytes on Unix: line breaks in them stay on their line, and what is no Unicode is replaced
/// where it is shown, and only there.
#[cfg(unix)]
#[test]
fn names_that_are_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let room = Room::with_model();
    room.picture("a.png", 12, 8);
    let bytes = fs::read(room.path("a.png")).unwrap();
    let odd = OsStr::from_bytes(b"in/b\xff.png");
    room.write(odd, &bytes);
    room.write("in/line\nbreak.png", &bytes);
    room.write("in/no\npicture.png", "");
    let answer = room.line(&format!("predict in {MODEL} --what mask"));
    assert_eq!(answer.code, Some(1));
    assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);
    assert!(
        answer.stderr.contains("no\\npicture.png"),
        "{}",
        answer.stderr
    );
    assert!(
        room.path(OsStr::from_bytes(b"segmentation/b\xff.mask.png"))
            .exists()
    );
    assert!(room.exists("segmentation/line\nbreak.mask.png"));
    assert_eq!(
        room.report("segmentation")["pictures"][0]["file"],
        "in/b\u{fffd}.png"
    );
}

/// Ctrl-C: what is done is whole and in the report, and nothing else is there.
#[cfg(unix)]
#[test]
fn an_interruption_leaves_whole_files() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let room = Room::with_model();
    for i in 0..200 {
        room.picture(format!("in/{i:03}.png"), 160, 120);
    }
    let mut child = room.command();
    child.args(["predict", "in", "--weights", "tiny.safetensors"]);
    let child = child
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !room.exists("segmentation/001.mask.png") && start.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(
        Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    let answer = room.answer(child.wait_with_output().unwrap());
    assert_eq!(answer.code, Some(130), "{}", answer.transcript());
    assert!(
        answer.stderr.contains(" of 200 pictures done"),
        "{}",
        answer.stderr
    );

    let done = room.report("segmentation")["pictures"]
        .as_array()
        .unwrap()
        .len();
    assert!((1..200).contains(&done), "{done}");
    let files = room.files("segmentation");
    assert_eq!(files.len(), 2 * done + 1, "{files:?}");
    for file in files.iter().filter(|file| file.ends_with(".mask.png")) {
        LabelMap::open(room.path("segmentation").join(file)).unwrap();
    }
}

/// A real network on real photographs, where the workplace has them.
#[test]
fn photographs_get_the_masks_that_they_should() {
    let shared = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let weights = shared.join("weights/deeplabv3_mobilenet_v2_voc.safetensors");
    let photograph = shared.join("data/voc/JPEGImages/2007_004189.jpg");
    if !weights.exists() || !photograph.exists() {
        println!("skipped: no trained weights here");
        return;
    }
    let room = Room::new();
    let mut arguments: Vec<std::ffi::OsString> = vec!["predict".into(), photograph.into()];
    arguments.extend([
        "--model".into(),
        "deeplabv3_mobilenet_v2".into(),
        "--weights".into(),
        weights.into(),
    ]);
    room.run(arguments).succeeded();
    let expected = LabelMap::open(shared.join("conformance/photographs/2007_004189.png")).unwrap();
    let mask = LabelMap::open(room.path("segmentation/2007_004189.mask.png")).unwrap();
    let same = mask
        .ids()
        .iter()
        .zip(expected.ids())
        .filter(|(a, b)| a == b)
        .count();
    assert!(
        same as f64 >= 0.999 * mask.ids().len() as f64,
        "{same} of {} pixels",
        mask.ids().len()
    );
}

/// `predict photos -o photos`, twice: results are no pictures, and that they were met is said, quiet or not.
#[test]
fn results_of_an_earlier_run_are_left_out_and_said() {
    let room = Room::with_model();
    room.picture("p/a.png", 40, 30);
    room.picture("p/b.mask.png", 40, 30);
    let line = format!("predict p {MODEL} -o p --what mask,overlay,cutout --grid -q");
    assert_eq!(room.line(&line).succeeded().stderr, "");
    let (files, report) = (room.files("p"), room.report("p"));
    let answer = room.line(&line).succeeded();
    assert!(
        answer
            .stderr
            .starts_with("warning: 8 results of Segmenta left out · p/a.cutout.png, … · "),
        "{}",
        answer.stderr
    );
    assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);
    assert_eq!(room.files("p"), files);
    let again = room.report("p");
    assert_eq!(again["pictures"].as_array().unwrap().len(), 2);
    assert_eq!(
        again["pictures"][0]["written"],
        report["pictures"][0]["written"]
    );
    assert_eq!(again["left_out"].as_array().unwrap().len(), 8);

    // A pattern meets them, too; a file that is named is taken, and that is said.
    let answer = room
        .line(&format!("predict p/*.png p/a.mask.png {MODEL} -o out"))
        .succeeded();
    assert!(
        answer.stderr.contains("7 results of Segmenta left out"),
        "{}",
        answer.stderr
    );
    assert!(
        answer
            .stderr
            .contains("1 result of Segmenta taken as pictures · p/a.mask.png · "),
        "{}",
        answer.stderr
    );
    assert_eq!(room.report("out")["pictures"].as_array().unwrap().len(), 3);
    // Nothing else is there.
    let answer = room.line(&format!("predict out {MODEL} -o again"));
    assert_eq!(answer.code, Some(1));
    assert!(
        answer
            .stderr
            .contains("error: no picture but 6 of Segmenta's own results · out · "),
        "{}",
        answer.stderr
    );
}

#[test]
fn a_sheet_replaces_no_picture() {
    let room = Room::with_model();
    room.picture("p/image_samples.png", 20, 10);
    let answer = room.line(&format!("predict p {MODEL} -o p --grid"));
    assert_eq!(answer.code, Some(1));
    assert!(
        answer.stderr.contains(
            "error: a sheet would replace the picture · p/image_samples.png · name another folder with -o"
        ),
        "{}",
        answer.stderr
    );
    assert_eq!(room.files("p"), ["image_samples.png"]);
}

/// The demo's pictures can be segmented; its masks, overlays and its run are no pictures.
#[test]
fn what_the_demo_draws_is_left_out() {
    let room = Room::with_model();
    room.line("demo --quick -q -o d").succeeded();
    let answer = room
        .line(&format!("predict d {MODEL} -o out --what mask"))
        .succeeded();
    let report = room.report("out");
    let pictures = report["pictures"].as_array().unwrap();
    assert_eq!(pictures.len(), 8, "{}", answer.stderr);
    for picture in pictures {
        let file = picture["file"].as_str().unwrap();
        assert!(file.ends_with(".picture.png"), "{file}");
    }
}

/// A seed beside a recipe goes with what the recipe says; what is typed wins.
#[test]
fn options_are_checked_once_the_recipe_is_read() {
    let room = Room::with_model();
    for n in 0..6 {
        room.picture(format!("set/{n}.png"), 40, 30);
    }
    let line = "predict set --recipe torch-hub-fcn --model deeplabv3_mobilenet_v2 --weights tiny.safetensors";
    let chosen = |flags: &str| {
        room.line(&format!("{line} {flags}")).succeeded();
        let report = room.report("output");
        let pictures = report["pictures"].as_array().unwrap();
        let names = pictures
            .iter()
            .map(|p| p["file"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let (five, again, six) = (chosen("--seed 5"), chosen("--seed 5"), chosen("--seed 8"));
    assert_eq!(five.len(), 4);
    assert_eq!(five, again);
    assert_ne!(five, six, "another seed draws others");
    assert!(room.exists("output/segmentation_output.png"));
    // Without the recipe the seed has nothing to choose.
    let alone = room.line("predict set --weights tiny.safetensors --seed 5");
    assert_eq!(alone.code, Some(2), "{}", alone.transcript());
    let gpu = room.line(&format!("{line} --device cuda"));
    assert_eq!(gpu.code, Some(2));
    assert!(
        gpu.stderr.contains("on the processor: cpu"),
        "{}",
        gpu.stderr
    );
}

/// The tutorial's own map, and its numbers.
#[test]
fn the_networks_own_pixels_and_numbers_are_given() {
    let room = Room::with_model();
    room.picture("bird.png", 300, 260);
    let line = "predict bird.png --recipe fcn-deeplab-voc --model deeplabv3_mobilenet_v2 --weights tiny.safetensors";
    room.line(&format!(
        "{line} --what mask,overlay,logits,probabilities,probability -o out"
    ))
    .succeeded();
    let mask = LabelMap::open(room.path("out/bird.mask.png")).unwrap();
    assert_eq!(mask.size(), (224, 224));
    assert!(
        mask.ids().iter().all(|&id| id < 3),
        "no pixel outside the crop"
    );
    let overlay = Picture::open(room.path("out/bird.overlay.png")).unwrap();
    assert_eq!(overlay.size(), (224, 224));
    let read = |name: &str| {
        let bytes = std::fs::read(room.path(format!("out/bird.{name}.npy"))).unwrap();
        segmenta::npy::read(&bytes).unwrap()
    };
    let (logits, shares) = (read("logits"), read("probabilities"));
    for tensor in [&logits, &shares] {
        let shape = tensor.shape;
        assert_eq!((shape.channels, shape.height, shape.width), (3, 224, 224));
    }
    // Their `argmax` is the mask, and the probabilities add up.
    for (at, &id) in mask.ids().iter().enumerate() {
        let of = |class: usize| logits.data[class * 224 * 224 + at];
        assert!((0..3).all(|class| of(class) <= of(id.into())), "pixel {at}");
        let sum: f32 = (0..3)
            .map(|class| shares.data[class * 224 * 224 + at])
            .sum();
        assert!((sum - 1.0).abs() < 1e-5, "pixel {at}: {sum}");
    }
    // At the photograph's size the rest is void.
    room.line(&format!("{line} --size photograph -o whole"))
        .succeeded();
    let mask = LabelMap::open(room.path("whole/bird.mask.png")).unwrap();
    assert_eq!(mask.size(), (300, 260));
    assert!(mask.ids().contains(&255));
    let tiled =
        room.line("predict bird.png --weights tiny.safetensors --tile 64 --what logits -o t");
    assert!(
        tiled.stderr.contains("leave the tiles out"),
        "{}",
        tiled.transcript()
    );
}

#[test]
fn names_and_colours_can_be_said() {
    let room = Room::with_model();
    room.picture("a.png", 40, 30);
    let colours = |flags: &str| {
        room.line(&format!(
            "predict a.png --weights tiny.safetensors {flags} -o out"
        ))
        .succeeded();
        let report = room.report("out");
        let classes = report["model"]["classes"].as_array().unwrap();
        let names = classes
            .iter()
            .map(|c| c["name"].as_str().unwrap().to_owned());
        (names.collect::<Vec<_>>(), classes[1]["color"].clone())
    };
    let (names, colour) = colours("--names air,wood,stone --palette torchvision");
    assert_eq!(names, ["air", "wood", "stone"]);
    assert_eq!(colour, serde_json::json!([1, 127, 31]));
    room.write("mine.txt", "air 9 8 7\nwood 1 2 3\nstone 4 5 6\n");
    let (names, colour) = colours("--names mine.txt --palette mine.txt");
    assert_eq!((names.len(), colour), (3, serde_json::json!([1, 2, 3])));
    let wrong = room.line("predict a.png --weights tiny.safetensors --names by-order");
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.stderr.contains("--match by-order"),
        "{}",
        wrong.stderr
    );
    let wrong = room.line("predict a.png --weights tiny.safetensors --palette vok");
    assert!(
        wrong.stderr.contains("no palette is called `vok`"),
        "{}",
        wrong.stderr
    );
}

/// Who comes without a model, or with another tool's words, is told.
#[test]
fn first_words_are_answered() {
    let room = Room::with_model();
    room.picture("a.png", 40, 30);
    // Offline, so that it ends at the download; what it would take is said before.
    let answer = room.line("predict a.png");
    assert!(
        answer
            .stderr
            .contains("no model was named: lraspp_mobilenet_v3_large"),
        "{}",
        answer.transcript()
    );
    let answer = room.line("predict model=best.pt source=a.png");
    assert_eq!(answer.code, Some(2), "{}", answer.transcript());
    assert!(
        answer
            .stderr
            .contains("segmenta predict a.png --weights best.pt"),
        "{}",
        answer.stderr
    );
}

/// A picture by its address: downloaded once, kept, named as its address ends.
#[test]
fn a_picture_can_be_named_by_its_url() {
    use std::io::{BufRead, BufReader, Write};

    let room = Room::with_model();
    room.picture("bird.png", 40, 30);
    let bytes = fs::read(room.path("bird.png")).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        // Once: a second request would wait for ever.
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .for_each(drop);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            bytes.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&bytes).unwrap();
    });
    for _ in 0..2 {
        let mut command = room.command();
        command.env("SEGMENTA_OFFLINE", "0");
        let url = format!("http://{address}/birds/bird.png?size=1");
        command.args([
            "predict",
            &url,
            "--weights",
            "tiny.safetensors",
            "-o",
            "out",
        ]);
        room.answer(command.output().unwrap()).succeeded();
    }
    let masks = room.files("out");
    assert!(
        masks
            .iter()
            .any(|name| name.starts_with("bird-") && name.ends_with(".mask.png")),
        "{masks:?}"
    );
    let answer = room.line("predict http://nowhere.invalid/a.png --weights tiny.safetensors");
    assert_eq!(answer.code, Some(1), "{}", answer.transcript());
    assert!(
        answer.stderr.contains("SEGMENTA_OFFLINE"),
        "{}",
        answer.stderr
    );
}
