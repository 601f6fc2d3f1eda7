//! The matrix product under the convolutions: pixels by panels of weights.
//!
//! The reduction is cut so that the part of a panel in use stays in the first caches while the
//! pixels pass by, and the pixels of that part stay in the second while the panels pass by. While
//! a panel is used the next one is fetched.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::panel::Panel;
use super::tile::{Ahead, Place, reduce_block, start, store};
use crate::activation::Activation;
use crate::shared::part;
use crate::simd::Simd;

/// Steps of the reduction that are done before the next pixels: with 64 columns, 64 KiB of weights.
const REDUCTION: usize = 256;

/// What a sum begins with and what is applied to it, for a whole map.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue {
    /// Bias of the first output channel.
    pub(crate) bias: *const f32,
    /// First pixel of the first block of a map to add; null for none.
    pub(crate) residual: *const f32,
    /// Values from one block of the residual to the next, and from one picture to the next.
    pub(crate) residual_plane: usize,
    pub(crate) residual_stride: usize,
    pub(crate) activation: Activation,
}

/// Where a product goes.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// First pixel of the first block of output channels.
    pub(crate) out: *mut f32,
    /// Values from one block of output channels to the next.
    pub(crate) plane: usize,
    /// Values from one picture to the next.
    pub(crate) stride: usize,
    /// None for the bare product.
    pub(crate) epilogue: Option<Epilogue>,
}

/// A part of the reduction, in blocks of input channels (and taps).
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) blocks: Range<usize>,
    pub(crate) is_last: bool,
}

/// The parts of a reduction over `blocks` blocks, in order.
#[inline(always)]
pub(crate) fn reduction_parts<S: Simd>(blocks: usize) -> impl Iterator<Item = Part> {
    let parts = blocks.div_ceil(REDUCTION / S::LANES);
    (0..parts).map(move |index| Part {
        blocks: part(blocks, parts, index),
        is_last: index + 1 == parts,
    })
}

impl Target {
    /// The tile of `panel` whose first pixel is `pixel` of a picture.
    ///
    /// # Safety
    /// As for [`Simd`]; the map has the picture, the pixel and the panel's blocks, and so has the map to add.
    #[inline(always)]
    pub(crate) unsafe fn place<S: Simd>(
        &self,
        panel: &Panel,
        part: &Part,
        [image, pixel]: [usize; 2],
        count: usize,
    ) -> Place {
        // SAFETY: offsets of a pixel of the map.
        unsafe {
            let offset = image * self.stride + panel.block * self.plane + pixel * S::LANES;
            let mut place = Place {
                out: self.out.add(offset),
                out_plane: self.plane,
                count,
                continues: part.blocks.start > 0,
                bias: std::ptr::null(),
                residual: std::ptr::null(),
                residual_plane: 0,
                activation: Activation::None,
            };
            if let Some(epilogue) = &self.epilogue {
                place.bias = epilogue.bias.add(panel.block * S::LANES);
                if !epilogue.residual.is_null() {
                    let offset = panel.block * epilogue.residual_plane + pixel * S::LANES;
                    let residual = epilogue.residual.add(image * epilogue.residual_stride);
                    place.residual = residual.add(offset);
                    place.residual_plane = epilogue.residual_plane;
                }
                if part.is_last {
                    place.activation = epilogue.activation;
                }
            }
            place
        }
    }
}

/// A product of pixels that follow each other in memory.
pub(crate) struct Product<'a> {
    /// Pixel 0 of the first block of input channels of picture 0.
    pub(crate) input: *const f32,
    /// Values from one block of input channels to the next.
    pub(crate) plane: usize,
    /// Values from one picture to the next, and which pictures these are.
    pub(crate) stride: usize,
    pub(crate) images: Range<usize>,
    /// Blocks of input channels.
    pub(crate) blocks: usize,
    /// What the panels' offsets count from.
    pub(crate) weights: *const f32,
    pub(crate) panels: &'a [Panel],
    pub(crate) pixels: Range<usize>,
    pub(crate) target: Target,
    /// A factor for each input channel; null for none. It goes into the weights, a part of a panel at a
    /// time: they are fewer than the pixels' values, and the part stays in the first caches.
    pub(crate) scale: *const f32,
}

/// Room for a part of the widest panel.
#[repr(align(64))]
struct ScaledPart {
    _values: [f32; REDUCTION * 4 * 16],
}

impl Product<'_> {
    /// # Safety
    /// The processor has the instruction set of `S`; the pointers reach as far as the extents say.
    #[inline(always)]
    pub(crate) unsafe fn run<S: Simd>(&self) {
        // SAFETY: the caller vouches for the extents; a part of a panel is no longer than the room for a
        // scaled one.
        unsafe {
            let mut room = MaybeUninit::<ScaledPart>::uninit();
            let room = room.as_mut_ptr().cast::<f32>();
            for part in reduction_parts::<S>(self.blocks) {
                for (index, panel) in self.panels.iter().enumerate() {
                    let from = part_of::<S>(self.weights, panel, part.blocks.start);
                    let next = after::<S>(self.weights, self.panels, index, &part);
                    let from = if self.scale.is_null() {
                        from
                    } else {
                        let channels = part.blocks.len() * S::LANES;
                        let scale = self.scale.add(part.blocks.start * S::LANES);
                        scale_rows::<S>(from, scale, [channels, panel.vectors], room);
                        room.cast_const()
                    };
                    // What fits the registers: sums, one row of weights, one broadcast value.
                    match (S::REGISTERS, panel.vectors) {
                        (32, 4) => self.panel::<S, 6, 4>(panel, &part, from, next),
                        (32, 3) => self.panel::<S, 9, 3>(panel, &part, from, next),
                        (32, 2) => self.panel::<S, 14, 2>(panel, &part, from, next),
                        (32, 1) => self.panel::<S, 16, 1>(panel, &part, from, next),
                        (_, 2) => self.panel::<S, 6, 2>(panel, &part, from, next),
                        _ => self.panel::<S, 12, 1>(panel, &part, from, next),
                    }
                }
            }
        }
    }

    /// # Safety
    /// As for [`Product::run`]; `V` is the panel's width, `weights` its weights from the part on.
    #[inline(always)]
    unsafe fn panel<S: Simd, const P: usize, const V: usize>(
        &self,
        panel: &Panel,
        part: &Part,
        weights: *const f32,
        next: *const f32,
    ) {
        // SAFETY: what the caller vouches for is passed on.
        unsafe {
            let tiles = self.images.len() * self.pixels.len().div_ceil(P);
            let mut ahead = Ahead::new::<S>(next, [part.blocks.len(), V, tiles]);
            for image in self.images.clone() {
                self.panel_of::<S, P, V>(panel, part, weights, &mut ahead, image);
            }
        }
    }

    /// One picture's pixels.
    ///
    /// # Safety
    /// As for [`Product::panel`]; `image` is one of the product's.
    #[inline(always)]
    unsafe fn panel_of<S: Simd, const P: usize, const V: usize>(
        &self,
        panel: &Panel,
        part: &Part,
        weights: *const f32,
        ahead: &mut Ahead,
        image: usize,
    ) {
        // SAFETY: whole tiles lie inside the pixels; in the rest, pixels that do not exist are the last one
        // again.
        unsafe {
            let input = self
                .input
                .add(image * self.stride + part.blocks.start * self.plane);
            let mut pixel = self.pixels.start;
            while pixel + P <= self.pixels.end {
                let place = self.target.place::<S>(panel, part, [image, pixel], P);
                let mut sums = start::<S, P, V>(&place);
                let mut weights = weights;
                let mut from = input.add(pixel * S::LANES);
                for _ in part.blocks.clone() {
                    let mut pixels = [from; P];
                    for (m, pixel) in pixels.iter_mut().enumerate() {
                        *pixel = from.add(m * S::LANES);
                    }
                    ahead.fetch::<S, V>();
                    reduce_block::<S, P, V>(&mut sums, pixels, &mut weights);
                    from = from.wrapping_add(self.plane);
                }
                store::<S, P, V>(&sums, &place);
                pixel += P;
            }
            let rest = self.pixels.end - pixel;
            if rest > 0 {
                // Pixels that do not exist are the last one again.
                let place = self.target.place::<S>(panel, part, [image, pixel], rest);
                let mut sums = start::<S, P, V>(&place);
                let mut weights = weights;
                let mut pixels = [input; P];
                for (m, from) in pixels.iter_mut().enumerate() {
                    *from = input.add((pixel + m.min(rest - 1)) * S::LANES);
                }
                for _ in part.blocks.clone() {
                    ahead.fetch::<S, V>();
                    reduce_block::<S, P, V>(&mut sums, pixels, &mut weights);
                    for from in &mut pixels {
                        *from = from.wrapping_add(self.plane);
                    }
                }
                store::<S, P, V>(&sums, &place);
            }
        }
    }
}

/// Rows of weights, `vectors` wide, each times its channel's factor.
///
/// # Safety
/// As for [`Simd`]; `from` and `to` reach `rows · vectors` vectors, `scale` `rows` values.
#[inline(always)]
unsafe fn scale_rows<S: Simd>(
    from: *const f32,
    scale: *const f32,
    [rows, vectors]: [usize; 2],
    to: *mut f32,
) {
    // SAFETY: every row is below `rows`.
    unsafe {
        for row in 0..rows {
            let factor = S::broadcast(scale.add(row));
            for vector in row * vectors..(row + 1) * vectors {
                let weights = S::load(from.add(vector * S::LANES));
                S::store(to.add(vector * S::LANES), S::mul(weights, factor));
            }
        }
    }
}

/// The weights that are used after this part of a panel: the same of the next panel, or the first panel's next part.
///
/// # Safety
/// The panels' weights start at `weights`; `index` and `part` are of these panels.
#[inline(always)]
pub(crate) unsafe fn after<S: Simd>(
    weights: *const f32,
    panels: &[Panel],
    index: usize,
    part: &Part,
) -> *const f32 {
    // SAFETY: the start of a part of one of the panels.
    unsafe {
        match panels.get(index + 1) {
            Some(next) => part_of::<S>(weights, next, part.blocks.start),
            None if !part.is_last => part_of::<S>(weights, &panels[0], part.blocks.end),
            None => part_of::<S>(weights, &panels[index], part.blocks.start),
        }
    }
}

/// Where a panel's weights for the reduction from `block` on start.
///
/// # Safety
/// The panel's weights lie at its offset from `weights`, `block` blocks of the reduction among them.
#[inline(always)]
pub(crate) unsafe fn part_of<S: Simd>(
    weights: *const f32,
    panel: &Panel,
    block: usize,
) -> *const f32 {
    // SAFETY: inside the panel, as the caller vouches.
    unsafe { weights.add(panel.offset + block * S::LANES * panel.vectors * S::LANES) }
}
