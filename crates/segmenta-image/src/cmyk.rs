//! Inks to light, with Pillow's arithmetic.

/// RGB of shares of 255 of cyan, magenta, yellow and black ink.
pub(crate) fn rgb([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    let light = 255 - black;
    [cyan, magenta, yellow].map(|ink| light.saturating_sub(product(ink, light)))
}

/// `a · b / 255`, rounded.
fn product(a: u8, b: u8) -> u8 {
    let wide = u32::from(a) * u32::from(b) + 128;
    ((wide + (wide >> 8)) >> 8) as u8
}
