//! The pictures most worth looking at, kept and drawn while models are measured: a bounded number, whatever the data.

use std::path::Path;

use segmenta::{Compared, EvaluateEvent};
use segmenta_image::{LabelMap, Palette, Picture, make_grid, mark_result, write_atomic};

/// Strength of the colours over the photograph.
const ALPHA: f64 = 0.6;
/// Pixels between drawings.
const GAP: usize = 4;

/// Those with the lowest score so far, the lowest first.
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

    /// Looks at a picture that one model was measured on, by its mIoU.
    pub(crate) fn see(&mut self, event: EvaluateEvent<'_>) {
        if let EvaluateEvent::Compared {
            name,
            picture,
            truth,
            found,
            miou: Some(miou),
            ..
        } = event
        {
            self.keep(
                miou,
                name,
                picture,
                found.palette(),
                &[truth, found.labels()],
            );
        }
    }

    /// Looks at a picture that two models were measured on, by how far they agree.
    pub(crate) fn see_both(&mut self, compared: Compared<'_>) {
        let [first, second] = compared.found;
        let palette = compared.segmentation.palette();
        let maps = [compared.truth, first, second];
        self.keep(
            compared.alike,
            compared.name,
            compared.picture,
            palette,
            &maps,
        );
    }

    /// Draws the picture and the maps over it side by side, if the score is among the lowest.
    fn keep(
        &mut self,
        score: f64,
        name: &str,
        picture: &Picture,
        palette: &Palette,
        maps: &[&LabelMap],
    ) {
        let place = self.kept.partition_point(|(other, ..)| *other <= score);
        if place >= self.most {
            return;
        }
        let over = maps.iter().map(|map| map.overlay(picture, palette, ALPHA));
        let drawn: Result<Vec<Picture>, _> =
            std::iter::once(Ok(picture.clone())).chain(over).collect();
        let Ok(row) = drawn.and_then(|drawn| make_grid(&drawn, drawn.len(), GAP)) else {
            // Labels of another size than the photograph's cannot be laid over it.
            return;
        };
        self.kept.insert(place, (score, name.to_owned(), row));
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
