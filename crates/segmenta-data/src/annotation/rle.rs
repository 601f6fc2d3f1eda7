//! Run lengths: how many pixels are outside, then inside, then outside ….

use segmenta_files::count;
use segmenta_image::{LabelMap, MAX_PIXELS};

/// Runs that begin outside, in one of two orders of pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rle {
    width: usize,
    height: usize,
    runs: Vec<u32>,
    order: Order,
}

/// How pixels follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Down each column, columns from left to right: COCO's.
    Columns,
    /// Along each row: CVAT's.
    Rows,
}

impl Rle {
    /// Runs over a rectangle; their sum must be its pixels.
    pub(crate) fn new(
        width: usize,
        height: usize,
        runs: Vec<u32>,
        order: Order,
    ) -> Result<Self, String> {
        let sum: u64 = runs.iter().map(|&run| u64::from(run)).sum();
        let pixels = (width as u64).checked_mul(height as u64);
        if pixels != Some(sum) || sum > MAX_PIXELS {
            return Err(format!(
                "run lengths of {} for {width}×{height}",
                count(sum, "pixel")
            ));
        }
        Ok(Self {
            width,
            height,
            runs,
            order,
        })
    }

    /// `(width, height)` of the rectangle.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// How many pixels are inside.
    pub(crate) fn inside(&self) -> u64 {
        let inside = self.runs.iter().skip(1).step_by(2);
        inside.map(|&run| u64::from(run)).sum()
    }

    /// COCO's packed text: each length in groups of five bits, lowest first, from the character `0` on; the sixth bit
    /// says that more follow, the highest bit of the last group is the sign. From the fourth on, a length is given as
    /// its difference to the one two before it.
    pub(crate) fn unpack(text: &str, width: usize, height: usize) -> Result<Self, String> {
        let mut runs: Vec<u32> = Vec::new();
        let mut bytes = text.bytes();
        while let Some(first) = bytes.next() {
            let (mut value, mut shift, mut byte) = (0i64, 0, first);
            loop {
                let group = byte
                    .checked_sub(48)
                    .filter(|g| *g < 64)
                    .ok_or("damaged run lengths")?;
                value |= i64::from(group & 31) << shift;
                shift += 5;
                if group & 32 == 0 {
                    if group & 16 != 0 {
                        value |= -1 << shift;
                    }
                    break;
                }
                if shift > 50 {
                    return Err("damaged run lengths".into());
                }
                byte = bytes
                    .next()
                    .ok_or("run lengths that end in the middle of a number")?;
            }
            if runs.len() > 2 {
                value = value.saturating_add(i64::from(runs[runs.len() - 2]));
            }
            runs.push(u32::try_from(value).map_err(|_| "a negative run length")?);
        }
        Self::new(width, height, runs, Order::Columns)
    }

    /// Gives the pixels inside an id, the rectangle's top left pixel lying at (`left`, `top`); what is beyond the map
    /// is cut off.
    pub(crate) fn paint(&self, map: &mut LabelMap, left: i64, top: i64, id: u8) {
        let (width, height) = map.size();
        let inside = |value: i64, side: usize| usize::try_from(value).ok().filter(|&v| v < side);
        let mut at = 0;
        for (index, &run) in self.runs.iter().enumerate() {
            let end = at + run as usize;
            if index % 2 == 1 {
                for pixel in at..end {
                    let (x, y) = match self.order {
                        Order::Columns => (pixel / self.height, pixel % self.height),
                        Order::Rows => (pixel % self.width, pixel / self.width),
                    };
                    let x = inside(left.saturating_add(x as i64), width);
                    let y = inside(top.saturating_add(y as i64), height);
                    if let (Some(x), Some(y)) = (x, y) {
                        map.ids_mut()[y * width + x] = id;
                    }
                }
            }
            at = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(rle: &Rle, width: usize, height: usize, left: i64, top: i64) -> Vec<u8> {
        let mut map = LabelMap::new(width, height, vec![0; width * height]).unwrap();
        rle.paint(&mut map, left, top, 7);
        map.into_ids()
    }

    #[test]
    fn runs_go_down_columns_or_along_rows() {
        let columns = Rle::new(2, 3, vec![1, 3, 2], Order::Columns).unwrap();
        assert_eq!(painted(&columns, 2, 3, 0, 0), [0, 7, 7, 0, 7, 0]);
        let rows = Rle::new(2, 3, vec![1, 3, 2], Order::Rows).unwrap();
        assert_eq!(painted(&rows, 2, 3, 0, 0), [0, 7, 7, 7, 0, 0]);
        assert_eq!(painted(&rows, 2, 2, 1, 0), [0, 0, 0, 7]);
        assert_eq!(painted(&rows, 2, 2, -1, -1), [7, 0, 0, 0]);
        assert_eq!(painted(&rows, 2, 2, i64::MAX, i64::MIN), [0; 4]);
        assert_eq!(rows.inside(), 3);
        assert!(Rle::new(2, 3, vec![1, 3], Order::Rows).is_err());
        assert!(Rle::new(usize::MAX, usize::MAX, vec![1], Order::Rows).is_err());
        assert!(Rle::new(1 << 20, 1 << 20, vec![u32::MAX; 256], Order::Rows).is_err());
    }

    /// Packs as COCO's tools do.
    fn pack(runs: &[u32]) -> String {
        let mut text = String::new();
        for (i, &run) in runs.iter().enumerate() {
            let mut value = i64::from(run);
            if i > 2 {
                value -= i64::from(runs[i - 2]);
            }
            loop {
                let group = (value & 31) as u8;
                value >>= 5;
                let more = if group & 16 != 0 {
                    value != -1
                } else {
                    value != 0
                };
                text.push(char::from(48 + group + if more { 32 } else { 0 }));
                if !more {
                    break;
                }
            }
        }
        text
    }

    #[test]
    fn packed_text_is_read() {
        let runs = vec![0, 31, 5, 1000, 3, 16, 100_000, 0, 2, 40];
        let sum = runs.iter().sum::<u32>() as usize;
        let rle = Rle::unpack(&pack(&runs), sum, 1).unwrap();
        assert_eq!(rle.runs, runs);
        for damaged in ["P", "\u{1f}", "~~~~~~~~~~~~~~~~~", "é"] {
            assert!(Rle::unpack(damaged, 1, 1).is_err(), "{damaged}");
        }
    }
}
