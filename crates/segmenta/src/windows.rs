//! Square windows along the long side of a picture, as long as its short one: how EoMT sees pictures that are no
//! squares. What it says of each window is averaged where windows overlap, as transformers'
//! `post_process_semantic_segmentation` has it.

use segmenta_graph::Shape;
use segmenta_runtime::Tensor;

use crate::error::Error;

/// Where windows of `side` pixels begin along `long` ones, evenly spread.
fn starts(long: usize, side: usize) -> Vec<usize> {
    let count = long.div_ceil(side);
    let overlap = match count {
        1 => 0.0,
        _ => (count * side - long) as f64 / (count - 1) as f64,
    };
    let start = |i: usize| (i as f64 * (side as f64 - overlap)) as usize;
    (0..count).map(start).collect()
}

/// The windows of a batch, from the top or the left on.
#[cfg(test)]
pub(crate) fn windows_of(batch: &Tensor) -> Vec<Tensor> {
    let mut windows = Vec::new();
    let copied = windowed(batch, |window| {
        windows.push(window.clone());
        Ok(window.clone())
    });
    assert!(copied.is_ok());
    windows
}

/// The map of a whole batch, from those that `forward` gives of its windows, each as large as its window.
pub(crate) fn windowed(
    batch: &Tensor,
    mut forward: impl FnMut(&Tensor) -> Result<Tensor, Error>,
) -> Result<Tensor, Error> {
    let Shape { height, width, .. } = batch.shape;
    let (side, long) = (height.min(width), height.max(width));
    let starts = starts(long, side);
    if starts.len() == 1 {
        return forward(batch);
    }
    let down = height > width;
    let mut sums: Option<Tensor> = None;
    let mut seen = vec![0_u32; long];
    for start in starts {
        let origin = if down { [start, 0] } else { [0, start] };
        let window = forward(&cut(batch, origin, side))?;
        let shape = Shape {
            channels: window.shape.channels,
            ..batch.shape
        };
        let whole = sums.get_or_insert_with(|| Tensor {
            shape,
            data: vec![0.0; shape.len()],
        });
        let from = window.data.chunks_exact(side);
        for (index, row) in from.enumerate() {
            let (plane, y) = (index / side, index % side);
            let at = (plane * height + origin[0] + y) * width + origin[1];
            let to = &mut whole.data[at..][..side];
            to.iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += value);
        }
        seen[start..start + side].iter_mut().for_each(|n| *n += 1);
    }
    let Some(mut whole) = sums else {
        return forward(batch);
    };
    for (index, row) in whole.data.chunks_exact_mut(width).enumerate() {
        for (x, value) in row.iter_mut().enumerate() {
            let at = if down { index % height } else { x };
            *value /= seen[at] as f32;
        }
    }
    Ok(whole)
}

/// A square of each picture.
fn cut(batch: &Tensor, [top, left]: [usize; 2], side: usize) -> Tensor {
    let Shape { height, width, .. } = batch.shape;
    let planes = batch.data.chunks_exact(height * width);
    let rows = planes.flat_map(|plane| plane.chunks_exact(width).skip(top).take(side));
    let data = rows.flat_map(|row| &row[left..left + side]);
    Tensor {
        shape: Shape {
            height: side,
            width: side,
            ..batch.shape
        },
        data: data.copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_spread_as_the_library_spreads_them() {
        assert_eq!(starts(128, 128), [0]);
        assert_eq!(starts(192, 128), [0, 64]);
        assert_eq!(starts(257, 128), [0, 64, 129]);
        assert_eq!(starts(300, 128), [0, 86, 172]);
    }

    #[test]
    fn windows_that_say_what_they_see_give_the_picture_back() {
        for [height, width] in [[4, 10], [11, 4], [5, 5]] {
            let shape = Shape::new(2, 3, height, width);
            let data: Vec<f32> = (0..shape.len()).map(|i| i as f32).collect();
            let batch = Tensor { shape, data };
            let mut sizes = Vec::new();
            let whole = windowed(&batch, |window| {
                sizes.push([window.shape.height, window.shape.width]);
                Ok(window.clone())
            });
            assert_eq!(whole.unwrap().data, batch.data);
            let side = height.min(width);
            assert!(sizes.iter().all(|size| *size == [side; 2]), "{sizes:?}");
        }
    }

    #[test]
    fn where_windows_overlap_what_they_say_is_averaged() {
        let shape = Shape::new(1, 1, 2, 3);
        let batch = Tensor {
            shape,
            data: vec![0.0; 6],
        };
        let mut said = 0.0;
        let whole = windowed(&batch, |window| {
            said += 1.0;
            Ok(Tensor {
                data: vec![said; window.data.len()],
                ..window.clone()
            })
        });
        assert_eq!(whole.unwrap().data, [1.0, 1.5, 2.0, 1.0, 1.5, 2.0]);
    }
}
