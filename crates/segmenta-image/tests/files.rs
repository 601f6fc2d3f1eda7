//! Files of every sort against what Pillow reads from them (`fixtures/make.py`), and files that are none.

use std::path::PathBuf;

use proptest::prelude::*;
use safetensors::SafeTensors;
use segmenta_image::{
    ErrorKind, LabelMap, Palette, Picture, cutout, looks_like_picture, save_probability,
};

const FORMATS: [&str; 6] = [
    "rgb.jpg",
    "palette-2-bit.png",
    "lossy.webp",
    "palette.bmp",
    "frames.gif",
    "rgba.tiff",
];

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(name)
}

/// How far from Pillow's values a format may be: lossy WebP, and inks at half the size, are enlarged in a way of their own.
fn tolerance(name: &str) -> u8 {
    match name.rsplit_once('.') {
        Some(("lossy" | "inks-subsampled", _)) => 2,
        _ => 0,
    }
}

#[test]
fn every_format_is_read_as_pillow_reads_it() {
    let bytes = std::fs::read(fixture("expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    for (name, wanted) in expected.tensors() {
        if name == "ids" {
            continue;
        }
        let picture = Picture::open(fixture(&name)).unwrap();
        let shape = [picture.height(), picture.width(), 3];
        assert_eq!(shape, wanted.shape(), "{name}");
        let pairs = picture.pixels().iter().zip(wanted.data());
        let worst = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= tolerance(&name), "{name}: {worst} of 255 away");
    }
}

#[test]
fn cut_files_are_said_to_be_cut() {
    for entry in std::fs::read_dir(fixture("")).unwrap() {
        let path = entry.unwrap().path();
        if !looks_like_picture(&path) {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, bytes.len() / 3, bytes.len() / 2] {
            let error = Picture::decode(&bytes[..length]).unwrap_err().at(&path);
            assert_eq!(
                error.kind(),
                ErrorKind::Truncated,
                "{length} bytes: {error}"
            );
            assert!(error.to_string().contains("download it again"), "{error}");
        }
    }
}

#[test]
fn a_jpeg_without_its_end_is_refused_though_its_thumbnail_has_one() {
    let bytes = std::fs::read(fixture("exif1.jpg")).unwrap();
    let mut cut = bytes[..2].to_vec();
    cut.extend_from_slice(b"\xFF\xE1\x00\x04\xFF\xD9");
    cut.extend_from_slice(&bytes[2..bytes.len() - 20]);
    assert_eq!(
        Picture::decode(&cut).unwrap_err().kind(),
        ErrorKind::Truncated
    );
}

#[test]
fn errors_name_the_file_and_the_remedy() {
    let error = Picture::open("no/such.jpg").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(
        error.to_string().ends_with("no/such.jpg · check the path"),
        "{error}"
    );
    assert!(Picture::open(fixture("")).is_err());
    let error =
        Picture::decode_up_to(&std::fs::read(fixture("rgb.png")).unwrap(), 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[test]
fn masks_keep_their_ids() {
    let bytes = std::fs::read(fixture("expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    for name in ["palette-2-bit.png", "palette-8-bit.png"] {
        let map = LabelMap::open(fixture(name)).unwrap();
        assert_eq!(map.ids(), expected.tensor("ids").unwrap().data(), "{name}");
    }
    for (name, says) in [
        ("rgb.png", "segmenta data convert rgb"),
        ("rgb.jpg", "JPEG"),
        ("rgb.bmp", "PNG"),
    ] {
        let error = LabelMap::open(fixture(name)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let map = LabelMap::new(32, 8, (0..=255).collect()).unwrap();
    map.save(path("mask.png"), &Palette::voc()).unwrap();
    assert_eq!(LabelMap::open(path("mask.png")).unwrap(), map);

    let colours = Picture::open(path("mask.png")).unwrap();
    assert_eq!(colours.pixels(), Palette::voc().colors().as_flattened());
    colours.save(path("picture.PNG")).unwrap();
    assert_eq!(Picture::open(path("picture.PNG")).unwrap(), colours);
    colours.save(path("picture.jpg")).unwrap();
    assert_eq!(Picture::open(path("picture.jpg")).unwrap().size(), (32, 8));

    save_probability(path("sure.png"), 4, 1, &[0.0, 0.5, 1.0, f32::NAN]).unwrap();
    let sure = LabelMap::open(path("sure.png")).unwrap();
    assert_eq!(sure.ids(), [0, 128, 255, 0]);
    assert!(save_probability(path("sure.png"), 4, 2, &[0.0]).is_err());
}

#[test]
fn a_cutout_shows_what_is_kept() {
    let picture = Picture::filled(4, 1, [9, 8, 7]);
    let map = LabelMap::new(4, 1, vec![0, 1, 2, 255]).unwrap();
    let bytes = cutout(&picture, &map, &|id| id != 2).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; 16];
    reader.next_frame(&mut pixels).unwrap();
    assert_eq!(pixels, [0, 0, 0, 0, 9, 8, 7, 255, 0, 0, 0, 0, 0, 0, 0, 0]);
}

proptest! {
    #![proptest_config(segmenta_properties::cases(256))]

    /// Random bytes behind a true beginning, so that they get past the first look.
    #[test]
    fn damaged_bytes_never_panic(
        file in 0..FORMATS.len(),
        kept in 0_usize..200,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut damaged = std::fs::read(fixture(FORMATS[file])).unwrap();
        damaged.truncate(kept);
        damaged.extend(bytes);
        let _ = Picture::decode_up_to(&damaged, 1 << 20);
        let _ = LabelMap::decode(&damaged);
    }
}
