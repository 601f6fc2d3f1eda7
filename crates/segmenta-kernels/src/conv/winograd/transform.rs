//! Tiles of a map to values that the products take, and products to tiles of a map.

use std::ops::Range;

use super::filter::{FilterKind, MOST};
use super::tiles::TileClass;
use crate::activation::clamp;
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
    /// Values from one picture of the residual to the next.
    pub(super) residual_image_stride: usize,
}

/// Tiles of one block of channels; the first of them is tile 0 of the products.
pub(super) struct Tiles<'a> {
    pub(super) class: &'a TileClass,
    pub(super) dilation: [usize; 2],
    pub(super) block: usize,
    pub(super) tiles: Range<usize>,
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
        let [down, right] = filters;
        let (height, width) = (from.shape().height as isize, from.shape().width as isize);
        let [dy, dx] = self.dilation.map(|d| d as isize);
        let mut to_tile = to.start.add(self.block * to.plane);
        for tile in self.tiles.clone() {
            let (image, row, column) = self.class.tile(tile);
            let block = from.block(image, self.block);
            let at = |y: isize, x: isize| block.offset((y * width + x) * S::LANES as isize);
            let (top, left) = (row.from, column.from);
            let bottom = top + (down.inputs() as isize - 1) * dy;
            let end = left + (right.inputs() as isize - 1) * dx;
            let whole = top >= 0 && left >= 0 && bottom < height && end < width;

            // Down the columns, then right along the rows.
            let mut half = [[S::zero(); MOST]; MOST];
            for c in 0..right.inputs() {
                let x = left + c as isize * dx;
                let mut line = [S::zero(); MOST];
                if whole {
                    for r in 0..down.inputs() {
                        line[r] = S::load(at(top + r as isize * dy, x));
                    }
                } else if (0..width).contains(&x) {
                    for r in 0..down.inputs() {
                        let y = top + r as isize * dy;
                        if (0..height).contains(&y) {
                            line[r] = S::load(at(y, x));
                        }
                    }
                }
                let line = down.input::<S>(&line);
                for r in 0..down.products() {
                    half[r][c] = line[r];
                }
            }
            for r in 0..down.products() {
                let line = right.input::<S>(&half[r]);
                for c in 0..right.products() {
                    S::store(to_tile.add((r * right.products() + c) * to.stride), line[c]);
                }
            }
            to_tile = to_tile.add(S::LANES);
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
        let [down, right] = filters;
        let [dy, dx] = self.dilation;
        let bias = S::load(to.epilogue.bias.add(self.block * S::LANES));
        let bounds = to.epilogue.activation.bounds();
        let [low, high] = bounds.unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
        let (low, high) = (S::splat(low), S::splat(high));
        let mut from_tile = from.start.add(self.block * from.plane);
        for tile in self.tiles.clone() {
            let (image, row, column) = self.class.tile(tile);
            let mut half = [[S::zero(); MOST]; MOST];
            for c in 0..right.products() {
                let mut line = [S::zero(); MOST];
                for r in 0..down.products() {
                    line[r] = S::load(from_tile.add((r * right.products() + c) * from.stride));
                }
                let line = down.output::<S>(&line);
                for r in 0..down.outputs() {
                    half[r][c] = line[r];
                }
            }
            from_tile = from_tile.add(S::LANES);

            let image_offset = image * to.image_stride + self.block * to.plane;
            let residual = to.epilogue.residual.wrapping_add(
                image * to.residual_image_stride + self.block * to.epilogue.residual_plane,
            );
            for r in 0..down.outputs() {
                if r >= row.count {
                    break;
                }
                let line = right.output::<S>(&half[r]);
                let pixel = (row.start + r * dy) * to.width + column.start;
                for c in 0..right.outputs() {
                    if c >= column.count {
                        break;
                    }
                    let offset = (pixel + c * dx) * S::LANES;
                    let mut sum = S::add(line[c], bias);
                    if !to.epilogue.residual.is_null() {
                        sum = S::add(sum, S::load(residual.wrapping_add(offset)));
                    }
                    let at = to.start.add(image_offset + offset);
                    S::store(at, clamp::<S>(sum, low, high));
                    if bounds.is_none() {
                        to.epilogue.activation.in_place::<S>(at, 1);
                    }
                }
            }
        }
    }
}
