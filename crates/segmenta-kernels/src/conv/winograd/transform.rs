//! Tiles of a map to values that the products take, and products to tiles of a map.

use std::hint::select_unpredictable;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::filter::{FilterKind, MOST};
use super::tiles::TileClass;
use crate::activation::clamp;
use crate::conv::blocked::ZEROS;
use crate::conv::gemm::Epilogue;
use crate::map::Map;
use crate::simd::Simd;

/// Values of all products of some tiles: `[product][block of channels][tile][lanes]`.
#[derive(Clone, Copy)]
pub(super) struct Products {
    pub(super) start: *mut f32,
    /// Values from one product to the next.
    pub(super) stride: usize,
    /// Values from one block of channels to the next.
    pub(super) plane: usize,
}

/// A map that tiles are written to.
#[derive(Clone, Copy)]
pub(super) struct Output {
    pub(super) start: *mut f32,
    pub(super) width: usize,
    /// Values from one block of channels to the next.
    pub(super) plane: usize,
    /// Values from one picture to the next.
    pub(super) image_stride: usize,
    pub(super) epilogue: Epilogue,
}

/// Tiles of one block of channels; the first of them is tile 0 of the products.
pub(super) struct Tiles<'a> {
    pub(super) class: &'a TileClass,
    pub(super) dilation: [usize; 2],
    pub(super) block: usize,
    pub(super) tiles: Range<usize>,
}

/// Vectors of one tile, in memory between the two axes.
#[repr(align(64))]
struct Square<V>(MaybeUninit<[[V; MOST]; MOST]>);

impl<V: Copy> Square<V> {
    #[inline(always)]
    fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// # Safety
    /// `row` and `column` are below [`MOST`].
    #[inline(always)]
    unsafe fn at(&mut self, row: usize, column: usize) -> *mut V {
        // SAFETY: inside the square.
        unsafe { self.0.as_mut_ptr().cast::<V>().add(row * MOST + column) }
    }
}

impl Tiles<'_> {
    /// `B d Bᵀ` of each tile. `filters` are the class's: a constant where speed asks for it.
    ///
    /// # Safety
    /// As for [`Simd`]; `to` has room for the block and the tiles.
    #[inline(always)]
    pub(super) unsafe fn read<S: Simd>(
        &self,
        filters: [FilterKind; 2],
        from: Map<'_>,
        to: Products,
    ) {
        // SAFETY: a pixel outside the map is read from `ZEROS`; of the square only what was written is read.
        unsafe {
            let [down, right] = filters;
            let (height, width) = (from.shape().height as isize, from.shape().width as isize);
            let [dy, dx] = self.dilation.map(|d| d as isize);
            let lanes = S::LANES as isize;
            let mut to_tile = to.start.wrapping_add(self.block * to.plane);
            let mut walk = self.class.from(self.tiles.start);
            let mut half = Square::<S::V>::new();
            for _ in self.tiles.clone() {
                let (image, row, column) = walk.next();
                let block = from.block(image, self.block);
                let (top, left) = (row.from, column.from);
                let bottom = top + (down.inputs() as isize - 1) * dy;
                let end = left + (right.inputs() as isize - 1) * dx;
                let inside = top >= 0 && left >= 0 && bottom < height && end < width;

                // Down the columns, then right along the rows.
                for c in 0..right.inputs() {
                    let x = left + c as isize * dx;
                    let first = block.wrapping_offset((top * width + x) * lanes);
                    let mut pixels = [first; MOST];
                    for r in 0..down.inputs() {
                        pixels[r] = first.wrapping_offset(r as isize * dy * width * lanes);
                    }
                    if !inside {
                        // What lies outside the map is zero.
                        let column_there = (0..width).contains(&x);
                        for r in 0..down.inputs() {
                            let there =
                                column_there & (0..height).contains(&(top + r as isize * dy));
                            pixels[r] = select_unpredictable(there, pixels[r], ZEROS.as_ptr());
                        }
                    }
                    let mut line = [S::zero(); MOST];
                    for r in 0..down.inputs() {
                        line[r] = S::load(pixels[r]);
                    }
                    let line = down.input::<S>(&line);
                    for r in 0..down.products() {
                        half.at(r, c).write(line[r]);
                    }
                }
                for r in 0..down.products() {
                    let mut line = [S::zero(); MOST];
                    for c in 0..right.inputs() {
                        line[c] = half.at(r, c).read();
                    }
                    let line = right.input::<S>(&line);
                    let to_row = to_tile.add(r * right.products() * to.stride);
                    for c in 0..right.products() {
                        S::store(to_row.add(c * to.stride), line[c]);
                    }
                }
                to_tile = to_tile.add(S::LANES);
            }
        }
    }

    /// `Aᵀ o A` of each tile of the outputs' gradient: the gradient of its products.
    ///
    /// # Safety
    /// As for [`Simd`]; `to` has room for the block and the tiles.
    #[inline(always)]
    pub(super) unsafe fn read_gradient<S: Simd>(
        &self,
        filters: [FilterKind; 2],
        from: Map<'_>,
        to: Products,
    ) {
        // SAFETY: an output that the segment does not have is read from `ZEROS`; of the square only what was
        // written is read.
        unsafe {
            let [down, right] = filters;
            let [dy, dx] = self.dilation;
            let width = from.shape().width;
            let mut to_tile = to.start.wrapping_add(self.block * to.plane);
            let mut walk = self.class.from(self.tiles.start);
            let mut half = Square::<S::V>::new();
            for _ in self.tiles.clone() {
                let (image, row, column) = walk.next();
                let block = from.block(image, self.block);
                for c in 0..right.outputs() {
                    let column_there = c < column.count;
                    let mut line = [S::zero(); MOST];
                    for r in 0..down.outputs() {
                        let pixel = (row.start + r * dy) * width + column.start + c * dx;
                        let pixel = block.wrapping_add(pixel * S::LANES);
                        let row_there = r < row.count;
                        let there = column_there & row_there;
                        line[r] = S::load(select_unpredictable(there, pixel, ZEROS.as_ptr()));
                    }
                    let line = down.gradient::<S>(&line);
                    for r in 0..down.products() {
                        half.at(r, c).write(line[r]);
                    }
                }
                for r in 0..down.products() {
                    let mut line = [S::zero(); MOST];
                    for c in 0..right.outputs() {
                        line[c] = half.at(r, c).read();
                    }
                    let line = right.gradient::<S>(&line);
                    let to_row = to_tile.add(r * right.products() * to.stride);
                    for c in 0..right.products() {
                        S::store(to_row.add(c * to.stride), line[c]);
                    }
                }
                to_tile = to_tile.add(S::LANES);
            }
        }
    }

    /// `A m Aᵀ` of each tile, with bias, residual and non-linearity.
    ///
    /// # Safety
    /// As for [`Simd`]; `from` holds the block and the tiles.
    #[inline(always)]
    pub(super) unsafe fn write<S: Simd>(
        &self,
        filters: [FilterKind; 2],
        from: Products,
        to: &Output,
    ) {
        // SAFETY: only outputs that the segments have are written, and read of the map to add; of the square
        // only what was written is read.
        unsafe {
            let [down, right] = filters;
            let [dy, dx] = self.dilation;
            let bias = S::load(to.epilogue.bias.add(self.block * S::LANES));
            let bounds = to.epilogue.activation.bounds();
            let [low, high] = bounds.unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
            let (low, high) = (S::splat(low), S::splat(high));
            let has_residual = !to.epilogue.residual.is_null();
            let mut from_tile = from.start.add(self.block * from.plane);
            let mut walk = self.class.from(self.tiles.start);
            let mut half = Square::<S::V>::new();
            for _ in self.tiles.clone() {
                let (image, row, column) = walk.next();
                for c in 0..right.products() {
                    let mut line = [S::zero(); MOST];
                    for r in 0..down.products() {
                        line[r] = S::load(from_tile.add((r * right.products() + c) * from.stride));
                    }
                    let line = down.output::<S>(&line);
                    for r in 0..down.outputs() {
                        half.at(r, c).write(line[r]);
                    }
                }
                from_tile = from_tile.add(S::LANES);

                let block = to
                    .start
                    .add(image * to.image_stride + self.block * to.plane);
                let residual = to.epilogue.residual.wrapping_add(
                    image * to.epilogue.residual_stride + self.block * to.epilogue.residual_plane,
                );
                for r in 0..row.count {
                    let mut line = [S::zero(); MOST];
                    for c in 0..right.products() {
                        line[c] = half.at(r, c).read();
                    }
                    let mut line = right.output::<S>(&line);
                    let pixel = (row.start + r * dy) * to.width + column.start;
                    if has_residual {
                        for c in 0..right.outputs() {
                            if c < column.count {
                                let at = residual.add((pixel + c * dx) * S::LANES);
                                line[c] = S::add(line[c], S::load(at));
                            }
                        }
                    }
                    for c in 0..right.outputs() {
                        if c < column.count {
                            let at = block.add((pixel + c * dx) * S::LANES);
                            S::store(at, clamp::<S>(S::add(line[c], bias), low, high));
                            if bounds.is_none() {
                                to.epilogue.activation.in_place::<S>(at, 1);
                            }
                        }
                    }
                }
            }
        }
    }
}
