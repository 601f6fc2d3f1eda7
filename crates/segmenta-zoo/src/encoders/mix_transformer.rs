//! Mix transformers (Xie et al. 2021, arXiv:2105.15203), SegFormer's encoders: attention in which keys and
//! values come from a smaller map, and a depthwise 3×3 where others know positions. Four stages: there is
//! no map at stride 2.

use segmenta_graph::{Activation, Builder, Conv2d, InitRule, Node, Scope};

use super::{Encoder, Family, Features, Site, Traits};

pub(crate) static FAMILY: Family = Family {
    name: "Mix Transformer (Xie et al. 2021)",
    entry: "patch_embed1.proj.weight",
    encoders: &[
        Encoder::new("mit_b0", |g, site| encode(g, site, 32, [2, 2, 2, 2])),
        Encoder::new("mit_b1", |g, site| encode(g, site, 64, [2, 2, 2, 2])),
        Encoder::new("mit_b2", |g, site| encode(g, site, 64, [3, 4, 6, 3])),
        Encoder::new("mit_b3", |g, site| encode(g, site, 64, [3, 4, 18, 3])),
        Encoder::new("mit_b4", |g, site| encode(g, site, 64, [3, 8, 27, 3])),
        Encoder::new("mit_b5", |g, site| encode(g, site, 64, [3, 6, 40, 3])),
    ],
    traits: Traits::PLAIN,
};

/// Heads of each stage; a head has as many channels as the first stage.
const HEADS: [usize; 4] = [1, 2, 5, 8];
/// How many times smaller the map of keys and values is, each way.
const REDUCTIONS: [usize; 4] = [8, 4, 2, 1];
/// Share of the last block's maps that training drops; earlier blocks less, in proportion.
const DROPPED: f32 = 0.1;
/// Of the norms of blocks and stages; the others have PyTorch's.
const EPS: f32 = 1e-6;
const PYTORCH_EPS: f32 = 1e-5;

fn encode(g: &mut Builder, site: &Site<'_>, width: usize, depths: [usize; 4]) -> Features {
    let rule = g.set_init(InitRule::Transformer);
    let modules = ["patch_embed", "block", "norm"];
    let order = [&modules[..1], &modules[1..]].map(|kinds| {
        let stages =
            (1..=4).flat_map(|stage| kinds.iter().map(move |kind| format!("{kind}{stage}")));
        stages.collect::<Vec<String>>()
    });
    let order: Vec<&str> = order.iter().flatten().map(String::as_str).collect();
    g.module_order(site.name, &order);

    let (mut x, mut index) = (site.input, 0);
    let last = depths.iter().sum::<usize>() - 1;
    let mut maps = [Some(x), None, None, None, None, None];
    for (stage, depth) in depths.into_iter().enumerate() {
        let reached = 4 << stage;
        let embed = site.name / format!("patch_embed{}", stage + 1);
        let (side, stride) = if stage == 0 { (7, 4) } else { (3, 2) };
        let patches = Conv2d::square(side, width * HEADS[stage])
            .stride(stride)
            .with_bias();
        let patches = site.output_stride.fit(reached, patches);
        x = g.conv(x, &(&embed / "proj"), patches);
        x = g.layer_norm(x, &(&embed / "norm"), PYTORCH_EPS);
        for i in 0..depth {
            let block = Block {
                site,
                stage,
                name: site.name / format!("block{}", stage + 1) / i,
                dropped: DROPPED * index as f32 / last as f32,
            };
            x = block.build(g, x);
            index += 1;
        }
        x = g.layer_norm(x, &(site.name / format!("norm{}", stage + 1)), EPS);
        maps[stage + 2] = Some(x);
    }
    g.set_init(rule);
    Features::of_levels(maps)
}

struct Block<'a> {
    site: &'a Site<'a>,
    stage: usize,
    name: Scope,
    dropped: f32,
}

impl Block<'_> {
    fn build(&self, g: &mut Builder, x: Node) -> Node {
        let y = g.layer_norm(x, &(&self.name / "norm1"), EPS);
        let y = self.attention(g, y);
        let x = self.join(g, x, y);
        let y = g.layer_norm(x, &(&self.name / "norm2"), EPS);
        let y = self.mlp(g, y);
        self.join(g, x, y)
    }

    fn join(&self, g: &mut Builder, x: Node, y: Node) -> Node {
        let y = g.stochastic_depth(y, self.dropped, &self.name);
        g.add(x, y, &self.name)
    }

    fn attention(&self, g: &mut Builder, x: Node) -> Node {
        let name = &self.name / "attn";
        g.module_order(&name, &["q", "kv", "proj", "sr", "norm"]);
        let (channels, reduction) = (g.channels(x), REDUCTIONS[self.stage]);
        let queries = g.linear(x, &(&name / "q"), channels);
        let mut source = x;
        if reduction > 1 {
            let reduce = Conv2d {
                padding: [0, 0],
                ..Conv2d::square(reduction, channels)
                    .stride(reduction)
                    .with_bias()
            };
            let reduce = self.fit(reduce);
            source = g.conv(source, &(&name / "sr"), reduce);
            source = g.layer_norm(source, &(&name / "norm"), PYTORCH_EPS);
        }
        let both = g.linear(source, &(&name / "kv"), 2 * channels);
        let [keys, values] = [0, channels].map(|first| g.slice(both, first, channels, &name));
        let y = g.attention([queries, keys, values], HEADS[self.stage], &name);
        g.linear(y, &(&name / "proj"), channels)
    }

    fn mlp(&self, g: &mut Builder, x: Node) -> Node {
        let name = &self.name / "mlp";
        let channels = g.channels(x);
        let hidden = 4 * channels;
        let y = g.linear(x, &(&name / "fc1"), hidden);
        let depthwise = Conv2d::square(3, hidden).depthwise(hidden).with_bias();
        let y = g.conv(y, &(&name / "dwconv" / "dwconv"), self.fit(depthwise));
        let y = g.activation(y, Activation::Gelu);
        g.linear(y, &(&name / "fc2"), channels)
    }

    fn fit(&self, conv: Conv2d) -> Conv2d {
        self.site.output_stride.fit(4 << self.stage, conv)
    }
}
