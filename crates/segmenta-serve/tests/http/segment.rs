//! Pictures in, results out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use segmenta::{LabelMap, Model, ModelOptions, Picture};

use crate::client::{ask_with, form, get, post};
use crate::{Running, limits, photo};

fn expected(png: &[u8]) -> LabelMap {
    let weights = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../segmenta-cli/assets/demo.safetensors"
    );
    let options = ModelOptions::new().weights(weights).threads(1);
    let model = Model::open(&options, &mut |_| {}).unwrap();
    model
        .segment(&Picture::decode(png).unwrap())
        .unwrap()
        .labels()
        .clone()
}

#[test]
fn each_output_is_what_it_says() {
    let server = Running::new();
    let png = photo(61, 47);
    let labels = expected(&png);
    let ask = |output: &str| {
        let answer = post(
            server.address,
            &format!("/v1/segment?output={output}"),
            &png,
        );
        assert_eq!(answer.status, 200, "{output}: {}", answer.text());
        assert_eq!(answer.headers["x-segmenta-size"], "61x47");
        assert_eq!(answer.headers["x-segmenta-model"], "roads");
        answer
    };
    let mask = ask("mask");
    assert_eq!(mask.headers["content-type"], "image/png");
    assert_eq!(LabelMap::decode(&mask.body).unwrap(), labels);
    for drawing in ["overlay", "probability", "cutout"] {
        let picture = Picture::decode(&ask(drawing).body).unwrap();
        assert_eq!(picture.size(), (61, 47), "{drawing}");
    }
    let npy = ask("npy");
    assert_eq!(npy.headers["content-type"], "application/x-npy");
    assert_eq!(&npy.body[npy.body.len() - 61 * 47..], labels.ids());
    assert_eq!((npy.body.len() - 61 * 47) % 64, 0);
    assert!(
        String::from_utf8_lossy(&npy.body)
            .contains("'descr': '|u1', 'fortran_order': False, 'shape': (47, 61)")
    );
    let scores = ask("scores");
    assert!(String::from_utf8_lossy(&scores.body).contains("'<f4'"));

    let told = ask("json").json();
    assert_eq!(
        (told["width"].as_u64(), told["height"].as_u64()),
        (Some(61), Some(47))
    );
    let mut pixels = 0;
    let mut share = 0.0;
    for class in told["classes"].as_array().unwrap() {
        let id = class["id"].as_u64().unwrap() as u8;
        let own = labels.counts()[usize::from(id)];
        assert_eq!(class["pixels"].as_u64(), Some(own));
        assert_eq!(class["rle"]["size"], serde_json::json!([47, 61]));
        let score = class["score"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&score));
        // Holes take away what their ring goes around.
        let doubled: i64 = class["polygons"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|rings| rings.as_array().unwrap())
            .map(|ring| {
                let corners: Vec<[i64; 2]> = serde_json::from_value(ring.clone()).unwrap();
                let next = corners.iter().cycle().skip(1);
                corners
                    .iter()
                    .zip(next)
                    .map(|(a, b)| a[0] * b[1] - b[0] * a[1])
                    .sum::<i64>()
            })
            .sum();
        assert_eq!(doubled, 2 * own as i64);
        pixels += own;
        share += class["share"].as_f64().unwrap();
    }
    assert_eq!(pixels, 61 * 47);
    assert!((share - 1.0).abs() < 1e-9);
    let png = STANDARD
        .decode(told["mask"]["png"].as_str().unwrap())
        .unwrap();
    assert_eq!(LabelMap::decode(&png).unwrap(), labels);
    assert!(told.get("probability").is_none());
    let small = post(
        server.address,
        "/v1/segment?output=json&polygons=false&probability=true",
        &photo(61, 47),
    )
    .json();
    assert!(small["classes"][0].get("polygons").is_none());
    let sure = STANDARD
        .decode(small["probability"].as_str().unwrap())
        .unwrap();
    assert_eq!(Picture::decode(&sure).unwrap().size(), (61, 47));
}

#[test]
fn forms_and_ways_of_segmenting() {
    let server = Running::new();
    let png = photo(80, 70);
    let (kind, body) = form(
        &[("a b ü.png", &png)],
        &[("output", "json"), ("model", "again"), ("tta", "flip")],
    );
    let answer = ask_with(
        server.address,
        "POST",
        "/v1/segment",
        &[("content-type", &kind)],
        &body,
    );
    assert_eq!(answer.json()["model"], "again");
    let tiled = post(server.address, "/v1/segment?tile=48&overlap=8", &png);
    assert_eq!(LabelMap::decode(&tiled.body).unwrap().size(), (80, 70));
    let one = post(server.address, "/v1/segment", &photo(1, 1));
    assert_eq!(LabelMap::decode(&one.body).unwrap().size(), (1, 1));
}

#[test]
fn many_pictures_come_back_with_names_of_their_own() {
    let server = Running::new();
    let (one, two) = (photo(40, 30), photo(30, 40));
    let files: [(&str, &[u8]); 4] = [
        ("a.png", &one),
        ("a.jpg", &two),
        ("broken.png", &one[..60]),
        ("../../x.png", &two),
    ];
    let (kind, body) = form(&files, &[]);
    let answer = ask_with(
        server.address,
        "POST",
        "/v1/segment/batch",
        &[("content-type", &kind)],
        &body,
    );
    assert_eq!(
        answer.headers["content-type"],
        "application/zip",
        "{}",
        answer.text()
    );
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(answer.body)).unwrap();
    let names: Vec<String> = zip
        .file_names()
        .map(|name| name.unwrap().into_owned())
        .collect();
    assert_eq!(
        names,
        ["a.mask.png", "a-2.mask.png", "x.mask.png", "results.json"]
    );
    let listed: serde_json::Value =
        serde_json::from_reader(zip.by_name("results.json").unwrap()).unwrap();
    assert_eq!(listed["results"][1]["file"], "a-2.mask.png");
    assert_eq!(listed["results"][2]["status"], 422);
    assert!(
        listed["results"][2]["error"]
            .as_str()
            .unwrap()
            .contains("the picture in the request")
    );
    let mut bytes = Vec::new();
    std::io::copy(&mut zip.by_name("a-2.mask.png").unwrap(), &mut bytes).unwrap();
    assert_eq!(LabelMap::decode(&bytes).unwrap(), expected(&two));

    let headers = [("content-type", &*kind), ("accept", "multipart/mixed")];
    let parts = ask_with(server.address, "POST", "/v1/segment/batch", &headers, &body);
    assert!(parts.headers["content-type"].starts_with("multipart/mixed; boundary="));
    assert!(parts.text().contains("filename=\"a-2.mask.png\""));
}

#[test]
fn what_is_wrong_is_told_with_its_remedy() {
    let server = Running::with(|options| {
        options.limits = limits(|limits| {
            limits.body = 1 << 20;
            limits.pixels = 1_000_000;
            limits.pictures = 2;
        });
    });
    let png = photo(20, 20);
    let jpeg_head = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00";
    for (path, body, status, part) in [
        ("/v1/segment", &b""[..], 400, "no picture"),
        ("/v1/segment", b"hello", 422, "the picture in the request"),
        ("/v1/segment", &png[..40], 422, "the picture in the request"),
        ("/v1/segment", jpeg_head, 422, "the picture in the request"),
        ("/v1/segment?output=jpeg", &png, 400, "`output` is “jpeg”"),
        ("/v1/segment?colour=1", &png, 400, "`colour`"),
        (
            "/v1/segment?model=..%2Fetc%2Fpasswd",
            &png,
            404,
            "one of roads, again",
        ),
        ("/v1/segment?tile=1000000", &png, 400, "tiles"),
        ("/v1/segment?tile=30&overlap=20", &png, 400, "third"),
        ("/v1/nothing", &png, 404, "/openapi.json"),
        ("/v1/models", &png, 405, "POST is not answered"),
        ("/v1/segment/batch", b"", 400, "no picture"),
    ] {
        let answer = post(server.address, path, body);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        let told = answer.problem();
        assert!(told.contains(part), "{path}: {told}");
    }
    // More than a million pixels are known from the head: nothing is decoded.
    let bomb = Picture::filled(4000, 4000, [0; 3]).to_png();
    assert!(bomb.len() < 1 << 20);
    let answer = post(server.address, "/v1/segment", &bomb);
    assert_eq!(answer.status, 422);
    assert!(
        answer.problem().contains("more than 1000000 pixels"),
        "{}",
        answer.text()
    );
    let large = vec![0; (1 << 20) + 1];
    let answer = post(server.address, "/v1/segment", &large);
    assert_eq!(answer.status, 413);
    assert!(answer.problem().contains("--max-body"));
    // Not announced, and in a form.
    let (kind, body) = form(&[("a", &large)], &[]);
    let answer = ask_with(
        server.address,
        "POST",
        "/v1/segment",
        &[("content-type", &kind)],
        &body,
    );
    assert_eq!(answer.status, 413, "{}", answer.text());

    let many: Vec<(&str, &[u8])> = vec![("a", &png); 3];
    let (kind, body) = form(&many, &[]);
    let headers = [("content-type", &*kind)];
    let answer = ask_with(server.address, "POST", "/v1/segment/batch", &headers, &body);
    assert!(answer.problem().contains("more than 2 pictures"));
    let answer = ask_with(server.address, "POST", "/v1/segment", &headers, &body);
    assert!(answer.problem().contains("/v1/segment/batch"));
    for (kind, body) in [
        ("multipart/form-data", &b"--b--"[..]),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nabc",
        ),
        ("multipart/form-data; boundary=b", b"nothing of the kind"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\n\r\n\r\n--b--\r\n",
        ),
    ] {
        let answer = ask_with(
            server.address,
            "POST",
            "/v1/segment",
            &[("content-type", kind)],
            body,
        );
        assert_eq!(answer.status, 400, "{}", answer.text());
        answer.problem();
    }
    // It is as well as before.
    assert_eq!(post(server.address, "/v1/segment", &png).status, 200);
}

#[test]
fn what_there_is_is_described() {
    let server = Running::new();
    let models = get(server.address, "/v1/models").json();
    assert_eq!(models["models"].as_array().unwrap().len(), 2);
    let one = get(server.address, "/v1/models/roads").json();
    assert_eq!(one["ready"], true);
    assert_eq!(one["classes"][0]["id"], 0);
    assert_eq!(get(server.address, "/v1/models/none").status, 404);
    let described = get(server.address, "/openapi.json").json();
    assert_eq!(described["openapi"], "3.1.0");
    let segment = &described["paths"]["/v1/segment"]["post"];
    assert!(segment["parameters"].as_array().unwrap().len() >= 7);
    // Every address that is answered is in it, and answers something else than that there is nothing.
    for (path, methods) in described["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path = path.replace("{model}", "roads").replace("{version}", "1");
            if path.ends_with("/unload") || path.ends_with("/load") {
                continue;
            }
            let answer = ask_with(server.address, &method.to_uppercase(), &path, &[], &[]);
            assert!(
                ![404, 405, 500].contains(&answer.status),
                "{method} {path}: {}",
                answer.text()
            );
        }
    }
    post(server.address, "/v1/segment", &photo(20, 20));
    post(server.address, "/v1/segment", b"nothing");
    let metrics = get(server.address, "/metrics");
    assert!(metrics.headers["content-type"].starts_with("text/plain"));
    let text = metrics.text();
    for line in [
        "nv_inference_request_success{model=\"roads\",version=\"1\"} 1",
        "nv_inference_request_failure{model=\"roads\",version=\"1\"} 1",
        "nv_inference_count{model=\"roads\",version=\"1\"} 1",
        "segmenta_requests_total{route=\"/v1/segment\",status=\"200\"} 1",
        "segmenta_requests_total{route=\"/v1/segment\",status=\"422\"} 1",
        "segmenta_request_seconds_count{route=\"/v1/segment\"} 3",
        "segmenta_model_ready{model=\"again\"} 1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
    let status = get(server.address, "/v1/status").json();
    assert_eq!(status["models"][0]["pictures"], 1);
    for (path, kind, part) in [
        ("/", "text/html", "page.js"),
        ("/page.css", "text/css", "canvas"),
        ("/page.js", "text/javascript", "use strict"),
    ] {
        let answer = get(server.address, path);
        assert!(answer.headers["content-type"].starts_with(kind));
        assert!(answer.headers["content-security-policy"].contains("default-src 'none'"));
        assert!(answer.text().contains(part));
    }
}
