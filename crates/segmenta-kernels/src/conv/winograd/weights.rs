//! Kernels as a filter's products see them.

use std::ops::Range;

use super::filter::FilterKind;
use super::tiles::products;
use crate::buffer::Buffer;
use crate::conv::panel::{Panel, Panels};
use crate::isa::{Isa, Kernel};
use crate::shared::{Shared, in_parallel, part};
use crate::simd::Simd;

/// How `G g Gᵀ` of every kernel lies in memory: a matrix of panels a product,
/// `[product][panel][input channel][output channel of the panel]`.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) filters: [FilterKind; 2],
    /// Panels of one product's matrix.
    pub(super) panels: Vec<Panel>,
    /// Values from one product's matrix to the next.
    pub(super) stride: usize,
}

/// Taps of the kernels that filters are made of.
const TAPS: usize = 9;

impl Form {
    /// For panels whose rows run over taps, then channels.
    pub(super) fn new(direct: &Panels, filters: [FilterKind; 2]) -> Self {
        let panel = |panel: &Panel| Panel {
            offset: panel.offset / TAPS,
            ..*panel
        };
        Self {
            filters,
            panels: direct.panels.iter().map(panel).collect(),
            stride: direct.weights.len() / TAPS,
        }
    }

    /// Values of all matrices.
    pub(super) fn len(&self) -> usize {
        self.stride * products(self.filters)
    }

    /// Transforms `direct`, of the extents that it was made for, into `to`.
    pub(super) fn transform(&self, isa: Isa, direct: &Panels, to: &mut [f32]) {
        assert_eq!(to.len(), self.len(), "room for transformed weights");
        let shared = Shared::new(to);
        const CUTS: usize = 4;
        in_parallel(self.panels.len() * CUTS, |task| {
            let index = task / CUTS;
            let panel = &self.panels[index];
            let end = self
                .panels
                .get(index + 1)
                .map_or(self.stride, |next| next.offset);
            let rows_len = end - panel.offset;
            let columns = panel.vectors * isa.lanes();
            isa.run(Task {
                filters: self.filters,
                from: &direct.weights[panel.offset * TAPS..][..rows_len * TAPS],
                to: shared,
                offset: panel.offset,
                stride: self.stride,
                columns,
                channels: part(rows_len / columns, CUTS, task % CUTS),
            });
        });
    }
}

/// Weights in that form, kept from one run to the next.
#[derive(Debug)]
pub(crate) struct Transformed {
    pub(super) filters: [FilterKind; 2],
    pub(super) weights: Buffer,
}

impl Transformed {
    pub(super) fn new(isa: Isa, direct: &Panels, form: &Form) -> Self {
        let mut weights = Buffer::zeros(form.len());
        form.transform(isa, direct, &mut weights);
        Self {
            filters: form.filters,
            weights,
        }
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
        // SAFETY: rows of a panel are written by the one task that has its channels; every product's matrix is
        // as long as `Form::len` counts.
        unsafe {
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
}
