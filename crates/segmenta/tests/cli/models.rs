//! `segmenta models`: what there is.

use serde_json::Value;

use crate::{Room, snapshot};

#[test]
fn the_list_and_a_network() {
    let room = Room::new();
    snapshot("models", &room.line("models").succeeded());
    let show = "models show deeplabv3_mobilenet_v2 --width 0.25 --classes 5 --input 2x3x64x96";
    let answer = room.line(show).succeeded();
    let arena = answer.stdout.find(" MiB if all were kept; ").unwrap();
    assert!(answer.stdout[arena..].contains(" MiB in the arena"));
    let first: Vec<&str> = answer.stdout.lines().take(8).collect();
    insta::with_settings!({prepend_module_to_snapshot => false, snapshot_path => "../snapshots", omit_expression => true}, {
        insta::assert_snapshot!("models-show", first.join("\n"));
    });
}

#[test]
fn json_says_the_same() {
    let room = Room::new();
    // What is in the cache counts as downloaded.
    room.write(
        "home/lraspp_mobilenet_v3_large-d234d4ea.pth",
        "not looked into",
    );
    let json = |line: &str| -> Value {
        serde_json::from_str(&room.line(line).succeeded().stdout).unwrap()
    };
    let list = json("models --json");
    let find = |name: &str| {
        list.as_array()
            .unwrap()
            .iter()
            .find(|m| m["name"] == name)
            .unwrap()
    };
    assert_eq!(find("fcn_resnet50")["weights"]["miou"], 60.5);
    assert_eq!(find("fcn_resnet50")["weights"]["path"], Value::Null);
    assert!(find("lraspp_mobilenet_v3_large")["weights"]["path"].is_string());
    assert_eq!(find("deeplabv3_mobilenet_v2")["weights"], Value::Null);

    let show = json("models show lraspp_mobilenet_v3_large --json --input 1x3x64x64");
    assert_eq!(show["parameters"], 3_221_538);
    assert_eq!(show["results"][0]["size"], "H×W");
    let sum: u64 = show["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["multiply_adds"].as_u64().unwrap())
        .sum();
    assert_eq!(show["multiply_adds"], sum);
}
