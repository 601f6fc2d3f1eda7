use super::*;

fn card() -> ModelCard {
    ModelCard {
        format_version: CARD_VERSION,
        architecture: "unet".into(),
        encoder: Some("resnet34".into()),
        options: BTreeMap::from([("decoder".into(), "scse".into())]),
        classes: vec!["background".into(), "cat".into()],
        palette: Some(vec![[0, 0, 0], [128, 0, 0]]),
        in_channels: 3,
        preprocessing: Preprocessing {
            resize: Resize::LongSide { side: 513 },
            filter: Filter::default(),
            center_crop: Some((512, 480)),
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
            pad: Some(Pad {
                width: 513,
                height: 513,
                value: vec![127.5; 3],
            }),
            channel_order: ChannelOrder::default(),
            windows: false,
            middle: Middle::default(),
        },
        answer: None,
        int8: None,
        training: Some(serde_json::json!({"epochs": 3, "mIoU": 0.5})),
        source: Some("my pictures".into()),
        licence: None,
    }
}

fn read(text: &str) -> Result<Option<ModelCard>, String> {
    let metadata = BTreeMap::from([(CARD_KEY.to_string(), text.to_string())]);
    ModelCard::from_metadata(&metadata).map_err(|error| error.to_string())
}

#[test]
fn comes_back_as_it_went() {
    for resize in [
        Resize::None,
        Resize::ShortSide { side: 520 },
        Resize::Exact {
            width: 2,
            height: 3,
        },
    ] {
        let mut card = card();
        card.preprocessing.resize = resize;
        let metadata = card.to_metadata().unwrap();
        assert_eq!(ModelCard::from_metadata(&metadata).unwrap(), Some(card));
    }
    assert_eq!(ModelCard::from_metadata(&BTreeMap::new()).unwrap(), None);
}

#[test]
fn the_json_is_as_documented() {
    let json = serde_json::to_value(card()).unwrap();
    assert_eq!(json["format-version"], 1);
    assert_eq!(
        json["preprocessing"]["resize"],
        serde_json::json!({"long-side": {"side": 513}})
    );
    let filter = serde_json::json!({"bilinear": {"antialias": true}});
    assert_eq!(json["preprocessing"]["filter"], filter);
}

#[test]
fn an_answer_is_there_only_where_it_is_given() {
    let mut card = card();
    let json = serde_json::to_value(&card).unwrap();
    assert!(json.get("answer").is_none());
    card.answer = Some(CardAnswer {
        values: Some(CardValues::LogProbabilities),
        threshold: None,
    });
    let json = serde_json::to_value(&card).unwrap();
    assert_eq!(
        json["answer"],
        serde_json::json!({"values": "log-probabilities"})
    );
    assert_eq!(read(&json.to_string()).unwrap(), Some(card));
}

#[test]
fn sizes_that_no_picture_has_are_named() {
    let exact = |width, height| Resize::Exact { width, height };
    for (field, change) in [
        (
            "resize",
            (|p| p.resize = Resize::ShortSide { side: 0 }) as fn(&mut Preprocessing),
        ),
        ("resize", |p| {
            p.resize = Resize::LongSide {
                side: 1_000_000_000,
            }
        }),
        ("center-crop", |p| p.center_crop = Some((64, usize::MAX))),
        ("pad", |p| p.pad.as_mut().unwrap().height = 1 << 17),
    ] {
        let mut card = card();
        change(&mut card.preprocessing);
        let error = read(&serde_json::to_string(&card).unwrap()).unwrap_err();
        assert!(error.contains(&format!("{field} has a side of")), "{error}");
        assert!(error.contains("not 1 to 65536"), "{error}");
        assert!(card.to_metadata().is_err(), "nor is such a card written");
    }
    let mut card = card();
    card.preprocessing.resize = exact(65536, 1);
    read(&serde_json::to_string(&card).unwrap()).unwrap();
}

#[test]
fn a_newer_version_is_named_before_its_unknown_fields() {
    let error = read(r#"{"format-version": 7, "holograms": true}"#).unwrap_err();
    assert!(
        error.contains("version 7") && error.contains("newer Segmenta"),
        "{error}"
    );
}

#[test]
fn unknown_fields_are_named_at_every_depth() {
    let mut json = serde_json::to_value(card()).unwrap();
    json["preprocessing"]["resize"] = serde_json::json!({"long-side": {"side": 1, "edge": 2}});
    assert!(read(&json.to_string()).unwrap_err().contains("`edge`"));
    let mut json = serde_json::to_value(card()).unwrap();
    json["colour"] = true.into();
    assert!(read(&json.to_string()).unwrap_err().contains("`colour`"));
    assert!(read("{").unwrap_err().contains(CARD_KEY));
}

#[test]
fn contradictions_are_refused() {
    let contradict = |change: fn(&mut ModelCard)| {
        let mut card = card();
        change(&mut card);
        let text = serde_json::to_string(&card).unwrap();
        assert!(card.to_metadata().is_err());
        read(&text).unwrap_err()
    };
    for (said, change) in [
        (
            "classes has 0 names",
            (|card| card.classes.clear()) as fn(&mut ModelCard),
        ),
        ("classes has 257", |card| {
            card.classes = vec!["a".into(); 257];
        }),
        ("name of class 1 is empty", |card| {
            card.classes[1] = " ".into();
        }),
        ("in-channels is 0", |card| card.in_channels = 0),
        ("in-channels is 1000000000", |card| {
            card.in_channels = 1_000_000_000;
        }),
        ("std has -0.5", |card| card.preprocessing.std[2] = -0.5),
        ("resize has a side of 0", |card| {
            card.preprocessing.resize = Resize::LongSide { side: 0 }
        }),
        ("resize has a side of 1000000", |card| {
            card.preprocessing.resize = Resize::Exact {
                width: 9,
                height: 1_000_000,
            };
        }),
        ("center-crop has a side of 0", |card| {
            card.preprocessing.center_crop = Some((5, 0));
        }),
        ("pad has a side of 0", |card| {
            card.preprocessing.pad.as_mut().unwrap().width = 0;
        }),
        ("pad value has 256", |card| {
            card.preprocessing.pad.as_mut().unwrap().value[0] = 256.0;
        }),
    ] {
        let text = contradict(change);
        assert!(
            text.contains(said) && !text.contains('\n'),
            "{said}: {text}"
        );
    }
    // JSON has no NaN; a card that is saved may.
    let mut nan = card();
    nan.preprocessing.mean[0] = f32::NAN;
    assert!(
        nan.to_metadata()
            .unwrap_err()
            .to_string()
            .contains("mean has NaN")
    );
    assert!(
        read(
            &serde_json::to_string(&card())
                .unwrap()
                .replace("0.485", "1e99")
        )
        .is_err()
    );
    assert!(contradict(|card| card.in_channels = 4).contains("3 numbers of mean"));
    assert!(contradict(|card| card.preprocessing.std[1] = 0.0).contains("not positive"));
    assert!(contradict(|card| card.classes.push("dog".into())).contains("2 colours for 3"));
    let threshold = |threshold| {
        let answer = CardAnswer {
            values: None,
            threshold: Some(threshold),
        };
        Some(answer)
    };
    let with = |value: f32, classes: usize| {
        let mut card = card();
        card.palette = None;
        card.answer = threshold(value);
        card.classes.truncate(classes);
        card.to_metadata()
    };
    assert!(with(0.3, 1).is_ok());
    assert!(
        with(1.0, 1)
            .unwrap_err()
            .to_string()
            .contains("between 0 and 1")
    );
    assert!(
        with(0.3, 2)
            .unwrap_err()
            .to_string()
            .contains("for 2 classes")
    );
    assert!(
        contradict(|card| card.preprocessing.pad.as_mut().unwrap().value.clear())
            .contains("0 numbers of pad")
    );
}
