//! Annotations that strangers send: any text is shapes that can be drawn or an error, in little time and memory.
//!
//! The first byte chooses the format: `c` COCO, `v` CVAT, `l` labelme, `t` a list of classes.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use segmenta_data::annotation::{ClassList, Colours, coco, cvat, labelme, mask_names};
use segmenta_data::text;

/// Pixels that a picture may have for it to be drawn.
const LITTLE: usize = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    let Some((format, rest)) = bytes.split_first() else {
        return;
    };
    let Ok(text) = text::decode(rest.to_vec()) else {
        return;
    };
    let path = Path::new("fuzzed");
    let read = match format {
        b'c' => coco::parse(&text, path),
        b'v' => cvat::parse(&text, path),
        b'l' => labelme::parse(&text, path),
        _ => {
            if let Ok(list) = ClassList::parse(&text, path) {
                // With numbers or colons, names may read as colours.
                let plain = |name: &String| !name.contains(|c: char| c.is_ascii_digit() || c == ':');
                if list.names().iter().all(plain) {
                    let again = ClassList::parse(&list.to_text(), path).expect("names are read back");
                    assert_eq!(again.names(), list.names());
                }
                if let Ok(colours) = Colours::new(list) {
                    let _ = ClassList::parse(&colours.list().to_labelmap(), path);
                }
            }
            return;
        }
    };
    let Ok(all) = read else {
        return;
    };
    let list = ClassList::new(all.classes.iter().cloned());
    let pictures: Vec<(&str, &str)> = all
        .pictures
        .iter()
        .map(|picture| (&*picture.file, &*picture.origin))
        .collect();
    if let Ok(names) = mask_names(&pictures) {
        assert!(names.iter().all(|name| name.path.is_relative()));
    }
    for (index, picture) in all.pictures.iter().enumerate().take(64) {
        if picture.width * picture.height > LITTLE {
            continue;
        }
        let map = all.draw(index).expect("a size that was read can be drawn");
        let known = |id: &u8| usize::from(*id) < all.classes.len() || *id == 255;
        assert!(map.ids().iter().all(known));
    }
    if let Ok(list) = list {
        let _ = all.with_classes(&list);
    }
});
