//! Height and width as expressions of the input's height and width.
//!
//! Expressions are interned and brought to one normal form, so two sides that are equal for every
//! input (a strided 3×3 with padding and its 1×1 shortcut) have the same [`Side`]. What a builder
//! may add or concatenate is decided without a number.

/// A symbolic height or width: an index into the [`Sides`] of its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Side(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expr {
    Height,
    Width,
    Fixed(usize),
    /// `floor((of + add) / stride)`.
    Window {
        of: Side,
        add: i64,
        stride: usize,
    },
    /// `of · factor + add`.
    Stretch {
        of: Side,
        factor: usize,
        add: i64,
    },
    /// `one · other + add`.
    Area {
        one: Side,
        other: Side,
        add: i64,
    },
    /// `one + other`.
    Sum {
        one: Side,
        other: Side,
    },
}

/// All the sides of one graph.
#[derive(Clone, Debug)]
pub struct Sides(Vec<Expr>);

impl Default for Sides {
    fn default() -> Self {
        Self(vec![Expr::Height, Expr::Width])
    }
}

impl Sides {
    /// The input's height.
    pub const HEIGHT: Side = Side(0);
    /// The input's width.
    pub const WIDTH: Side = Side(1);

    fn intern(&mut self, expr: Expr) -> Side {
        let found = self.0.iter().position(|&e| e == expr);
        Side(found.unwrap_or_else(|| {
            self.0.push(expr);
            self.0.len() - 1
        }) as u32)
    }

    /// A side that is the same for every input.
    pub fn fixed(&mut self, pixels: usize) -> Side {
        self.intern(Expr::Fixed(pixels))
    }

    /// The side of a map after a window of `kernel` (spread by `dilation`) has gone over `of` in
    /// steps of `stride` with `padding` on both ends:
    /// `floor((of + 2·padding − dilation·(kernel − 1) − 1) / stride) + 1`.
    pub fn window(
        &mut self,
        of: Side,
        kernel: usize,
        stride: usize,
        padding: usize,
        dilation: usize,
    ) -> Side {
        self.padded_window(of, kernel, stride, 2 * padding, dilation)
    }

    /// As [`Sides::window`], with `zeros` on both ends together.
    pub fn padded_window(
        &mut self,
        of: Side,
        kernel: usize,
        stride: usize,
        zeros: usize,
        dilation: usize,
    ) -> Side {
        let reach = dilation as i64 * (kernel as i64 - 1) + 1;
        self.strided(of, zeros as i64 - reach + stride as i64, stride)
    }

    /// `floor((of + add) / stride)`, in its normal form.
    fn strided(&mut self, of: Side, add: i64, stride: usize) -> Side {
        let (mut of, mut add, mut stride) = (of, add, stride);
        if let Expr::Window {
            of: inner,
            add: inner_add,
            stride: inner_stride,
        } = self.0[of.0 as usize]
        {
            let both_shift = stride == 1 && inner_stride == 1;
            // ceil(ceil(x / a) / b) = ceil(x / (a·b))
            let both_ceil = add == stride as i64 - 1 && inner_add == inner_stride as i64 - 1;
            if both_shift {
                (of, add) = (inner, add + inner_add);
            } else if both_ceil {
                (of, stride) = (inner, stride * inner_stride);
                add = stride as i64 - 1;
            }
        }
        if stride == 1 && add == 0 {
            return of;
        }
        self.intern(Expr::Window { of, add, stride })
    }

    /// As [`Sides::window`], where the last window may hang over the edge:
    /// `⌈(of + 2·padding − kernel) / stride⌉ + 1`. PyTorch leaves a window out that would start beyond
    /// the map; with `padding + stride ≤ kernel` there is none.
    pub fn window_ceil(&mut self, of: Side, kernel: usize, stride: usize, padding: usize) -> Side {
        let add = 2 * padding as i64 - kernel as i64 + 2 * stride as i64 - 1;
        self.strided(of, add, stride)
    }

    /// `of · factor + add`: what a transposed convolution or an upsampling gives.
    pub fn stretch(&mut self, of: Side, factor: usize, add: i64) -> Side {
        if factor == 1 && add == 0 {
            return of;
        }
        self.intern(Expr::Stretch { of, factor, add })
    }

    /// `one · other + add`: how many pixels a map has, and some more.
    pub fn area(&mut self, one: Side, other: Side, add: i64) -> Side {
        let fixed = [one, other].map(|side| self.fixed_pixels(side));
        match fixed {
            [Some(a), Some(b)] if add >= 0 => return self.fixed(a * b + add as usize),
            [Some(1), None] if add == 0 => return other,
            [None, Some(1)] if add == 0 => return one,
            _ => {}
        }
        self.intern(Expr::Area { one, other, add })
    }

    /// `one + other`: the pixels of two rows.
    pub fn sum(&mut self, one: Side, other: Side) -> Side {
        match [one, other].map(|side| self.fixed_pixels(side)) {
            [Some(a), Some(b)] => self.fixed(a + b),
            _ => self.intern(Expr::Sum { one, other }),
        }
    }

    /// The value of every side for one input; a side that cannot be is zero or negative.
    pub(crate) fn values(&self, height: usize, width: usize) -> Vec<i64> {
        let mut values: Vec<i64> = Vec::with_capacity(self.0.len());
        for expr in &self.0 {
            values.push(match *expr {
                Expr::Height => height as i64,
                Expr::Width => width as i64,
                Expr::Fixed(n) => n as i64,
                // An expression is interned after what it is made of.
                Expr::Window { of, add, stride } => {
                    (values[of.0 as usize] + add).div_euclid(stride as i64)
                }
                Expr::Stretch { of, factor, add } => values[of.0 as usize] * factor as i64 + add,
                Expr::Area { one, other, add } => {
                    // No pixels either way are none, not some.
                    values[one.0 as usize].max(0) * values[other.0 as usize].max(0) + add
                }
                Expr::Sum { one, other } => values[one.0 as usize] + values[other.0 as usize],
            });
        }
        values
    }

    /// The pixels of a side that is the same for every input.
    pub(crate) fn fixed_pixels(&self, side: Side) -> Option<usize> {
        match self.0[side.index()] {
            Expr::Fixed(pixels) => Some(pixels),
            _ => None,
        }
    }

    /// The side in words: `H`, `⌈W/8⌉`, `⌊(H+3)/2⌋`.
    pub fn display(&self, side: Side) -> String {
        match self.0[side.0 as usize] {
            Expr::Height => "H".into(),
            Expr::Width => "W".into(),
            Expr::Fixed(n) => n.to_string(),
            Expr::Window { of, add, stride } => {
                let of = self.display(of);
                if stride == 1 {
                    format!("{of}{add:+}")
                } else if add == stride as i64 - 1 {
                    format!("⌈{of}/{stride}⌉")
                } else if add == 0 {
                    format!("⌊{of}/{stride}⌋")
                } else {
                    format!("⌊({of}{add:+})/{stride}⌋")
                }
            }
            Expr::Area { one, other, add } => {
                format!("({}·{}{add:+})", self.display(one), self.display(other))
            }
            Expr::Sum { one, other } => {
                format!("({}+{})", self.display(one), self.display(other))
            }
            Expr::Stretch { of, factor, add } => {
                let of = self.display(of);
                let times = if factor == 1 {
                    of
                } else {
                    format!("{factor}·{of}")
                };
                if add == 0 {
                    times
                } else {
                    format!("({times}{add:+})")
                }
            }
        }
    }
}

impl Side {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_sides_are_one_side() {
        let mut sides = Sides::default();
        let strided = sides.window(Sides::HEIGHT, 3, 2, 1, 1);
        let shortcut = sides.window(Sides::HEIGHT, 1, 2, 0, 1);
        assert_eq!(strided, shortcut);
        let dilated = sides.window(strided, 3, 1, 4, 4);
        assert_eq!(
            dilated, strided,
            "a padded dilated convolution keeps the size"
        );
        let quarter = sides.window(strided, 3, 2, 1, 1);
        let pooled = sides.window_ceil(strided, 2, 2, 0);
        assert_eq!(
            pooled, quarter,
            "a pool whose last window hangs over halves"
        );
    }

    #[test]
    fn strides_multiply_in_words() {
        let mut sides = Sides::default();
        let mut side = Sides::WIDTH;
        for _ in 0..3 {
            side = sides.window(side, 3, 2, 1, 1);
        }
        assert_eq!(sides.display(side), "⌈W/8⌉");
        let odd = sides.window(Sides::HEIGHT, 2, 2, 0, 1);
        assert_eq!(sides.display(odd), "⌊H/2⌋");
        let shrunk = sides.window(Sides::HEIGHT, 3, 1, 0, 1);
        assert_eq!(sides.display(shrunk), "H-2");
    }

    #[test]
    fn stretched_sides_in_words_and_numbers() {
        let mut sides = Sides::default();
        let half = sides.window(Sides::HEIGHT, 2, 2, 0, 1);
        let back = sides.stretch(half, 2, 0);
        assert_eq!(sides.display(back), "2·⌊H/2⌋");
        let deconvolved = sides.stretch(Sides::WIDTH, 3, -2);
        assert_eq!(sides.display(deconvolved), "(3·W-2)");
        assert_eq!(sides.stretch(half, 1, 0), half);
        let values = sides.values(7, 5);
        assert_eq!((values[back.index()], values[deconvolved.index()]), (6, 13));
    }

    proptest! {
        #![proptest_config(segmenta_properties::cases(256))]

        /// Normal forms change how a side is written, never its value.
        #[test]
        fn normal_form_keeps_the_value(
            size in 1_usize..300,
            windows in proptest::collection::vec((1_usize..8, 1_usize..4, 0_usize..6, 1_usize..4), 1..6),
        ) {
            let mut sides = Sides::default();
            let mut side = Sides::HEIGHT;
            let mut value = size as i64;
            for (kernel, stride, padding, dilation) in windows {
                side = sides.window(side, kernel, stride, padding, dilation);
                let reach = (dilation * (kernel - 1) + 1) as i64;
                value = (value + 2 * padding as i64 - reach).div_euclid(stride as i64) + 1;
                prop_assume!(value >= 1);
            }
            prop_assert_eq!(sides.values(size, 1)[side.index()], value);
        }
    }
}
