//! Files that are read otherwise than their owner may think, or not at all: each costs itself alone.

use segmenta_image::{LabelMap, Palette};

use super::Room;

/// An uncompressed TIFF of 16×16 pixels, all of them alike: bands of 16 bits, one tile, planes apart if `planar`.
fn tiff(photometric: u16, bands: u16, value: u16, planar: bool) -> Vec<u8> {
    const SIDE: u16 = 16;
    let planes = if planar { bands } else { 1 };
    let plane = 2 * u32::from(SIDE) * u32::from(SIDE) * u32::from(bands / planes);
    let mut file = b"II*\0".to_vec();
    let directory = 8 + plane * u32::from(planes);
    file.extend(directory.to_le_bytes());
    file.extend(
        value
            .to_le_bytes()
            .repeat(plane as usize / 2 * usize::from(planes)),
    );
    let places: Vec<u32> = (0..u32::from(planes)).map(|i| 8 + i * plane).collect();
    let lengths = vec![plane; places.len()];
    let one = |value: u16| vec![u32::from(value)];
    let extra = bands.saturating_sub(if photometric == 2 { 3 } else { 1 });
    let mut tags = vec![
        (256, one(SIDE)),
        (257, one(SIDE)),
        (258, one(16)),
        (259, one(1)),
        (262, one(photometric)),
        (277, one(bands)),
        (284, one(if planar { 2 } else { 1 })),
        (322, one(SIDE)),
        (323, one(SIDE)),
        (324, places),
        (325, lengths),
    ];
    if extra > 0 {
        tags.push((338, vec![0; usize::from(extra)]));
    }
    let mut lists = Vec::new();
    let lists_at = directory + 2 + 12 * tags.len() as u32 + 4;
    file.extend((tags.len() as u16).to_le_bytes());
    for (tag, values) in tags {
        file.extend(u16::to_le_bytes(tag));
        file.extend(4_u16.to_le_bytes());
        file.extend((values.len() as u32).to_le_bytes());
        if let [only] = values[..] {
            file.extend(only.to_le_bytes());
        } else {
            file.extend((lists_at + lists.len() as u32).to_le_bytes());
            lists.extend(values.into_iter().flat_map(u32::to_le_bytes));
        }
    }
    file.extend([0; 4]);
    file.extend(lists);
    file
}

fn write_pictures(room: &Room, folder: &str) {
    let path = |name: &str| format!("{folder}/{name}");
    room.picture(path("a.png"), 16, 16);
    room.write(path("bands.tif"), tiff(1, 8, 50_000, false));
    room.write(path("dark.tif"), tiff(2, 4, 4000, false));
    room.write(path("planes.tif"), tiff(2, 3, 50_000, true));
    let whole = tiff(2, 3, 50_000, true);
    room.write(path("cut.tif"), &whole[..whole.len() / 2]);
    room.picture(path("z ü.png"), 16, 16);
}

#[test]
fn a_file_that_is_not_read_costs_itself_alone() {
    let room = Room::with_model();
    write_pictures(&room, "p");
    let answer = room.line("predict p --weights tiny.safetensors -o o -q");
    assert_eq!(answer.code, Some(1), "{}", answer.stderr);
    let said: Vec<&str> = answer.stderr.lines().collect();
    assert_eq!(said.len(), 3, "{}", answer.stderr);
    assert!(said[0].starts_with("warning: 16-bit values that end at 4000 of 65535"));
    assert!(said[0].contains("p/dark.tif"), "{}", said[0]);
    assert!(said[1].contains("grey TIFFs of 8 bands") && said[1].contains("p/bands.tif"));
    assert!(said[2].contains("ends before the picture") && said[2].contains("p/cut.tif"));
    for name in ["a", "dark", "planes", "z ü"] {
        assert!(room.exists(&format!("o/{name}.mask.png")), "{name}");
    }
    assert_eq!(room.report("o")["failed"].as_array().unwrap().len(), 2);
}

#[test]
fn data_check_names_what_is_not_read_and_goes_on() {
    let room = Room::new();
    write_pictures(&room, "d/images");
    let mask = LabelMap::new(16, 16, vec![1; 256]).unwrap();
    for name in ["a", "bands", "dark", "planes", "cut", "z ü"] {
        room.write(format!("d/masks/{name}.png"), mask.to_png(&Palette::voc()));
    }
    room.write("d/classes.txt", "background\nthing\n");
    let answer = room.line("data check d --kind folder");
    assert_eq!(answer.code, Some(1), "{}{}", answer.stdout, answer.stderr);
    for words in [
        "2 pictures that cannot be read",
        "images/bands.tif: grey TIFFs of 8 bands",
        "images/cut.tif: the file ends before the picture does",
        "1 picture of 12 bits in 16",
        "images/dark.tif: 16-bit values that end at 4000",
    ] {
        assert!(answer.stdout.contains(words), "{words}\n{}", answer.stdout);
    }
}

#[test]
fn sizes_that_memory_does_not_hold_are_refused_by_flag_and_value() {
    let room = Room::with_model();
    room.picture("a.png", 16, 16);
    for flag in [
        "--resize 1000000x1000000",
        "--resize 1000000",
        "--resize long:99999",
        "--center-crop 99999",
        "--center-crop 9000x9000",
        "--tile 9999",
    ] {
        let answer = room.line(&format!("predict a.png --weights tiny.safetensors {flag}"));
        assert_eq!(answer.code, Some(2), "{flag}: {}", answer.stderr);
        let (name, value) = flag.split_once(' ').unwrap();
        let first = answer.stderr.lines().next().unwrap();
        assert!(first.contains(name) && first.contains(value), "{first}");
        assert!(first.contains("give "), "{first}");
    }
}
