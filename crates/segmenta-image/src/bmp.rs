//! BMPs of 16 bits a pixel to Pillow's values: 5 and 6 bits are stretched by cutting off, not by rounding.

/// Changes RGB `pixels` that were decoded from such a file by rounding; of other files nothing.
pub(crate) fn cut_off(file: &[u8], pixels: &mut [u8]) {
    let Some(green) = green_bits(file) else {
        return;
    };
    let table = |bits: u32| -> [u8; 256] {
        let most = (1_u32 << bits) - 1;
        std::array::from_fn(|byte| {
            let value = (byte as u32 * most + 127) / 255;
            (value * 255 / most) as u8
        })
    };
    let tables = [table(5), table(green), table(5)];
    for pixel in pixels.as_chunks_mut::<3>().0 {
        *pixel = std::array::from_fn(|c| tables[c][usize::from(pixel[c])]);
    }
}

/// The bits of green if the file has 16 a pixel and five for red and blue.
fn green_bits(file: &[u8]) -> Option<u32> {
    const MASKS: u32 = 3;
    let number = |at: usize| {
        let bytes = file.get(at..at + 4)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    };
    // Headers of 12 bytes have no 16 bits.
    if number(14)? < 40 || number(26)? >> 16 != 16 {
        return None;
    }
    match number(30)? {
        0 => Some(5),
        MASKS => match [number(54)?, number(58)?, number(62)?] {
            [0x7C00, 0x3E0, 0x1F] => Some(5),
            [0xF800, 0x7E0, 0x1F] => Some(6),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::Picture;

    /// A BMP of one row of 16-bit pixels.
    fn row(pixels: &[u16], masks: Option<[u32; 3]>) -> Vec<u8> {
        let masks_bytes: Vec<u8> = masks
            .into_iter()
            .flatten()
            .flat_map(u32::to_le_bytes)
            .collect();
        let start = 54 + masks_bytes.len() as u32;
        let mut file = b"BM".to_vec();
        for number in [
            start + pixels.len() as u32 * 2,
            0,
            start,
            40,
            pixels.len() as u32,
            1,
            16 << 16 | 1,
            u32::from(masks.is_some()) * 3,
            0,
            0,
            0,
            0,
            0,
        ] {
            file.extend(number.to_le_bytes());
        }
        file.extend(masks_bytes);
        file.extend(pixels.iter().flat_map(|p| p.to_le_bytes()));
        file
    }

    #[test]
    fn five_and_six_bits_are_pillows() {
        // Values of 3: 3 · 255 / 31 = 24.68, 3 · 255 / 63 = 12.14; of 17: 139.8 and 68.8.
        let file = row(&[3 << 10 | 3 << 5 | 3, 17 << 10 | 17 << 5 | 31], None);
        let picture = Picture::decode(&file).unwrap();
        assert_eq!(picture.pixels(), [24, 24, 24, 139, 139, 255]);
        let masks = [0xF800, 0x7E0, 0x1F];
        let file = row(&[3 << 11 | 3 << 5 | 3, 17 << 11 | 17 << 5], Some(masks));
        let picture = Picture::decode(&file).unwrap();
        assert_eq!(picture.pixels(), [24, 12, 24, 139, 68, 0]);
    }
}
