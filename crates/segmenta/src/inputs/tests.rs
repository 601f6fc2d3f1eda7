use std::fs;

use segmenta_image::{LabelMap, Palette, Picture, mark_result};

use super::*;

/// A folder with files in it. What ends in `*` is written as a result of Segmenta (without the star).
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[&str]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for file in files {
            match file.strip_suffix('*') {
                Some(file) => folder.write(file, &mark_result(&png(), "overlay")),
                None => folder.write(file, &[]),
            }
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn collect(&self, places: &[&str]) -> Inputs {
        Inputs::collect(places.iter().map(|place| self.path(place)))
    }

    /// Names of the results of what is at `places`, written into `out`.
    fn names_in(&self, out: &str, places: &[&str]) -> Vec<String> {
        let inputs = self.collect(places).named(&self.path(out));
        inputs.iter().map(|input| text(input.name())).collect()
    }

    fn names(&self, places: &[&str]) -> Vec<String> {
        self.names_in("out", places)
    }

    fn below(&self, paths: &[PathBuf]) -> Vec<String> {
        let below = paths.iter().map(|p| p.strip_prefix(self.0.path()).unwrap());
        below.map(text).collect()
    }
}

fn png() -> Vec<u8> {
    Picture::filled(3, 2, [9, 99, 200]).to_png()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}

#[test]
fn folders_keep_their_sub_folders() {
    let folder = Folder::with(&[
        "a/cat/1.jpg",
        "a/dog/1.jpg",
        "a/notes.txt",
        "a/.hidden/2.jpg",
        "a/._1.jpg",
    ]);
    assert_eq!(folder.names(&["a"]), ["cat/1", "dog/1"]);
}

#[test]
fn no_two_pictures_share_a_name() {
    let files = [
        "a/1.jpg", "a/1.png", "a/2.jpg", "b/1.jpg", "b/2.JPG", "b/X.png", "b/x.gif",
    ];
    let mut names = Folder::with(&files).names(&["a", "b"]);
    names.sort();
    assert_eq!(
        names,
        ["1.png", "X.png", "a/1", "a/2", "b/1", "b/2", "x.gif"]
    );
}

#[test]
fn a_picture_named_twice_is_one() {
    let folder = Folder::with(&["a/1.jpg"]);
    assert_eq!(folder.names(&["a/1.jpg", "a", "a/*.jpg"]), ["1"]);
}

/// `predict photos -o photos`, twice, and an earlier run in a folder below.
#[test]
fn results_are_no_inputs_wherever_they_lie() {
    let folder = Folder::with(&[
        "1.png",
        "1.mask.png*",
        "1.overlay.png*",
        "renamed.jpg*",
        "old/deep/2.cutout.png*",
        "old/deep/3.jpg",
        "image_samples.png*",
    ]);
    let map = LabelMap::new(2, 1, vec![0, 1]).unwrap();
    map.save(folder.path("old/m.png"), &Palette::voc()).unwrap();
    let inputs = folder.collect(&["."]);
    assert_eq!(inputs.len(), 2);
    let mut left_out: Vec<String> = inputs.left_out().iter().map(|p| text(p)).collect();
    left_out.sort();
    assert_eq!(left_out.len(), 6, "{left_out:?}");
    assert!(inputs.own_results().is_empty());
    // Patterns are no other way to name them.
    let inputs = folder.collect(&["*.png", "**/*.jpg"]);
    assert_eq!((inputs.len(), inputs.left_out().len()), (2, 4));
}

#[test]
fn a_result_that_is_named_is_taken() {
    let folder = Folder::with(&["a/1.png", "a/1.overlay.png*", "a/2.mask.png*"]);
    for places in [["a", "a/1.overlay.png"], ["a/1.overlay.png", "a"]] {
        let inputs = folder.collect(&places);
        assert_eq!(inputs.len(), 2);
        assert_eq!(folder.below(inputs.left_out()), ["a/2.mask.png"]);
        assert_eq!(folder.below(inputs.own_results()), ["a/1.overlay.png"]);
    }
}

#[test]
fn a_photograph_that_is_called_like_a_result_is_taken() {
    let folder = Folder::with(&["a/street.mask.png", "a/b.overlay.jpg"]);
    folder.write("a/c.cutout.png", &png());
    let inputs = folder.collect(&["a"]);
    assert_eq!((inputs.len(), inputs.left_out().len()), (3, 0));
}

/// PNG optimisers throw the mark away; the record of the run still lists the file.
#[test]
fn what_a_record_lists_is_a_result() {
    let folder = Folder::with(&["out/sub/1.jpg", "other/1.mask.png"]);
    for name in ["out/sub/1.mask.png", "out/segmentation_output.png"] {
        folder.write(name, &png());
    }
    let record = r#"{"segmenta": "0.1.0", "pictures": [{"written": ["sub/1.mask.png"]}]}"#;
    folder.write("out/predictions.json", record.as_bytes());
    let inputs = folder.collect(&["out/sub", "other"]);
    assert_eq!(
        folder.below(inputs.left_out()),
        ["out/sub/1.mask.png"],
        "the record lies above the folder"
    );
    assert_eq!(inputs.len(), 2);
    assert_eq!(folder.collect(&["out"]).left_out().len(), 2);
    // Somebody else's file of this name says nothing.
    for record in ["[1, 2]", "{\"pictures\": 3}", "", "{\"segmenta\": 1}"] {
        folder.write("out/predictions.json", record.as_bytes());
        assert_eq!(folder.collect(&["out"]).len(), 3, "{record}");
    }
}

#[test]
fn the_animation_of_a_run_is_no_picture() {
    let folder = Folder::with(&["runs/a/growth.gif", "runs/a/config.toml", "b/growth.gif"]);
    let inputs = folder.collect(&["."]);
    assert_eq!((inputs.len(), inputs.left_out().len()), (1, 1));
}

#[test]
fn nothing_but_results_is_a_problem() {
    let folder = Folder::with(&["a/1.mask.png*", "a/1.overlay.png*"]);
    for place in ["a", "a/*.png"] {
        let inputs = folder.collect(&[place]);
        let problem = inputs.problems()[0].to_string();
        assert!(
            problem.starts_with("no picture but 2 of Segmenta's own results · "),
            "{problem}"
        );
    }
}

/// What is written about `a.jpg` may not replace the photograph `a.mask.png`.
#[test]
fn no_result_replaces_an_input() {
    let folder = Folder::with(&["p/a.jpg", "p/a.mask.png", "p/b.jpg", "p/B.Overlay.PNG"]);
    let names = folder.names_in("p", &["p"]);
    assert_eq!(names, ["B.Overlay", "a.jpg", "a.mask", "b.jpg"]);
    // Written elsewhere nothing is in the way.
    let names = folder.names(&["p"]);
    assert_eq!(names, ["B.Overlay", "a", "a.mask", "b"]);
    // By another way to the same folder.
    let names = folder.names_in("p/../p", &["p"]);
    assert_eq!(names, ["B.Overlay", "a.jpg", "a.mask", "b.jpg"]);
    // A selection protects the others, too.
    let inputs = folder.collect(&["p"]).select(&[1]);
    let named = inputs.named(&folder.path("p"));
    assert_eq!((named.len(), text(named[0].name())), (1, "a.jpg".into()));
}

#[test]
fn no_result_is_in_the_way_of_a_folder() {
    let folder = Folder::with(&["p/a.jpg", "p/a.mask.png/1.jpg"]);
    assert_eq!(folder.names(&["p"]), ["a.jpg", "a.mask.png/1"]);
}

/// A file called as another would be in the last resort.
#[test]
fn there_is_always_a_name_left() {
    let folder = Folder::with(&[
        "p/a.jpg",
        "p/a.mask.png",
        "p/a.jpg.mask.png",
        "p/p/a.mask.png",
        "p/p/a.jpg.mask.png",
        "p/p/a.jpg-0.mask.png",
    ]);
    let names = folder.names_in("p", &["p"]);
    let at = folder.collect(&["p"]);
    let at = at.paths().position(|p| p.ends_with("p/a.jpg")).unwrap();
    let name = &names[at];
    assert!(name.starts_with("p/a.jpg-"), "{name}");
    assert!(!folder.path("p").join(format!("{name}.mask.png")).exists());
}

#[test]
fn a_selection_keeps_names_and_order() {
    let folder = Folder::with(&["a/1.jpg", "a/1.png", "a/2.jpg"]);
    let inputs = folder.collect(&["a"]).select(&[2, 0]);
    assert_eq!((inputs.len(), inputs.is_empty()), (2, false));
    let named = inputs.named(Path::new("out"));
    let names: Vec<String> = named.iter().map(|input| text(input.name())).collect();
    assert_eq!(names, ["2", "1.jpg"]);
    assert_eq!(text(&named[1].output("mask.png")), "1.jpg.mask.png");
    let again = inputs.select(&[1]);
    assert!(again.paths().next().unwrap().ends_with("1.jpg"));
}

#[test]
fn patterns_are_expanded() {
    let folder = Folder::with(&["a/1.jpg", "a/2.png", "a/b/3.jpg", "a/b/4.txt", "a/[5].jpg"]);
    assert_eq!(folder.names(&["a/*.jpg"]), ["1", "[5]"]);
    assert_eq!(folder.names(&["a/**/*.{jpg,txt}"]), ["1", "[5]", "b/3"]);
    assert_eq!(folder.names(&["a/[5].jpg"]), ["[5]"]);
}

#[test]
fn what_is_not_there_is_said() {
    let folder = Folder::with(&["a/1.txt"]);
    let inputs = folder.collect(&["a", "b", "c/*.jpg", "a/[.jpg"]);
    assert!(inputs.is_empty());
    let problems = inputs.problems().iter().map(|problem| {
        let text = problem.to_string();
        text.split(" · ").next().unwrap().to_owned()
    });
    let problems: Vec<String> = problems.collect();
    assert_eq!(
        problems[..2],
        ["no picture in the folder", "no such file or folder"]
    );
    assert_eq!(problems[2], "the pattern fits no picture");
    assert!(problems[3].starts_with("no pattern"), "{}", problems[3]);
}
