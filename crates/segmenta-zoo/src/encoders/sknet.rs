//! Selective kernels (Li et al. 2019, arXiv:1903.06586) as timm builds them: a 3×3 and the same dilated,
//! which stands for a 5×5, weighed channel by channel by what both say.

use segmenta_graph::{Builder, Conv2d, InitRule, Node, Scope};

use super::mobilenet_v2::divisible_by_8;
use super::resnet::{join, stem};
use super::{Encoder, Family, Features, Site, Traits};

pub(crate) static FAMILY: Family = Family {
    name: "SK-ResNet, SK-ResNeXt (Li et al. 2019)",
    entry: "conv1.weight",
    encoders: &[
        Encoder::new("timm-skresnet18", |g, site| {
            encode(g, site, false, [2, 2, 2, 2])
        }),
        Encoder::new("timm-skresnet34", |g, site| {
            encode(g, site, false, [3, 4, 6, 3])
        }),
        Encoder::new("timm-skresnext50_32x4d", |g, site| {
            encode(g, site, true, [3, 4, 6, 3])
        }),
    ],
    traits: Traits::PLAIN,
};

fn encode(g: &mut Builder, site: &Site<'_>, next: bool, counts: [usize; 4]) -> Features {
    let rule = g.set_init(InitRule::KaimingNormal);
    let (stem, mut x) = stem(g, site.name, site.input);
    let mut maps = [stem; 5];
    for (layer, count) in counts.into_iter().enumerate() {
        let module = site.name / format!("layer{}", layer + 1);
        for i in 0..count {
            let stride = if i == 0 && layer > 0 { 2 } else { 1 };
            let at = Place {
                name: &module / i,
                site,
                reached: 4 << layer,
            };
            let planes = 64 << layer;
            x = if next {
                at.bottleneck(g, x, planes, stride)
            } else {
                at.basic(g, x, planes, stride)
            };
        }
        maps[layer + 1] = x;
    }
    g.set_init(rule);
    Features::new(site.input, maps)
}

/// A block of the stage that reaches a stride.
struct Place<'a> {
    name: Scope,
    site: &'a Site<'a>,
    reached: usize,
}

impl Place<'_> {
    fn basic(&self, g: &mut Builder, x: Node, planes: usize, stride: usize) -> Node {
        let conv = Conv2d::square(3, planes).stride(stride);
        let y = self.selective(g, &(&self.name / "conv1"), x, conv, planes / 8);
        let y = self.conv_bn(g, &(&self.name / "conv2"), y, Conv2d::square(3, planes));
        self.join(g, x, y, stride)
    }

    fn bottleneck(&self, g: &mut Builder, x: Node, planes: usize, stride: usize) -> Node {
        let width = 2 * planes;
        let reduce = Conv2d::pointwise(width);
        let y = self.conv_bn(g, &(&self.name / "conv1"), x, reduce);
        let y = g.relu(y);
        let conv = Conv2d::square(3, width).stride(stride).groups(32);
        let y = self.selective(g, &(&self.name / "conv2"), y, conv, width / 16);
        let expand = Conv2d::pointwise(4 * planes);
        let y = self.conv_bn(g, &(&self.name / "conv3"), y, expand);
        self.join(g, x, y, stride)
    }

    /// Half of the channels to each path; each path's result weighed against the other's.
    fn selective(
        &self,
        g: &mut Builder,
        name: &Scope,
        x: Node,
        conv: Conv2d,
        reduced: usize,
    ) -> Node {
        let (half, out) = (g.channels(x) / 2, conv.out_channels);
        let paths = [0, 1].map(|path| {
            let module = name / "paths" / path;
            let part = g.slice(x, path * half, half, &module);
            let y = self.conv_bn(g, &module, part, conv.dilation(path + 1));
            g.relu(y)
        });
        let attention = name / "attn";
        let sum = g.add(paths[0], paths[1], &attention);
        let mean = g.global_avg_pool(sum, &attention);
        let reduce = Conv2d::pointwise(divisible_by_8(reduced as f64));
        let y = g.conv_bn_relu(
            mean,
            &(&attention / "fc_reduce"),
            &(&attention / "bn"),
            reduce,
        );
        let y = g.conv(y, &(&attention / "fc_select"), Conv2d::pointwise(2 * out));
        let weights = g.softmax(y, 2, false, &attention);
        let [a, b] = [0, 1].map(|path| {
            let weights = g.slice(weights, path * out, out, &attention);
            g.mul(paths[path], weights, &attention)
        });
        g.add(a, b, name)
    }

    fn conv_bn(&self, g: &mut Builder, name: &Scope, x: Node, conv: Conv2d) -> Node {
        let conv = self.site.output_stride.fit(self.reached, conv);
        g.conv_bn(x, &(name / "conv"), &(name / "bn"), conv)
    }

    fn join(&self, g: &mut Builder, x: Node, y: Node, stride: usize) -> Node {
        let fit = Conv2d::pointwise(g.channels(y)).stride(stride);
        let fit = self.site.output_stride.fit(self.reached, fit);
        join(g, &self.name, x, y, fit)
    }
}
