//! `segmenta models`: what there is.

use serde_json::Value;

use segmenta_zoo::{Options, find, find_encoder};

use crate::{Room, save_random, snapshot};

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
fn encoders_and_a_network_on_one() {
    let room = Room::new();
    snapshot("models-encoders", &room.line("models encoders").succeeded());
    let show = "models show unet --encoder mobilenet_v2 --classes 1 --input 1x3x75x101 --json";
    let show: Value = serde_json::from_str(&room.line(show).succeeded().stdout).unwrap();
    assert_eq!(show["encoder"], "mobilenet_v2");
    assert_eq!(show["results"][0]["size"], "H×W");
    let last = show["layers"].as_array().unwrap().last().unwrap();
    assert_eq!(last["shape"], serde_json::json!([1, 1, 75, 101]));
    let set =
        "models show fpn --encoder mit_b0 --set decoder_merge_policy=cat --input 1x3x64x96 --json";
    let set: Value = serde_json::from_str(&room.line(set).succeeded().stdout).unwrap();
    assert_eq!(set["settings"]["decoder_merge_policy"], "cat");
    let merge = set["layers"].as_array().unwrap().iter();
    let merge: Vec<&Value> = merge.filter(|l| l["name"] == "decoder.merge").collect();
    assert_eq!(
        (merge.len(), &merge[0]["kind"]),
        (1, &Value::from("concat"))
    );
    for (case, wrong) in [
        ("setting-unknown", "fpn --set decoder_merge=cat"),
        ("setting-wrong", "fpn --set decoder_merge_policy=mean"),
        (
            "setting-of-another",
            "linknet --set decoder_merge_policy=cat",
        ),
        ("setting-not-one", "fpn --set decoder_merge_policy"),
        (
            "encoder-that-cannot-dilate",
            "deeplabv3 --encoder densenet121",
        ),
    ] {
        snapshot(case, &room.line(&format!("models show {wrong}")));
    }
    let bench = "bench forward --model unet --encoder resnet18 --classes 1 --input 1x3x33x50 --runs 1 --json";
    let bench: Value = serde_json::from_str(&room.line(bench).succeeded().stdout).unwrap();
    assert_eq!(bench["encoder"], "resnet18");
}

#[test]
fn a_state_dict_of_smp_says_its_encoder() {
    let room = Room::new();
    room.picture("a.png", 50, 33);
    let options = Options {
        encoder: Some(find_encoder("efficientnet-b0").unwrap()),
        ..Options::new(3)
    };
    let graph = find("unet").unwrap().build(&options).unwrap();
    save_random(&room.path("smp.safetensors"), &graph, &[].into());
    let predict = "predict a.png --model unet --weights smp.safetensors --what mask";
    room.line(predict).succeeded();
    assert!(room.exists("segmentation/a.mask.png"));
    let other = room.line(&format!("{predict} --encoder resnet18"));
    assert_eq!(other.code, Some(1));
    assert!(
        other
            .stderr
            .contains("holds a `unet` on `efficientnet-b0`, not a `unet` on `resnet18`"),
        "{}",
        other.stderr
    );
    let misspelt = room.line(&format!("{predict} --encoder resnet19"));
    snapshot("encoder-misspelt", &misspelt);
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
