//! What clients of other servers speak.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use segmenta::{LabelMap, Picture};
use serde_json::{Value, json};

use crate::client::{ask_with, get, post};
use crate::{Running, photo};

#[test]
fn v2_takes_pictures_and_tensors() {
    let server = Running::new();
    assert_eq!(get(server.address, "/v2").json()["name"], "segmenta");
    for path in [
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/roads/ready",
        "/v2/models/roads.tensor/versions/1/ready",
    ] {
        assert_eq!(get(server.address, path).status, 200, "{path}");
    }
    let told = get(server.address, "/v2/models/roads").json();
    assert_eq!(
        told["inputs"][0],
        json!({"name": "image", "datatype": "BYTES", "shape": [1]})
    );
    let told = get(server.address, "/v2/models/roads.tensor/versions/1").json();
    assert_eq!(told["inputs"][0]["shape"], json!([-1, 3, -1, -1]));
    let config = get(server.address, "/v2/models/roads/config").json();
    assert_eq!(config["input"][0]["data_type"], "TYPE_STRING");

    let png = photo(31, 22);
    let wanted = post(server.address, "/v1/segment", &png);
    let labels = LabelMap::decode(&wanted.body).unwrap();
    let request = json!({"id": "x", "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [STANDARD.encode(&png)]}]});
    let answer = post(
        server.address,
        "/v2/models/roads/infer",
        request.to_string().as_bytes(),
    );
    let told = answer.json();
    assert_eq!(
        (&told["id"], &told["model_name"]),
        (&json!("x"), &json!("roads"))
    );
    assert_eq!(told["outputs"][0]["shape"], json!([22, 31]));
    let ids: Vec<u8> = serde_json::from_value(told["outputs"][0]["data"].clone()).unwrap();
    assert_eq!(ids, labels.ids());
    let shares: Vec<f64> = serde_json::from_value(told["outputs"][1]["data"].clone()).unwrap();
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-5);

    // The same in bytes.
    let mut bytes = (png.len() as u32).to_le_bytes().to_vec();
    bytes.extend(&png);
    let document = json!({
        "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": bytes.len()}}],
        "outputs": [{"name": "labels", "parameters": {"binary_data": true}}],
    })
    .to_string();
    let length = document.len().to_string();
    let headers = [("inference-header-content-length", &*length)];
    let body = [document.as_bytes(), &bytes].concat();
    let answer = ask_with(
        server.address,
        "POST",
        "/v2/models/roads/versions/1/infer",
        &headers,
        &body,
    );
    let head: usize = answer.headers["inference-header-content-length"]
        .parse()
        .unwrap();
    assert_eq!(&answer.body[head..], labels.ids());
    let told: Value = serde_json::from_slice(&answer.body[..head]).unwrap();
    assert_eq!(told["outputs"].as_array().unwrap().len(), 1);

    let tensor = json!({"inputs": [{"name": "input", "shape": [2, 3, 32, 32], "datatype": "FP32", "data": vec![0.5; 2 * 3 * 32 * 32]}]});
    let told = post(
        server.address,
        "/v2/models/roads.tensor/infer",
        tensor.to_string().as_bytes(),
    )
    .json();
    assert_eq!(told["outputs"][0]["datatype"], "FP32");
    let shape: Vec<usize> = serde_json::from_value(told["outputs"][0]["shape"].clone()).unwrap();
    assert_eq!((shape[0], shape[2], shape[3]), (2, 32, 32));
    assert_eq!(
        told["outputs"][0]["data"].as_array().unwrap().len(),
        shape.iter().product::<usize>()
    );

    let index = post(server.address, "/v2/repository/index", b"").json();
    assert_eq!(index.as_array().unwrap().len(), 4);
    assert_eq!(index[1]["name"], "roads.tensor");
    let statistics = get(server.address, "/v2/models/roads/stats").json();
    assert_eq!(
        statistics["model_stats"][0]["inference_stats"]["success"]["count"],
        4
    );
}

#[test]
fn v2_refuses_in_its_own_words() {
    let server = Running::new();
    let picture = |name: &str, datatype: &str| json!({"inputs": [{"name": name, "shape": [1], "datatype": datatype, "data": ["AAAA"]}]});
    let tensor = |shape: Value, data: Value| json!({"inputs": [{"name": "input", "shape": shape, "datatype": "FP32", "data": data}]});
    for (path, body, status, part) in [
        (
            "/v2/models/none/infer",
            picture("image", "BYTES"),
            404,
            "one of roads, again",
        ),
        (
            "/v2/models/roads/versions/2/infer",
            picture("image", "BYTES"),
            404,
            "version",
        ),
        (
            "/v2/models/roads/infer",
            picture("input", "BYTES"),
            400,
            "`image`",
        ),
        (
            "/v2/models/roads/infer",
            picture("image", "FP32"),
            400,
            "BYTES",
        ),
        (
            "/v2/models/roads/infer",
            picture("image", "BYTES"),
            422,
            "picture",
        ),
        (
            "/v2/models/roads/infer",
            json!({"inputs": []}),
            400,
            "takes one",
        ),
        (
            "/v2/models/roads.tensor/infer",
            tensor(json!([1, 3, 32]), json!([0])),
            400,
            "NCHW",
        ),
        (
            "/v2/models/roads.tensor/infer",
            tensor(json!([1, 4, 2, 2]), json!(vec![0; 16])),
            400,
            "1×4×2×2",
        ),
        (
            "/v2/models/roads.tensor/infer",
            tensor(json!([1, 3, 100_000, 100_000]), json!([0])),
            400,
            "says",
        ),
        (
            "/v2/repository/models/roads/load",
            json!({"parameters": {"config": "{}"}}),
            400,
            "named when the server began",
        ),
        (
            "/v2/repository/models/%2Fetc%2Fpasswd/load",
            json!({}),
            404,
            "one of",
        ),
    ] {
        let answer = post(server.address, path, body.to_string().as_bytes());
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(part), "{path}: {error}");
    }
    let headers = [("inference-header-content-length", "999999")];
    let answer = ask_with(
        server.address,
        "POST",
        "/v2/models/roads/infer",
        &headers,
        b"{}",
    );
    assert!(
        answer.json()["error"]
            .as_str()
            .unwrap()
            .contains("Inference-Header-Content-Length")
    );
}

#[test]
fn hugging_face_s_task_gives_a_mask_a_class() {
    let server = Running::new();
    let png = photo(33, 21);
    let labels = LabelMap::decode(&post(server.address, "/v1/segment", &png).body).unwrap();
    let as_json = json!({"inputs": STANDARD.encode(&png)}).to_string();
    let kind = [("content-type", "application/json")];
    let plain = post(server.address, "/", &png).json();
    assert_eq!(
        ask_with(
            server.address,
            "POST",
            "/models/again",
            &kind,
            as_json.as_bytes()
        )
        .json(),
        plain
    );
    let mut pixels = 0;
    for class in plain.as_array().unwrap() {
        assert!((0.0..=1.0).contains(&class["score"].as_f64().unwrap()));
        let mask = STANDARD.decode(class["mask"].as_str().unwrap()).unwrap();
        let mask = Picture::decode(&mask).unwrap();
        assert_eq!(mask.size(), (33, 21));
        pixels += mask
            .pixels()
            .iter()
            .step_by(3)
            .filter(|&&value| value == 255)
            .count();
    }
    assert_eq!(pixels, labels.ids().len());
    for (body, part) in [
        (
            json!({"inputs": "http://169.254.169.254/latest"}),
            "no address is fetched",
        ),
        (json!({"inputs": "~~~"}), "base64"),
        (json!({"picture": ""}), "inputs"),
        (
            json!({"inputs": "AAAA", "parameters": {"subtask": "panoptic"}}),
            "panoptic",
        ),
    ] {
        let answer = ask_with(
            server.address,
            "POST",
            "/",
            &kind,
            body.to_string().as_bytes(),
        );
        assert_eq!(answer.status, 400);
        assert!(answer.problem().contains(part), "{}", answer.text());
    }
}

#[test]
fn label_studio_gets_brush_labels() {
    let server = Running::new();
    assert_eq!(get(server.address, "/health").json()["status"], "UP");
    assert_eq!(
        post(server.address, "/setup", b"{}").json()["model_version"],
        "roads"
    );
    let png = photo(33, 21);
    let labels = LabelMap::decode(&post(server.address, "/v1/segment", &png).body).unwrap();
    let task = |image: String| {
        json!({
            "tasks": [{"id": 5, "data": {"photo": image}}],
            "label_config": "<View><Image name=\"img\" value=\"$photo\"/><BrushLabels name=\"brush\" toName=\"img\"/></View>",
        })
    };
    let uri = format!("data:image/png;base64,{}", STANDARD.encode(&png));
    let told = post(server.address, "/predict", task(uri).to_string().as_bytes()).json();
    let result = told["results"][0]["result"].as_array().unwrap();
    let painted = labels
        .counts()
        .iter()
        .skip(1)
        .filter(|&&count| count > 0)
        .count();
    assert!(result.len() >= painted, "{told}");
    assert_eq!(
        (&result[0]["from_name"], &result[0]["to_name"]),
        (&json!("brush"), &json!("img"))
    );
    assert_eq!(result[0]["value"]["format"], "rle");
    assert_eq!(result[0]["original_width"], 33);
    for (image, part) in [
        ("http://localhost/a.png", "no address is fetched"),
        ("/data/upload/1/a.png", "no address is fetched"),
        ("data:image/png;base64,AAAA", "picture"),
    ] {
        let answer = post(
            server.address,
            "/predict",
            task(image.into()).to_string().as_bytes(),
        );
        assert!(answer.status >= 400);
        assert!(answer.problem().contains(part), "{}", answer.text());
    }
}
