//! `segmenta demo`: the first thing that a new user runs.

use segmenta_image::{LabelMap, Picture};

use crate::Room;

#[test]
fn the_demo_shows_a_network_that_has_learned() {
    let room = Room::new();
    let answer = room.line("demo --quick").succeeded();
    let miou = answer
        .stdout
        .split("mIoU ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let miou: f64 = miou.unwrap().parse().unwrap();
    assert!(miou > 60.0, "{}", answer.stdout);
    for class in ["sky", "vehicle", "person"] {
        assert!(answer.stdout.contains(class), "{class}");
    }
    // Three columns, eight rows.
    let sheet = Picture::open(room.path("segmenta-demo/comparison.png")).unwrap();
    assert_eq!(sheet.size(), (3 * 324 + 4, 8 * 244 + 4));
    assert_eq!(room.files("segmenta-demo").len(), 8 * 4 + 1);
    let mask = LabelMap::open(room.path("segmenta-demo/scene-1.mask.png")).unwrap();
    assert_eq!(mask.size(), (320, 240));
}
