//! TIFFs of every layout that tags can describe, most of them nonsense: a picture, a label map or an error, no panic of
//! ours behind the guard, in little memory and time.
//!
//! The first bytes choose the tags' values, mostly from those that mean something; the rest is what the chunks are cut
//! from. So the fuzzer changes layouts, not offsets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use segmenta_image::{LabelMap, Picture, PictureError};

const MAX_PIXELS: u64 = 1 << 18;

struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    /// One of `usual`, or now and then any number.
    fn of(&mut self, usual: &[u32]) -> u32 {
        match self.byte() {
            255 => u32::from_le_bytes(std::array::from_fn(|_| self.byte())),
            254 => self.byte().into(),
            chosen => usual[usize::from(chosen) % usual.len()],
        }
    }
}

/// Tags of a TIFF: number, and values of 32 bits.
type Tags = Vec<(u16, Vec<u32>)>;

fn tags(choices: &mut Choices<'_>) -> Tags {
    let samples = choices.of(&[1, 3, 4, 2, 5, 8]);
    let bits = choices.of(&[8, 16, 1, 2, 4, 12, 32]);
    let mut tags = vec![
        (256, vec![choices.of(&[21, 1, 16, 33, 300])]),
        (257, vec![choices.of(&[13, 1, 16, 33, 300])]),
        (258, vec![bits; (samples as usize).clamp(1, 16)]),
        (
            259,
            vec![choices.of(&[1, 5, 8, 32773, 7, 4, 3, 50000, 6, 2])],
        ),
        (262, vec![choices.of(&[2, 1, 0, 3, 5, 6, 8])]),
        (266, vec![choices.of(&[1, 2])]),
        (274, vec![choices.of(&[1, 6, 3, 8])]),
        (277, vec![samples]),
        (284, vec![choices.of(&[1, 2])]),
        (317, vec![choices.of(&[1, 2, 3])]),
        (339, vec![choices.of(&[1, 2, 3, 4])]),
    ];
    let extra = choices.of(&[0, 1, 2, 5]).min(16);
    if extra > 0 {
        tags.push((338, (0..extra).map(|_| choices.of(&[0, 1, 2])).collect()));
    }
    if choices.byte() % 2 == 0 {
        tags.push((278, vec![choices.of(&[5, 1, 13, 64])]));
    } else {
        tags.push((322, vec![choices.of(&[16, 32, 64, 1])]));
        tags.push((323, vec![choices.of(&[16, 32, 64, 1])]));
    }
    if choices.byte() % 2 == 0 {
        tags.push((530, (0..2).map(|_| choices.of(&[1, 2, 4])).collect()));
    }
    if choices.byte() % 2 == 0 {
        let values = choices.of(&[768, 48, 12, 6]).min(3 << 8);
        tags.push((320, (0..values).map(|i| i * 85).collect()));
    }
    tags
}

/// The file: header, chunks, tags. Every chunk is a part of `data`, or all of it.
fn file(mut tags: Tags, little: bool, big: bool, count: usize, data: &[u8]) -> Vec<u8> {
    let number = |value: u64, bytes: usize| -> Vec<u8> {
        let wide = value.to_le_bytes();
        let mut bytes = wide[..bytes].to_vec();
        if !little {
            bytes.reverse();
        }
        bytes
    };
    let head = if big { 16 } else { 8 };
    let part = data.len() / count.max(1);
    let tiled = tags.iter().any(|(tag, _)| *tag == 322);
    let (offsets, lengths) = if tiled { (324, 325) } else { (273, 279) };
    tags.push((
        offsets,
        (0..count).map(|i| (head + i * part) as u32).collect(),
    ));
    tags.push((lengths, vec![part as u32; count]));
    tags.sort_by_key(|(tag, _)| *tag);
    let (room, entry, counter) = if big { (8, 20, 8) } else { (4, 12, 2) };
    let at = head + data.len();
    let mut values_at = at + counter + entry * tags.len() + room;
    let mut file = if little {
        b"II".to_vec()
    } else {
        b"MM".to_vec()
    };
    if big {
        file.extend(number(43, 2));
        file.extend(number(8, 2));
        file.extend(number(0, 2));
    } else {
        file.extend(number(42, 2));
    }
    file.extend(number(at as u64, room));
    file.extend(data);
    file.extend(number(tags.len() as u64, counter));
    let mut values = Vec::new();
    for (tag, all) in &tags {
        file.extend(number((*tag).into(), 2));
        file.extend(number(4, 2));
        file.extend(number(all.len() as u64, room));
        let bytes: Vec<u8> = all
            .iter()
            .flat_map(|&value| number(value.into(), 4))
            .collect();
        if bytes.len() <= room {
            file.extend(&bytes);
            file.extend(vec![0; room - bytes.len()]);
        } else {
            file.extend(number(values_at as u64, room));
            values_at += bytes.len();
            values.extend(bytes);
        }
    }
    file.extend(number(0, room));
    file.extend(values);
    file
}

/// A panic of a codec is its own affair; one of ours shows in what the guard says of it.
fn judge<T>(read: Result<T, PictureError>, ours: bool) {
    if let Err(error) = read {
        assert!(!ours || !error.to_string().contains("gave up"), "{error}");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices(bytes);
    let form = choices.byte();
    let chunks = usize::from(choices.byte()) % 64;
    let tags = tags(&mut choices);
    let ours = tags
        .iter()
        .any(|(tag, values)| *tag == 259 && matches!(values[0], 1 | 5 | 8 | 32773));
    let file = file(tags, form & 1 == 0, form & 2 != 0, chunks, choices.0);
    if let Ok(picture) = Picture::decode_up_to(&file, MAX_PIXELS) {
        assert!(picture.width() * picture.height() <= MAX_PIXELS as usize);
    }
    judge(Picture::decode_up_to(&file, MAX_PIXELS), ours);
    // Without limit of its own: only for sizes that are small.
    let small = file.len() < 1 << 16;
    if small && Picture::decode_up_to(&file, MAX_PIXELS).is_ok() {
        judge(LabelMap::decode(&file), ours);
    }
});
