//! Samples to RGB, with Pillow's and libtiff's arithmetic.

use super::layout::{Colour, YCbCr};
use crate::cmyk;

/// Converts pixels of as many samples as the colour has (one more where there is an `associated` alpha) to RGB.
pub(super) fn to_rgb(samples: Vec<u8>, colour: &Colour, associated: bool) -> Vec<u8> {
    match (colour, associated) {
        (Colour::Rgb, false) => samples,
        (Colour::Rgb, true) => each::<4>(&samples, |[r, g, b, alpha]| {
            [r, g, b].map(|value| divided(value, alpha))
        }),
        (Colour::Grey { .. }, true) => each::<2>(&samples, |[v, alpha]| [divided(v, alpha); 3]),
        (Colour::Grey { white_is_zero }, false) => {
            let turned = u8::from(*white_is_zero) * 255;
            each::<1>(&samples, |[v]| [v ^ turned; 3])
        }
        (Colour::Palette(colours), _) => each::<1>(&samples, |[index]| {
            // Indices have no more bits than the map has entries.
            colours.get(usize::from(index)).copied().unwrap_or_default()
        }),
        (Colour::Cmyk, _) => each::<4>(&samples, cmyk::rgb),
        (Colour::YCbCr(form), _) => {
            let table = YCbCrTable::new(form);
            each::<3>(&samples, |pixel| table.rgb(pixel))
        }
    }
}

fn each<const N: usize>(samples: &[u8], rgb: impl Fn([u8; N]) -> [u8; 3]) -> Vec<u8> {
    let (pixels, _) = samples.as_chunks::<N>();
    pixels.iter().flat_map(|&pixel| rgb(pixel)).collect()
}

/// A value that was multiplied by alpha, as it was before.
fn divided(value: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        _ => (u32::from(value) * 255 / u32::from(alpha)).min(255) as u8,
    }
}

/// YCbCr to RGB in 16-bit fixed point, by tables (TIFF 6.0, section 20 and 21; rounding as libtiff's).
struct YCbCrTable {
    y: [i32; 256],
    red: [i32; 256],
    blue: [i32; 256],
    green_of_cr: [i32; 256],
    green_of_cb: [i32; 256],
}

impl YCbCrTable {
    fn new(form: &YCbCr) -> Self {
        const LIMIT: f32 = 128.0 * 32.0;
        let fixed = |x: f32| (x.clamp(0.0, 2.0) * 65536.0 + 0.5) as i32;
        let [red, green, blue] = form.luma;
        let (to_red, to_blue) = (2.0 - 2.0 * red, 2.0 - 2.0 * blue);
        let factors = [
            fixed(to_red),
            -fixed(red * to_red / green),
            fixed(to_blue),
            -fixed(blue * to_blue / green),
        ];
        // A code's value: between black and white of the reference, stretched to `range`.
        let value = |code: f32, black: f32, white: f32, range: f32| {
            let span = if white == black { 1.0 } else { white - black };
            ((code - black) * range / span).clamp(-LIMIT, LIMIT) as i32
        };
        let reference = form.reference;
        let chroma = |i: usize, black: f32, white: f32| {
            value(i as f32 - 128.0, black - 128.0, white - 128.0, 127.0)
        };
        let cb = |i| chroma(i, reference[2], reference[3]);
        let cr = |i| chroma(i, reference[4], reference[5]);
        Self {
            y: std::array::from_fn(|i| value(i as f32, reference[0], reference[1], 255.0)),
            red: std::array::from_fn(|i| (factors[0] * cr(i) + 32768) >> 16),
            blue: std::array::from_fn(|i| (factors[2] * cb(i) + 32768) >> 16),
            green_of_cr: std::array::from_fn(|i| factors[1] * cr(i)),
            green_of_cb: std::array::from_fn(|i| factors[3] * cb(i) + 32768),
        }
    }

    fn rgb(&self, [y, cb, cr]: [u8; 3]) -> [u8; 3] {
        let (y, cb, cr) = (self.y[usize::from(y)], usize::from(cb), usize::from(cr));
        let green = (self.green_of_cb[cb].saturating_add(self.green_of_cr[cr])) >> 16;
        [self.red[cr], green, self.blue[cb]].map(|change| (y + change).clamp(0, 255) as u8)
    }
}
