//! What several decoders are made of.

use segmenta_graph::{Activation, BatchNorm, Builder, Conv2d, Node, Pool2d, Scope};

use super::{Plan, ShapeOf};
use crate::encoders::Features;
use crate::gate::Gate;
use crate::settings::{Attention, Norm, NormKind};

/// A convolution, a norm and a ReLU: SMP's `Conv2dReLU`. Without a norm the convolution has a bias.
pub(super) fn conv_relu(g: &mut Builder, name: &Scope, x: Node, conv: Conv2d, norm: Norm) -> Node {
    let conv = Conv2d {
        bias: norm.kind == NormKind::Identity,
        ..conv
    };
    let y = g.conv(x, &(name / 0), conv);
    let y = normed(g, &(name / 1), y, norm);
    g.relu(y)
}

/// `x` normed.
pub(super) fn normed(g: &mut Builder, name: &Scope, x: Node, norm: Norm) -> Node {
    let Norm {
        kind,
        affine,
        eps,
        momentum,
    } = norm;
    match kind {
        NormKind::Identity => x,
        NormKind::BatchNorm => {
            let before = g.set_batch_norm(BatchNorm { eps, momentum });
            let y = g.batch_norm(x, name);
            g.set_batch_norm(before);
            y
        }
        NormKind::InstanceNorm if affine => g.group_norm(x, name, g.channels(x), eps),
        NormKind::InstanceNorm => g.instance_norm(x, name, eps),
    }
}

/// What a state dict says of the norm of a [`conv_relu`] called `block`; `None` for a batch norm, or where no
/// such block is.
pub(super) fn read_norm(shape_of: ShapeOf<'_>, block: &str) -> Option<Norm> {
    let has = |entry: &str| shape_of(&format!("{block}.{entry}")).is_some();
    if !has("0.weight") || has("1.running_mean") {
        return None;
    }
    Some(match (has("0.bias"), has("1.weight")) {
        (true, _) => NormKind::Identity.into(),
        (false, affine) => Norm {
            affine,
            ..NormKind::InstanceNorm.into()
        },
    })
}

/// A block of a U-Net: `x` enlarged to the size of `like`, beside `skip`, convolved twice. With
/// attention, what goes in (but not without a skip, as in SMP) and what comes out is scaled.
pub(super) struct UnetBlock<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) name: Scope,
    pub(super) channels: usize,
}

impl UnetBlock<'_> {
    /// `skip` is what stands beside: nothing in the last block, no maps where an encoder has none.
    pub(super) fn build(
        &self,
        g: &mut Builder,
        x: Node,
        like: Node,
        skip: Option<&[Node]>,
    ) -> Node {
        let name = &self.name;
        let attention = self.plan.settings.decoder_attention_type;
        g.module_order(name, &["conv1", "attention1", "conv2", "attention2"]);
        let mut x = g.resize_like(x, like, self.plan.filter(), name);
        if let Some(skip @ [_, ..]) = skip {
            let parts: Vec<Node> = [&[x], skip].concat();
            x = g.concat(&parts, name);
        }
        if attention == Some(Attention::Scse) {
            let scaled = squeeze_excitation(g, &(name / "attention1" / "attention"), x);
            if skip.is_some() {
                x = scaled;
            }
        }
        x = self.convs(g, x);
        match attention {
            Some(Attention::Scse) => squeeze_excitation(g, &(name / "attention2" / "attention"), x),
            None => x,
        }
    }

    /// The two convolutions.
    pub(super) fn convs(&self, g: &mut Builder, x: Node) -> Node {
        ["conv1", "conv2"].into_iter().fold(x, |x, part| {
            let conv = Conv2d::square(3, self.channels);
            conv_relu(g, &(&self.name / part), x, conv, self.plan.norm())
        })
    }
}

/// What SMP's U-Nets convolve twice where an encoder ends in a pool.
pub(super) fn center(g: &mut Builder, name: &Scope, plan: &Plan<'_>) -> Node {
    let last = plan.last();
    if !plan.encoder.family().traits.ends_in_pool {
        return last;
    }
    let conv = Conv2d::square(3, g.channels(last));
    (0..2).fold(last, |x, i| {
        conv_relu(g, &(name / "center" / i), x, conv, plan.norm())
    })
}

/// Spatial and channel squeeze-and-excitation (Roy et al. 2018, arXiv:1803.02579): the map scaled a
/// channel, plus the map scaled a pixel.
fn squeeze_excitation(g: &mut Builder, name: &Scope, x: Node) -> Node {
    const REDUCTION: usize = 16;
    let (by_channel, by_pixel) = (name / "cSE", name / "sSE");
    let gate = Gate::new(g.channels(x) / REDUCTION);
    let channels_scaled = gate.apply(g, x, [&(&by_channel / 1), &(&by_channel / 3)]);
    let y = g.conv(x, &(&by_pixel / 0), Conv2d::pointwise(1).with_bias());
    let y = g.activation(y, Activation::Sigmoid);
    let pixels_scaled = g.mul(x, y, &by_pixel);
    g.add(channels_scaled, pixels_scaled, name)
}

/// Means over grids of 1, 2, 3 and 6 windows each way: what PSPNet and UPerNet see of the whole picture.
pub(super) fn pyramid(
    g: &mut Builder,
    x: Node,
    mut level: impl FnMut(&mut Builder, usize, usize, Node) -> Node,
) -> Vec<Node> {
    const GRIDS: [usize; 4] = [1, 2, 3, 6];
    let mut maps = Vec::new();
    for (i, grid) in GRIDS.into_iter().enumerate() {
        let mean = if grid == 1 {
            g.global_avg_pool(x, &Scope::root())
        } else {
            g.adaptive_avg_pool(x, &Scope::root(), [grid; 2])
        };
        maps.push(level(g, i, grid, mean));
    }
    maps
}

/// The maps that a U-shaped decoder meets on the way up from `depth`: for each block the node whose size it
/// enlarges to, and what stands beside (nothing at the input's size).
pub(super) fn way_up(
    g: &mut Builder,
    features: &Features,
    depth: usize,
) -> Vec<(Node, Option<Vec<Node>>)> {
    (0..depth)
        .rev()
        .map(|level| {
            let skip = (level > 0).then(|| features.level(level).into_iter().collect());
            (features.size_of(g, level), skip)
        })
        .collect()
}

/// Halves a map by its maxima.
pub(super) fn halved(g: &mut Builder, x: Node, name: &Scope) -> Node {
    g.max_pool(x, name, Pool2d::square(2))
}
