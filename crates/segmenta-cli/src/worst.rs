//! The pictures that a model does worst on, kept while it is measured.

use std::path::Path;

use segmenta::EvaluateEvent;
use segmenta_image::{Picture, make_grid, mark_result, write_atomic};

/// Strength of the colours over the photograph.
const ALPHA: f64 = 0.6;
/// Pixels between the three.
const GAP: usize = 4;

/// The worst so far, lowest mIoU first.
pub(crate) struct Worst {
    most: usize,
    kept: Vec<(f64, String, Picture)>,
}

impl Worst {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            kept: Vec::new(),
        }
    }

    /// Looks at a picture that was compared, and keeps it if it is among the worst.
    pub(crate) fn see(&mut self, event: EvaluateEvent<'_>) {
        let EvaluateEvent::Compared {
            name,
            picture,
            truth,
            found,
            miou: Some(miou),
            ..
        } = event
        else {
            return;
        };
        let place = self.kept.partition_point(|(other, ..)| *other <= miou);
        if place >= self.most {
            return;
        }
        let drawn = [truth, found.labels()].map(|map| map.overlay(picture, found.palette(), ALPHA));
        let [Ok(truth), Ok(found)] = drawn else {
            // Labels of another size than the photograph's cannot be laid over it.
            return;
        };
        let Ok(row) = make_grid(&[picture.clone(), truth, found], 3, GAP) else {
            return;
        };
        self.kept.insert(place, (miou, name.to_owned(), row));
        self.kept.truncate(self.most);
    }

    /// Writes them, `01-NAME.png` being the worst; how many there are.
    pub(crate) fn save(&self, out: &Path) -> anyhow::Result<usize> {
        segmenta::prepare_folder(out)?;
        for (place, (_, name, row)) in self.kept.iter().enumerate() {
            let name = name.replace(['/', '\\'], "-");
            let file = out.join(format!("{:02}-{name}.png", place + 1));
            write_atomic(file, &mark_result(&row.to_png(), "comparison"))?;
        }
        Ok(self.kept.len())
    }
}
