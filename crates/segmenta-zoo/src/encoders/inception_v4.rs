//! Inception-v4 (Szegedy et al. 2016, arXiv:1602.07261) as SMP has it: windows of 3×3 and pools padded,
//! so that maps halve evenly.

use segmenta_graph::{BatchNorm, Builder, Conv2d, Node, Pool2d, Scope};

use super::{Encoder, Family, Features, Site, Traits};

pub(crate) static FAMILY: Family = Family {
    name: "Inception-v4 (Szegedy et al. 2016)",
    entry: "features.0.conv.weight",
    encoders: &[Encoder::new("inceptionv4", encode)],
    traits: Traits {
        dilates: false,
        ..Traits::PLAIN
    },
};

const BATCH_NORM: BatchNorm = BatchNorm {
    eps: 1e-3,
    momentum: 0.1,
};

/// A convolution of a branch: height and width of its window, channels, stride.
pub(super) type Layer = ([usize; 2], usize, usize);

/// Convolutions one after the other, each with batch norm and ReLU.
pub(super) struct Inception<'a> {
    pub(super) g: &'a mut Builder,
}

impl Inception<'_> {
    pub(super) fn conv(
        &mut self,
        name: &Scope,
        x: Node,
        (window, channels, stride): Layer,
    ) -> Node {
        let conv = Conv2d::window(window, channels).stride(stride);
        self.g
            .conv_bn_relu(x, &(name / "conv"), &(name / "bn"), conv)
    }

    /// A branch: one convolution under the branch's own name, more under their numbers.
    pub(super) fn branch(&mut self, name: &Scope, x: Node, layers: &[Layer]) -> Node {
        if let [layer] = layers {
            return self.conv(name, x, *layer);
        }
        let numbered = layers.iter().enumerate();
        numbered.fold(x, |x, (i, layer)| self.conv(&(name / i), x, *layer))
    }

    /// Branches under `branch0` and on.
    pub(super) fn branches(&mut self, name: &Scope, x: Node, branches: &[&[Layer]]) -> Vec<Node> {
        let numbered = branches.iter().enumerate();
        numbered
            .map(|(i, layers)| self.branch(&(name / format!("branch{i}")), x, layers))
            .collect()
    }

    /// The mean of each pixel's surroundings, and a 1×1 convolution.
    pub(super) fn pooled_branch(&mut self, name: &Scope, x: Node, channels: usize) -> Node {
        let window = Pool2d::square(3).stride(1).padding(1);
        let mean = self.g.avg_pool(x, &(name / 0), window, false);
        self.conv(&(name / 1), mean, ([1, 1], channels, 1))
    }

    /// A pool that halves the map.
    pub(super) fn halve(&mut self, name: &Scope, x: Node) -> Node {
        let pool = Pool2d::square(3).stride(2).padding(1);
        self.g.max_pool(x, name, pool)
    }
}

/// Builds with the batch norms of the inceptions.
pub(super) fn with_norms<T>(g: &mut Builder, build: impl FnOnce(&mut Inception<'_>) -> T) -> T {
    let heads_norm = g.set_batch_norm(BATCH_NORM);
    let built = build(&mut Inception { g });
    g.set_batch_norm(heads_norm);
    built
}

fn encode(g: &mut Builder, site: &Site<'_>) -> Features {
    let features = with_norms(g, |i| i.modules(&(site.name / "features"), site.input));
    let stages = [2, 4, 8, 14, 21].map(|index| features[index]);
    Features::new(site.input, stages)
}

impl Inception<'_> {
    /// The 22 modules, one after the other.
    fn modules(&mut self, name: &Scope, input: Node) -> Vec<Node> {
        let mut maps = Vec::new();
        let mut x = input;
        for index in 0..22 {
            let name = &(name / index);
            x = match index {
                0 => self.conv(name, x, ([3, 3], 32, 2)),
                1 => self.conv(name, x, ([3, 3], 32, 1)),
                2 => self.conv(name, x, ([3, 3], 64, 1)),
                3 => {
                    let pooled = self.halve(&(name / "maxpool"), x);
                    let conv = self.conv(&(name / "conv"), x, ([3, 3], 96, 2));
                    self.g.concat(&[pooled, conv], name)
                }
                4 => self.stem_b(name, x),
                5 => {
                    let conv = self.conv(&(name / "conv"), x, ([3, 3], 192, 2));
                    let pooled = self.halve(&(name / "maxpool"), x);
                    self.g.concat(&[conv, pooled], name)
                }
                6..=9 => self.a(name, x),
                10 => self.reduce_a(name, x),
                11..=17 => self.b(name, x),
                18 => self.reduce_b(name, x),
                _ => self.c(name, x),
            };
            maps.push(x);
        }
        maps
    }

    fn stem_b(&mut self, name: &Scope, x: Node) -> Node {
        let parts = self.branches(
            name,
            x,
            &[
                &[([1, 1], 64, 1), ([3, 3], 96, 1)],
                &[
                    ([1, 1], 64, 1),
                    ([1, 7], 64, 1),
                    ([7, 1], 64, 1),
                    ([3, 3], 96, 1),
                ],
            ],
        );
        self.g.concat(&parts, name)
    }

    fn a(&mut self, name: &Scope, x: Node) -> Node {
        let mut parts = self.branches(
            name,
            x,
            &[
                &[([1, 1], 96, 1)],
                &[([1, 1], 64, 1), ([3, 3], 96, 1)],
                &[([1, 1], 64, 1), ([3, 3], 96, 1), ([3, 3], 96, 1)],
            ],
        );
        parts.push(self.pooled_branch(&(name / "branch3"), x, 96));
        self.g.concat(&parts, name)
    }

    fn reduce_a(&mut self, name: &Scope, x: Node) -> Node {
        let mut parts = self.branches(
            name,
            x,
            &[
                &[([3, 3], 384, 2)],
                &[([1, 1], 192, 1), ([3, 3], 224, 1), ([3, 3], 256, 2)],
            ],
        );
        parts.push(self.halve(&(name / "branch2"), x));
        self.g.concat(&parts, name)
    }

    fn b(&mut self, name: &Scope, x: Node) -> Node {
        let mut parts = self.branches(
            name,
            x,
            &[
                &[([1, 1], 384, 1)],
                &[([1, 1], 192, 1), ([1, 7], 224, 1), ([7, 1], 256, 1)],
                &[
                    ([1, 1], 192, 1),
                    ([7, 1], 192, 1),
                    ([1, 7], 224, 1),
                    ([7, 1], 224, 1),
                    ([1, 7], 256, 1),
                ],
            ],
        );
        parts.push(self.pooled_branch(&(name / "branch3"), x, 128));
        self.g.concat(&parts, name)
    }

    fn reduce_b(&mut self, name: &Scope, x: Node) -> Node {
        let mut parts = self.branches(
            name,
            x,
            &[
                &[([1, 1], 192, 1), ([3, 3], 192, 2)],
                &[
                    ([1, 1], 256, 1),
                    ([1, 7], 256, 1),
                    ([7, 1], 320, 1),
                    ([3, 3], 320, 2),
                ],
            ],
        );
        parts.push(self.halve(&(name / "branch2"), x));
        self.g.concat(&parts, name)
    }

    fn c(&mut self, name: &Scope, x: Node) -> Node {
        let [row, column] = [([1, 3], 256, 1), ([3, 1], 256, 1)];
        let first = self.conv(&(name / "branch0"), x, ([1, 1], 256, 1));
        let one = self.conv(&(name / "branch1_0"), x, ([1, 1], 384, 1));
        let one_row = self.conv(&(name / "branch1_1a"), one, row);
        let one_column = self.conv(&(name / "branch1_1b"), one, column);
        let two = self.conv(&(name / "branch2_0"), x, ([1, 1], 384, 1));
        let two = self.conv(&(name / "branch2_1"), two, ([3, 1], 448, 1));
        let two = self.conv(&(name / "branch2_2"), two, ([1, 3], 512, 1));
        let two_row = self.conv(&(name / "branch2_3a"), two, row);
        let two_column = self.conv(&(name / "branch2_3b"), two, column);
        let pooled = self.pooled_branch(&(name / "branch3"), x, 256);
        let parts = [first, one_row, one_column, two_row, two_column, pooled];
        self.g.concat(&parts, name)
    }
}
