//! Kernels as a filter's products see them.

use std::ops::Range;

use super::filter::FilterKind;
use super::tiles::products;
use crate::buffer::Buffer;
use crate::conv::panel::{Panel, Panels};
use crate::isa::{Isa, Kernel};
use crate::shared::{Shared, in_parallel, part};
use crate::simd::Simd;

/// `G g Gᵀ` of every kernel, as a matrix of panels a product.
#[derive(Debug)]
pub(crate) struct Transformed {
    pub(super) filters: [FilterKind; 2],
    /// `[product][panel][input channel][output channel of the panel]`.
    pub(super) weights: Buffer,
    /// Panels of one product's matrix.
    pub(super) panels: Vec<Panel>,
    /// Values from one product's matrix to the next.
    pub(super) stride: usize,
}

/// Taps of the kernels that filters are made of.
const TAPS: usize = 9;

impl Transformed {
    /// From panels whose rows run over taps, then channels.
    pub(super) fn new(isa: Isa, direct: &Panels, filters: [FilterKind; 2]) -> Self {
        let stride = direct.weights.len() / TAPS;
        let panels: Vec<Panel> = direct
            .panels
            .iter()
            .map(|panel| Panel {
                offset: panel.offset / TAPS,
                ..*panel
            })
            .collect();
        let mut weights = Buffer::zeros(stride * products(filters));
        let shared = Shared::new(&mut weights);
        const CUTS: usize = 4;
        in_parallel(panels.len() * CUTS, |task| {
            let index = task / CUTS;
            let rows_len = match panels.get(index + 1) {
                Some(next) => next.offset - panels[index].offset,
                None => stride - panels[index].offset,
            };
            let columns = panels[index].vectors * isa.lanes();
            isa.run(Task {
                filters,
                from: &direct.weights[direct.panels[index].offset..][..rows_len * TAPS],
                to: shared,
                offset: panels[index].offset,
                stride,
                columns,
                channels: part(rows_len / columns, CUTS, task % CUTS),
            });
        });
        Self {
            filters,
            weights,
            panels,
            stride,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.weights.len()
    }
}

/// Some rows of one panel.
struct Task<'a> {
    filters: [FilterKind; 2],
    from: &'a [f32],
    to: Shared<'a>,
    offset: usize,
    stride: usize,
    columns: usize,
    channels: Range<usize>,
}

impl Kernel for Task<'_> {
    type Output = ();

    /// In f64: the weights are transformed once, and what is rounded here stays.
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        const LANES: usize = 8;
        let tap_stride = self.from.len() / TAPS;
        let [down, right] = self.filters.map(FilterKind::weights);
        for channel in self.channels.clone() {
            for column in (0..self.columns).step_by(LANES) {
                let at = channel * self.columns + column;
                let mut taps = [[0.0_f64; LANES]; TAPS];
                for (tap, values) in taps.iter_mut().enumerate() {
                    let from = &self.from[tap * tap_stride + at..][..LANES];
                    for (value, &from) in values.iter_mut().zip(from) {
                        *value = f64::from(from);
                    }
                }
                for (y, row) in down.iter().enumerate() {
                    let mut lines = [[0.0_f64; LANES]; 3];
                    for (x, line) in lines.iter_mut().enumerate() {
                        for lane in 0..LANES {
                            line[lane] = row[0] * taps[x][lane]
                                + row[1] * taps[3 + x][lane]
                                + row[2] * taps[6 + x][lane];
                        }
                    }
                    for (x, factors) in right.iter().enumerate() {
                        let product = y * right.len() + x;
                        let to = self.to.at(product * self.stride + self.offset + at);
                        for lane in 0..LANES {
                            let value = factors[0] * lines[0][lane]
                                + factors[1] * lines[1][lane]
                                + factors[2] * lines[2][lane];
                            to.add(lane).write(value as f32);
                        }
                    }
                }
            }
        }
    }
}
