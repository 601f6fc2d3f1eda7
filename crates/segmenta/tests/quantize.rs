//! A model in 8 bits from beginning to end: calibrated, kept within a bound, saved, read back, the same.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use segmenta::{
    CalibrationData, Dataset, Error, Inputs, LabelMap, LowEngine, Model, ModelOptions, Palette,
    Picture, Precision, QuantizeError, QuantizeEvent, QuantizeOptions, Quantized, RangeBy,
};
use segmenta_graph::Parameter;
use segmenta_weights::{ModelCard, StateDict, TensorView, save};

fn settings() -> [(&'static str, &'static str); 2] {
    [("encoder_depth", "3"), ("decoder_channels", "[32, 16, 8]")]
}

fn options(model: &Path) -> ModelOptions {
    let options = ModelOptions::new()
        .architecture("unet")
        .encoder("mobilenet_v2");
    let settings = settings().into_iter();
    settings.fold(options.weights(model), |options, (name, value)| {
        options.set(name, value)
    })
}

/// A small U-Net with the parameters that it has before training, as a state dict.
fn write_unet(folder: &Path) -> PathBuf {
    write_unet_of(folder, |parameter| parameter.initial(5))
}

fn write_unet_of(folder: &Path, value: impl Fn(&Parameter) -> Vec<f32>) -> PathBuf {
    let [depth, channels] = settings();
    let graph = Model::new("unet")
        .encoder("mobilenet_v2")
        .classes(3)
        .set(depth.0, depth.1)
        .set(channels.0, channels.1)
        .graph()
        .unwrap();
    let values: Vec<Vec<f32>> = graph.parameters().iter().map(value).collect();
    let entries = graph.parameters().iter().zip(&values);
    let views: Vec<TensorView<'_>> = entries
        .map(|(p, values)| (&*p.name, &*p.shape, &**values))
        .collect();
    let path = folder.join("unet.safetensors");
    save(&path, &views, &[].into()).unwrap();
    path
}

fn picture(n: usize) -> Picture {
    let (width, height) = (64, 48);
    let pixel = |i: usize| {
        let (x, y) = (i % width, i / width);
        [x * 4 % 256, (y * 5 + n * 31) % 256, (x * y + n * 17) % 256].map(|v| v as u8)
    };
    let pixels = (0..width * height).flat_map(pixel).collect();
    Picture::from_rgb(width, height, pixels).unwrap()
}

/// Pictures, with masks that are what the model itself says, so that there is a score to lose.
fn write_data(folder: &Path, model: &Path) -> PathBuf {
    let root = folder.join("data");
    let [images, masks] = ["images", "masks"].map(|part| root.join(part));
    fs::create_dir_all(&images).unwrap();
    fs::create_dir_all(&masks).unwrap();
    let model = Model::open(&options(model), &mut |_| {}).unwrap();
    for n in 0..4 {
        let picture = picture(n);
        picture.save(images.join(format!("{n}.png"))).unwrap();
        let labels: LabelMap = model.segment(&picture).unwrap().labels().clone();
        let file = masks.join(format!("{n}.png"));
        labels.save(file, &Palette::voc()).unwrap();
    }
    root
}

fn make(
    model: &Path,
    root: &Path,
    how: &QuantizeOptions,
) -> Result<(Quantized, Vec<String>), QuantizeError> {
    let data = Dataset::open(root)?;
    let data = CalibrationData::Masks {
        calibrate: &data,
        measure: &data,
    };
    let mut told = Vec::new();
    let made = Quantized::make(&options(model), data, how, &mut |event| {
        if let QuantizeEvent::Tried(trial) = event {
            told.push(trial.what.clone());
        }
        ControlFlow::Continue(())
    })?;
    Ok((made, told))
}

#[test]
fn what_is_saved_says_what_was_measured() {
    let folder = tempfile::tempdir().unwrap();
    let model = write_unet(folder.path());
    let root = write_data(folder.path(), &model);
    let how = QuantizeOptions::new().max_drop(100.0).pictures(3);
    let (made, told) = make(&model, &root, &how).unwrap();
    assert_eq!(told, ["extremes", "percentile 99.99", "least error"]);
    let report = made.report();
    assert_eq!(report.score, "mIoU");
    assert_eq!(report.pictures, 3);
    assert!((report.f32 - 1.0).abs() < 1e-9, "masks are its own labels");
    assert!(report.int8 > 0.5 && report.int8 < 1.0, "{}", report.int8);
    assert!((report.drop - 100.0 * (1.0 - report.int8)).abs() < 1e-9);
    assert!(report.equalised > 10, "{}", report.equalised);
    assert!(report.layers.len() > 20 && report.layers.iter().all(|l| l.computed == "int8"));
    for layer in &report.layers {
        assert!(layer.range[0] >= layer.seen[0] && layer.range[1] <= layer.seen[1]);
        assert!(layer.variance > 0.0, "{}", layer.name);
        assert!(
            layer.signal_to_noise.is_some_and(|db| db > 0.0),
            "{}",
            layer.name
        );
    }

    let file = folder.path().join("unet.int8.safetensors");
    made.save(&file).unwrap();
    let [small, large] = [&file, &model].map(|file| fs::metadata(file).unwrap().len());
    assert!(small * 3 < large, "{small} of {large} bytes");
    let dict = StateDict::open(&file).unwrap();
    assert!(dict.names().all(|name| !name.ends_with("_scale")));
    let card = ModelCard::from_metadata(dict.metadata()).unwrap().unwrap();
    assert_eq!(card.format_version, 2);

    // Without a word it is computed in int8; otherwise as the user says.
    let open = |options: ModelOptions| Model::open(&options.weights(&file), &mut |_| {}).unwrap();
    let read = open(ModelOptions::new());
    assert_eq!(read.engine().precision(), Precision::Int8);
    let same = made.model().unwrap();
    for n in 0..4 {
        let [a, b] = [&read, &same].map(|m| m.segment(&picture(n)).unwrap().labels().clone());
        assert_eq!(a, b, "picture {n}");
    }
    let plain = open(ModelOptions::new().precision(Precision::F32));
    assert_eq!(plain.engine().precision(), Precision::F32);
    assert_eq!(plain.engine().int8_layers(), []);
}

#[test]
fn layers_stay_out_until_the_bound_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let model = write_unet(folder.path());
    let root = write_data(folder.path(), &model);
    let by = RangeBy::LeastError;
    let loose = QuantizeOptions::new().max_drop(100.0).range(by);
    let lost = make(&model, &root, &loose).unwrap().0.report().drop;
    let bound = lost / 2.0;
    let (made, told) = make(&model, &root, &loose.clone().max_drop(bound)).unwrap();
    let report = made.report();
    assert!(report.drop <= bound, "{} of {bound}", report.drop);
    let full = report
        .layers
        .iter()
        .filter(|l| l.computed == "full")
        .count();
    assert!(full > 0 && told.len() > 1, "{full}: {told:?}");
    let file = folder.path().join("kept.safetensors");
    made.save(&file).unwrap();
    let dict = StateDict::open(&file).unwrap();
    let card = ModelCard::from_metadata(dict.metadata()).unwrap().unwrap();
    assert_eq!(card.int8.unwrap().full.len(), full);
    let read = Model::open(&ModelOptions::new().weights(&file), &mut |_| {}).unwrap();
    let [a, b] =
        [&read, &made.model().unwrap()].map(|m| m.segment(&picture(1)).unwrap().labels().clone());
    assert_eq!(a, b);

    // Nothing may be lost: f32 loses nothing, however many layers that takes. Where bf16 is so fast that layers fall
    // back to it, a rounding may be left, which is told.
    let (made, told) = make(&model, &root, &loose.max_drop(0.0)).unwrap();
    let falls_to_bf16 = Precision::Bf16.gain(LowEngine::fastest()) >= 8.0;
    assert!(made.report().drop <= 0.0 || falls_to_bf16, "{told:?}");
    assert!(made.report().drop <= bound, "{told:?}");
}

#[test]
fn pictures_alone_are_measured_by_what_f32_says() {
    let folder = tempfile::tempdir().unwrap();
    let model = write_unet(folder.path());
    let root = write_data(folder.path(), &model);
    let inputs = Inputs::collect([root.join("images")]);
    let how = QuantizeOptions::new().max_drop(100.0).equalise(false);
    let options = options(&model);
    let data = CalibrationData::Pictures(&inputs);
    let made = Quantized::make(&options, data, &how, &mut |_| ControlFlow::Continue(())).unwrap();
    let report = made.report();
    assert_eq!(report.score, "mIoU with the labels of f32");
    assert!(report.int8 < 1.0 && report.agreement > 0.5);
    assert_eq!((report.equalised, report.f32), (0, 1.0));
}

#[test]
fn what_cannot_be_done_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let model = write_unet(folder.path());
    let root = write_data(folder.path(), &model);
    let how = QuantizeOptions::new()
        .max_drop(100.0)
        .pictures(1)
        .range(RangeBy::Extremes);
    let options = options(&model);
    let none = Inputs::collect::<&Path>([]);
    let go = &mut |_: QuantizeEvent<'_>| ControlFlow::Continue(());
    let error = Quantized::make(&options, CalibrationData::Pictures(&none), &how, go).unwrap_err();
    assert!(matches!(error, QuantizeError::Empty(_)), "{error}");

    let int8 = options.clone().precision(Precision::Int8);
    let error = Model::open(&int8, &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::Model(_)), "{error}");
    assert!(
        error.to_string().contains("what 8-bit numbers stand for"),
        "{error}"
    );

    let inputs = Inputs::collect([root.join("images")]);
    let data = CalibrationData::Pictures(&inputs);
    let stop = &mut |_: QuantizeEvent<'_>| ControlFlow::Break(());
    let error = Quantized::make(&options, data, &how, stop).unwrap_err();
    assert!(matches!(error, QuantizeError::Stopped), "{error}");

    let file = folder.path().join("once.safetensors");
    let made = Quantized::make(&options, data, &how, go).unwrap();
    made.save(&file).unwrap();
    let again = ModelOptions::new().weights(&file);
    let error = Quantized::make(&again, data, &how, go).unwrap_err();
    assert!(matches!(error, QuantizeError::Already(_)), "{error}");
    assert!(
        made.save(Path::new("no/such/folder/x.safetensors"))
            .is_err()
    );
}

#[test]
fn weights_that_are_no_numbers_are_named_with_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let model = write_unet_of(folder.path(), |parameter| {
        let mut values = parameter.initial(5);
        if parameter.name == "segmentation_head.0.bias" {
            values[1] = f32::NAN;
        }
        values
    });
    let picture_file = folder.path().join("a.png");
    picture(0).save(&picture_file).unwrap();
    let inputs = Inputs::collect([picture_file]);
    let go = &mut |_: QuantizeEvent<'_>| ControlFlow::Continue(());
    let data = CalibrationData::Pictures(&inputs);
    let made = Quantized::make(&options(&model), data, &QuantizeOptions::new(), go);
    let text = made.unwrap_err().to_string();
    let parts: Vec<&str> = text.split(" · ").collect();
    assert!(
        parts[0].contains("1 of 3 values of `segmentation_head.0.bias`"),
        "{text}"
    );
    assert!(parts[1].ends_with("unet.safetensors"), "{text}");
}

/// A real network of VOC loses no more than half a point, with most layers in 8 bits.
#[test]
fn a_real_network_keeps_its_score() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let model = shared.join("weights/deeplabv3_mobilenet_v2_voc.safetensors");
    let (Ok(data), true) = (Dataset::open(shared.join("data/voc")), model.is_file()) else {
        return skipped(&shared);
    };
    let options = ModelOptions::new()
        .architecture("deeplabv3_mobilenet_v2")
        .weights(&model);
    let data = CalibrationData::Masks {
        calibrate: &data,
        measure: &data,
    };
    let how = QuantizeOptions::new();
    let made = Quantized::make(&options, data, &how, &mut |_| ControlFlow::Continue(())).unwrap();
    let report = made.report();
    assert!(report.drop <= 0.5, "{} points", report.drop);
    assert!(report.agreement > 0.985, "{}", report.agreement);
    let full = report
        .layers
        .iter()
        .filter(|l| l.computed == "full")
        .count();
    assert!(full < report.layers.len() / 4, "{full} layers kept out");
}

#[expect(clippy::print_stdout, reason = "what was left out is said")]
fn skipped(shared: &Path) {
    println!("skipped: there is no {}", shared.display());
}
