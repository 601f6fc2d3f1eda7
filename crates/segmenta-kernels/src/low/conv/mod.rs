//! Convolution of low-precision maps: what it is, and which file does it.
//!
//! One product serves all windows: the reduction runs over a table of byte offsets (planes of the input times taps of
//! the window), so that 1×1, k×k, stride and dilation differ in the table and in where a window begins. The halo is
//! the padding. `weights.rs` says in which order numbers lie, `registers.rs` and `tiles.rs` multiply, `epilogue.rs`
//! makes of sums what is stored, `planes.rs` turns a last layer's into the network's result.

mod depthwise;
mod epilogue;
mod planes;
mod registers;
mod task;
mod tiles;
mod weights;

use self::epilogue::{Epilogue, Residual, Target};
use self::planes::{Planes, Waiting};
use self::task::Task;
use self::weights::{Values, Weights};
use super::element::Element;
use super::engine::Engine;
use super::layout::LowLayout;
use super::map::{LowMap, LowMapMut, Places, one_engine};
use super::narrow::GROUP;
use crate::activation::Activation;
use crate::conv::ConvSpec;
use crate::map::{MapMut, MapShape, assert_same};
use crate::shared::{in_parallel, part as part_of, parts};

/// A convolution's weights `[out, in, height, width]` and bias `[out]`, which is f32; empty for none.
#[derive(Clone, Copy, Debug)]
pub enum LowKernel<'a> {
    /// Rounded to bf16 when they are packed: for a bf16 input.
    Float {
        /// Row-major kernel.
        weights: &'a [f32],
        /// A value an output channel, or none.
        bias: &'a [f32],
    },
    /// For an 8-bit input: a weight is `scale · number`, of its output channel.
    Int8 {
        /// Row-major kernel.
        weights: &'a [i8],
        /// A scale an output channel.
        scales: &'a [f32],
        /// A value an output channel, or none: a real number, not a quantised one.
        bias: &'a [f32],
    },
}

/// What a convolution reads and writes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvElements {
    /// bf16 or u8.
    pub input: Element,
    /// `None` for a blocked f32 map.
    pub output: Option<Element>,
    /// What a residual sum reads, if there is one; any element.
    pub residual: Option<Element>,
}

/// A convolution with its weights packed for one engine, bias, residual, non-linearity and scales included.
#[derive(Debug)]
pub struct LowConvolution {
    engine: Engine,
    spec: ConvSpec,
    elements: ConvElements,
    packed: Packed,
    epilogue: Epilogue,
}

#[derive(Debug)]
enum Packed {
    Dense(Weights),
    Depthwise(depthwise::Packed),
}

/// What the epilogue needs to know of the kernel.
pub(crate) struct KernelNumbers<'a> {
    scales: &'a [f32],
    bias: &'a [f32],
    /// Sums of a channel's whole weights.
    sums: &'a [i64],
}

/// The longest reduction whose sums of bytes fit 32 bits whatever is multiplied: 255 · 128 each.
pub const LONGEST_SUM: usize = i32::MAX as usize / (255 * 128);

impl LowConvolution {
    /// Whether there is a kernel for it: one group or a group a channel, a bf16 or u8 input, and of bytes at most
    /// [`LONGEST_SUM`] products a sum, 514 where channels are by themselves. Other groups stay in f32.
    pub fn supports(spec: &ConvSpec, input: Element) -> bool {
        let taps = spec.kernel[0] * spec.kernel[1];
        let fits = if spec.is_depthwise() {
            taps <= depthwise::MOST_TAPS
        } else {
            spec.in_channels * taps <= LONGEST_SUM
        };
        (spec.groups == 1 || spec.is_depthwise())
            && match input {
                Element::Bf16 => true,
                Element::U8(_) => fits,
                Element::I8(_) => false,
            }
    }

    /// Packs a convolution.
    ///
    /// # Panics
    /// Where [`LowConvolution::supports`] says no, if an extent is 0, the slices do not have the lengths that `spec`
    /// asks for, the kernel is not one for the input's element, or an element is no quantisation.
    pub fn new(
        engine: Engine,
        spec: ConvSpec,
        kernel: LowKernel<'_>,
        elements: ConvElements,
        activation: Activation,
    ) -> Self {
        spec.check();
        assert!(
            Self::supports(&spec, elements.input),
            "no kernel for {spec:?} of {elements:?}"
        );
        for element in [Some(elements.input), elements.output, elements.residual] {
            element.into_iter().for_each(Element::check);
        }
        let outs = spec.out_channels;
        let ones = vec![1.0; outs];
        let (values, scales, bias, sums) = match kernel {
            LowKernel::Float { weights, bias } => {
                assert!(
                    elements.input == Element::Bf16,
                    "f32 weights for {elements:?}"
                );
                (Values::Float(weights), ones.as_slice(), bias, Vec::new())
            }
            LowKernel::Int8 {
                weights,
                scales,
                bias,
            } => {
                assert!(
                    elements.input != Element::Bf16,
                    "i8 weights for {elements:?}"
                );
                let of_a_channel = weights.len() / outs;
                let sum = |channel: &[i8]| channel.iter().map(|&w| i64::from(w)).sum();
                let sums = weights.chunks_exact(of_a_channel.max(1)).map(sum).collect();
                (Values::Int8(weights), scales, bias, sums)
            }
        };
        let len = match values {
            Values::Float(values) => values.len(),
            Values::Int8(values) => values.len(),
        };
        assert_eq!(len, spec.weights_len(), "kernel of {spec:?}");
        assert_eq!(scales.len(), outs, "scales of {spec:?}");
        assert!([0, outs].contains(&bias.len()), "bias of {spec:?}");
        let packed = if spec.is_depthwise() {
            Packed::Depthwise(depthwise::Packed::new(&spec, elements.input, &values))
        } else {
            Packed::Dense(Weights::new(
                &spec,
                elements.input,
                &values,
                engine.has_tiles(),
            ))
        };
        let numbers = KernelNumbers {
            scales,
            bias,
            sums: &sums,
        };
        Self {
            engine,
            spec,
            elements,
            packed,
            epilogue: Epilogue::new(&elements, &numbers, activation),
        }
    }

    /// What it is.
    pub fn spec(&self) -> &ConvSpec {
        &self.spec
    }

    /// What it reads and writes.
    pub fn elements(&self) -> &ConvElements {
        &self.elements
    }

    /// The halo that its input needs at least.
    pub fn halo(&self) -> [usize; 2] {
        self.spec.padding
    }

    /// Bytes of packed weights.
    pub fn weight_bytes(&self) -> usize {
        match &self.packed {
            Packed::Dense(weights) => weights.bytes(),
            Packed::Depthwise(weights) => weights.bytes(),
        }
    }

    /// `output = activation(convolution(input) + bias + residual)`.
    ///
    /// # Panics
    /// If a map is of another engine, or its element not the one that the convolution was packed for, shapes do not
    /// fit, the input's halo is smaller than the padding or its pixels have another size than those of a map of its
    /// own ([`LowLayout::part`]), or there is a residual and none was packed for or the other way round.
    pub fn run(&self, input: LowMap<'_>, output: &mut LowMapMut<'_>, residual: Option<LowMap<'_>>) {
        one_engine([self.engine, input.engine(), output.engine()]);
        let layout = output.layout();
        self.check(input, layout.shape(), Some(layout.element()), residual);
        let places = output.places();
        self.tasks(
            input,
            layout.shape(),
            residual,
            Some(places),
            None,
            |image| {
                Target::Low {
                    // SAFETY: a picture of the map; tasks write pixels and channels of their own.
                    start: unsafe { places.image(image) },
                    layout,
                }
            },
        );
    }

    /// The same into a blocked f32 map: where full precision begins again.
    ///
    /// # Panics
    /// As [`LowConvolution::run`].
    pub fn run_to_f32(
        &self,
        input: LowMap<'_>,
        output: &mut MapMut<'_>,
        residual: Option<LowMap<'_>>,
    ) {
        one_engine([self.engine, input.engine()]);
        let (shape, lanes, blocks) = (output.shape(), output.isa().lanes(), output.blocks());
        self.check(input, shape, None, residual);
        let (plane, stride) = (output.plane(), output.image_stride());
        let shared = output.shared();
        self.tasks(input, shape, residual, None, None, |image| {
            Target::Blocked {
                // SAFETY: as in `run`.
                start: unsafe { shared.at(image * stride) },
                first: 0,
                plane,
                lanes,
                blocks,
            }
        });
    }

    /// # Panics
    /// As [`LowConvolution::run`].
    fn check(
        &self,
        input: LowMap<'_>,
        output: MapShape,
        element: Option<Element>,
        residual: Option<LowMap<'_>>,
    ) {
        let (layout, spec) = (input.layout(), &self.spec);
        let given = ConvElements {
            input: layout.element(),
            output: element,
            residual: residual.map(|residual| residual.layout().element()),
        };
        assert_eq!(self.elements, given, "elements of another convolution");
        assert_eq!(layout.shape().channels, spec.in_channels, "channels in");
        assert_eq!(
            spec.output(layout.shape()),
            Some(output),
            "output of {spec:?}"
        );
        let natural = LowLayout::channels_of_a_pixel(spec.in_channels, layout.element());
        assert_eq!(layout.block(), natural, "channels of a pixel of {layout:?}");
        let fits = (0..2).all(|axis| layout.halo()[axis] >= spec.padding[axis]);
        assert!(fits, "a halo of {:?} for {spec:?}", layout.halo());
        if let Some(residual) = residual {
            one_engine([self.engine, residual.engine()]);
            assert_same(residual.layout().shape(), output);
        }
    }

    /// Cuts the work into tasks; what is computed does not depend on how. Values go to `target`, or to planes if there
    /// are any.
    fn tasks(
        &self,
        input: LowMap<'_>,
        output: MapShape,
        residual: Option<LowMap<'_>>,
        places: Option<Places<'_>>,
        planes: Option<Planes<'_>>,
        target: impl Fn(usize) -> Target + Sync,
    ) {
        let layout = input.layout();
        let residual = |image: usize| {
            residual.map(|residual| Residual {
                start: residual.image(image),
                layout: residual.layout(),
            })
        };
        match &self.packed {
            Packed::Dense(weights) => {
                let [chunks, slices] = match planes {
                    None => Self::cuts(weights, &layout, output),
                    Some(_) => Planes::cuts(output),
                };
                let per_image = chunks * slices;
                let steps = task::offsets(weights, &layout, &self.spec);
                in_parallel(output.batch * per_image, |index| {
                    let (image, part) = (index / per_image, index % per_image);
                    if let Some(places) = places {
                        self.fill(&places, image, part, per_image);
                    }
                    // Slices of channels outermost: threads that are neighbours in time share weights.
                    let pixels = run_of(output.pixels(), chunks, part % chunks);
                    let mut waiting = planes.map(|planes| planes.waiting(image, &pixels));
                    let task = Task {
                        convolution: self,
                        weights,
                        steps: &steps,
                        input: input.image(image),
                        layout,
                        output,
                        target: waiting
                            .as_mut()
                            .map_or_else(|| target(image), Waiting::target),
                        residual: residual(image),
                        pixels,
                        panels: part_of(weights.panels.len(), slices, part / chunks),
                    };
                    if self.engine.has_tiles() {
                        self.engine.tiles(task);
                    } else {
                        self.engine.products(self.elements.input, task);
                    }
                    if let Some(waiting) = waiting {
                        waiting.turn(self.engine);
                    }
                });
            }
            Packed::Depthwise(packed) => {
                let together = packed.groups();
                let groups = self.spec.out_channels.div_ceil(GROUP * together);
                let cuts = parts(output.height, 8).min(output.height);
                let per_image = groups * cuts;
                in_parallel(output.batch * per_image, |index| {
                    let (image, part) = (index / per_image, index % per_image);
                    if let Some(places) = places {
                        self.fill(&places, image, part, per_image);
                    }
                    self.engine.vectors(depthwise::Rows {
                        convolution: self,
                        packed,
                        epilogue: &self.epilogue,
                        input: input.image(image),
                        layout,
                        output,
                        target: target(image),
                        residual: residual(image),
                        group: part / cuts * together,
                        rows: part_of(output.height, cuts, part % cuts),
                    });
                });
            }
        }
    }

    /// Into how many runs of pixels and slices of panels a picture is cut: a run's input stays in the second cache
    /// while all panels pass by, and there are enough tasks for all threads.
    fn cuts(weights: &Weights, layout: &LowLayout, output: MapShape) -> [usize; 2] {
        const LEAST_PIXELS: usize = 96;
        let pixels = output.pixels();
        let area = layout.shape().pixels().div_ceil(pixels).max(1);
        let planes = layout.planes().div_ceil(weights.parts().len());
        let of_a_pixel = planes * layout.pixel() * area;
        let wanted = (4 * rayon::current_num_threads()).div_ceil(output.batch);
        let most = pixels.div_ceil(LEAST_PIXELS);
        let chunks = (pixels * of_a_pixel)
            .div_ceil(weights.run_bytes())
            .max(wanted)
            .min(most);
        let slices = wanted.div_ceil(chunks).min(weights.panels.len());
        [chunks, slices]
    }

    /// A task's share of what no window computes: the halo, and groups of channels that fill pixels up.
    fn fill(&self, places: &Places<'_>, image: usize, part: usize, parts: usize) {
        let layout = *places.layout();
        let shape = layout.shape();
        for plane in (part..layout.planes()).step_by(parts) {
            // SAFETY: a plane's halo is written by the one task that has it; no other writes a halo.
            unsafe { places.clear_halo(image, plane) };
        }
        let (groups, values) = layout.groups();
        let first = self.spec.out_channels.div_ceil(GROUP);
        if first >= groups {
            return;
        }
        let bytes = values * layout.element().bytes();
        for row in part_of(shape.height, parts, part) {
            for (group, column) in
                (first..groups).flat_map(|g| (0..shape.width).map(move |x| (g, x)))
            {
                let at = layout.channel(group * GROUP) + layout.at(row, column);
                // SAFETY: a group of a pixel of this task's rows, which no panel has.
                unsafe {
                    let to = places.image(image).add(at);
                    to.write_bytes(layout.element().zero_byte(), bytes);
                }
            }
        }
    }
}

/// Pixels that fill register tiles of every height.
const WHOLE: usize = 24;

/// Pixels of one of so many runs, of which all but the last are whole register tiles.
fn run_of(pixels: usize, runs: usize, index: usize) -> std::ops::Range<usize> {
    let whole = part_of(pixels.div_ceil(WHOLE), runs, index);
    whole.start * WHOLE..(whole.end * WHOLE).min(pixels)
}

#[cfg(test)]
mod tests;
