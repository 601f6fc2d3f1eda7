//! Tiles: eight registers of up to 16 rows of 64 bytes, and products of whole tiles.
//!
//! AMX has them (`amx.rs`); `emulated.rs` does the same in plain Rust, refuses what the processor would refuse, and so
//! proves the driver on every machine.

#[cfg(target_arch = "x86_64")]
mod amx;
mod emulated;

#[cfg(target_arch = "x86_64")]
pub(crate) use amx::Amx;
pub(crate) use emulated::Emulated;

/// Rows of a tile.
pub(crate) const ROWS: usize = 16;

/// Which tiles are pixels and which weights; the others are sums.
pub(crate) const PIXELS: [usize; 2] = [4, 5];
pub(crate) const WEIGHTS: [usize; 2] = [6, 7];

/// The shapes of the tiles: pixels are `pixels` rows of `runs` times four bytes, weights `runs` rows of 16 channels,
/// sums `pixels` rows of 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TileShape {
    /// 1 to 16.
    pub(crate) pixels: usize,
    /// 1 to 16.
    pub(crate) runs: usize,
}

impl TileShape {
    /// Rows and bytes of a row of a tile.
    pub(crate) fn of(self, tile: usize) -> [usize; 2] {
        if WEIGHTS.contains(&tile) {
            [self.runs, 64]
        } else if PIXELS.contains(&tile) {
            [self.pixels, 4 * self.runs]
        } else {
            [self.pixels, 64]
        }
    }
}

/// A file of eight tiles, one a thread.
///
/// # Safety
/// The processor has tiles and the system permits them; between `configure` and `release` nothing else on this thread
/// uses them. A load reads, and a store writes, the rows of the tile's shape, `stride` bytes apart.
pub(crate) trait Tiles {
    /// Gives the tiles their shapes and makes them zero.
    unsafe fn configure(shape: TileShape);
    /// Forgets the tiles, so that the system need not save them.
    unsafe fn release();
    unsafe fn zero<const T: usize>();
    unsafe fn load<const T: usize>(from: *const u8, stride: usize);
    unsafe fn store<const T: usize>(to: *mut u8, stride: usize);
    /// Adds products of u8 pixels and i8 weights to i32 sums.
    unsafe fn add_bytes<const SUMS: usize, const PIXELS: usize, const WEIGHTS: usize>();
    /// Adds products of bf16 numbers to f32 sums.
    unsafe fn add_bf16<const SUMS: usize, const PIXELS: usize, const WEIGHTS: usize>();
}
