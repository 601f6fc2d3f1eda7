//! Colours as Pillow blends and converts them: what torchvision's functions do to PIL pictures, to the bit.

/// Pillow's grey of a pixel, its mode `L`: ITU-R 601-2 in 16-bit fractions, rounded.
pub(super) fn grey([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}

/// From `ground` (0) to `value` (1) and beyond: Pillow's `Image.blend`, cut off rather than rounded.
pub(super) fn blend(ground: u8, value: u8, factor: f32) -> u8 {
    // `as` saturates where the factor leads out of 0 to 255.
    (f32::from(ground) + factor * (f32::from(value) - f32::from(ground))) as u8
}

/// Pillow's mode `HSV`: hue, saturation and value, 0 to 255 each.
pub(super) fn to_hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    if most == least {
        return [0, 0, most];
    }
    let range = f32::from(most - least);
    let below = |v: u8| f32::from(most - v) / range;
    // A double comes in with the literals of Pillow's source, and goes where it is kept.
    let hue = if r == most {
        below(b) - below(g)
    } else if g == most {
        (2.0 + f64::from(below(r)) - f64::from(below(b))) as f32
    } else {
        (4.0 + f64::from(below(g)) - f64::from(below(r))) as f32
    };
    let hue = ((f64::from(hue) / 6.0 + 1.0) % 1.0) as f32;
    let saturation = range / f32::from(most);
    [
        (f64::from(hue) * 255.0) as u8,
        (f64::from(saturation) * 255.0) as u8,
        most,
    ]
}

/// Back from [`to_hsv`].
pub(super) fn from_hsv([h, s, v]: [u8; 3]) -> [u8; 3] {
    if s == 0 {
        return [v; 3];
    }
    let sextant = f64::from(f32::from(h)) * 6.0 / 255.0;
    let f = (sextant - sextant.floor()) as f32;
    let fs = (f64::from(f32::from(s)) / 255.0) as f32;
    let value = f64::from(f32::from(v));
    let shade = |share: f64| (value * (1.0 - share)).round().clamp(0.0, 255.0) as u8;
    let p = shade(f64::from(fs));
    let q = shade(f64::from(fs * f));
    let t = shade(f64::from(fs) * (1.0 - f64::from(f)));
    match sextant as u8 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

/// Every pixel by a function.
pub(super) fn each(picture: &mut segmenta_image::Picture, change: impl Fn([u8; 3]) -> [u8; 3]) {
    let (pixels, _) = picture.pixels_mut().as_chunks_mut::<3>();
    pixels.iter_mut().for_each(|pixel| *pixel = change(*pixel));
}

/// Every byte by a table.
pub(super) fn look_up(picture: &mut segmenta_image::Picture, table: &[u8; 256]) {
    let bytes = picture.pixels_mut().iter_mut();
    bytes.for_each(|byte| *byte = table[usize::from(*byte)]);
}
