//! Files that strangers send: any bytes give a picture, a label map or an error, in little memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use segmenta_image::{LabelMap, Picture, Preprocess, Resize};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(picture) = Picture::decode_up_to(bytes, 1 << 20) {
        let small = Preprocess {
            resize: Resize::LongSide(16),
            ..Preprocess::torchvision(0)
        };
        let prepared = small.apply(&picture);
        assert_eq!((prepared.width, prepared.height), small.size_of(picture.width(), picture.height()));
    }
    let _ = LabelMap::decode(bytes);
});
