//! The pixel decoder of Mask2Former and OneFormer: deformable attention over the backbone's three smallest maps (Zhu et al.
//! 2021, arXiv:2010.04159), an FPN from there to the map that masks are made of, and what queries attend to.

use segmenta_graph::{Builder, Conv2d, Filter, Node, Scope};

use super::queries::{EPS, GROUPS, grouped, in_heads, plus_each};
use crate::config::Config;
use crate::smp::Refusal;

/// Maps that deformable attention reads, the smallest first.
pub(super) const LEVELS: usize = 3;
/// Points of each of them, head and pixel.
const POINTS: usize = 4;

/// What a head calls its fields.
pub(super) struct Fields {
    /// Channels of the levels.
    pub(super) width: &'static str,
    /// Channels of the map that masks are made of.
    pub(super) mask: &'static str,
    /// Strides of the backbone's maps.
    pub(super) strides: &'static str,
}

pub(super) struct PixelDecoder {
    heads: usize,
    /// Channels of the levels.
    pub(super) width: usize,
    /// Channels of the map that masks are made of.
    pub(super) mask: usize,
    layers: usize,
    hidden: usize,
    /// How many of the backbone's maps, from its largest on, are joined with what deformable attention gives.
    finer: usize,
    /// Of the norms of its layers.
    eps: f32,
}

/// How many of the backbone's maps are joined with what deformable attention gives: doublings from its smallest stride
/// to that of the masks.
fn finer(config: &Config, field: &str) -> Result<usize, Refusal> {
    let strides = config.list(field, &[4, 8, 16, 32])?;
    let read = &strides[strides.len().saturating_sub(LEVELS)..];
    let least = read.iter().copied().min().unwrap_or(1);
    let common = config.count("common_stride", 4)?;
    if common > least {
        return Err(Refusal::Option(format!(
            "makes masks at the stride of its finest attended map, {least}, or a finer one, not {common} (common_stride, \
             {field})"
        )));
    }
    Ok((least / common).ilog2() as usize)
}

impl PixelDecoder {
    pub(super) fn new(config: &Config, fields: &Fields, eps: f32) -> Result<Self, Refusal> {
        let heads = config.count("num_attention_heads", 8)?;
        let width = grouped(config, fields.width)?;
        Ok(Self {
            heads,
            width: in_heads(width, fields.width, heads)?,
            mask: config.count(fields.mask, 256)?,
            layers: config.whole("encoder_layers", 6)?,
            hidden: config.count("encoder_feedforward_dim", 1024)?,
            finer: finer(config, fields.strides)?,
            eps,
        })
    }

    /// The three levels, the smallest first, and the map that masks are made of.
    pub(super) fn build(
        &self,
        g: &mut Builder,
        maps: &[Node],
        name: &Scope,
    ) -> Result<([Node; LEVELS], Node), Refusal> {
        if maps.len() < LEVELS {
            return Err(Refusal::Option(format!(
                "reads {LEVELS} maps of its backbone at least, which gives {} (out_features in backbone_config)",
                maps.len()
            )));
        }
        let order = [
            "level_embed",
            "input_projections",
            "encoder",
            "mask_projection",
        ];
        g.module_order(name, &order);
        let width = self.width;
        let embed = name / "level_embed";
        let table = g.table(&embed, &[LEVELS, width], [1, LEVELS]);
        let levels = [0, 1, 2].map(|level| {
            let project = name / "input_projections" / level;
            let conv = Conv2d::pointwise(width).with_bias();
            let x = g.conv(maps[maps.len() - 1 - level], &(&project / 0), conv);
            g.group_norm(x, &(&project / 1), GROUPS, EPS)
        });
        let positions = [0, 1, 2].map(|level| {
            let waves = g.sine_positions(levels[level], width, name);
            let own = g.part(table, level, 1, &embed);
            plus_each(g, waves, own, &embed)
        });
        let mut row = joined(g, levels, name);
        let places = joined(g, positions, name);
        for layer in 0..self.layers {
            let module = name / "encoder" / "layers" / layer;
            row = self.layer(g, row, places, levels, &module);
        }
        let [a, b, c] = levels;
        let found = [
            g.part_like(row, 0, &[], a, name),
            g.part_like(row, 0, &[a], b, name),
            g.part_like(row, 0, &[a, b], c, name),
        ];
        let mut finest = found[LEVELS - 1];
        for level in (0..self.finer.min(maps.len())).rev() {
            let adapter = name / format!("adapter_{}", level + 1);
            let conv = Conv2d::pointwise(width);
            let lateral = g.conv(maps[level], &(&adapter / 0), conv);
            let lateral = g.group_norm(lateral, &(&adapter / 1), GROUPS, EPS);
            let up = g.resize_like(finest, lateral, Filter::BILINEAR, &adapter);
            let sum = g.add(lateral, up, &adapter);
            let layer = name / format!("layer_{}", level + 1);
            let y = g.conv(sum, &(&layer / 0), Conv2d::square(3, width));
            let y = g.group_norm(y, &(&layer / 1), GROUPS, EPS);
            finest = g.relu(y);
        }
        let conv = Conv2d::pointwise(self.mask).with_bias();
        let masked = g.conv(finest, &(name / "mask_projection"), conv);
        Ok((found, masked))
    }

    fn layer(
        &self,
        g: &mut Builder,
        x: Node,
        positions: Node,
        levels: [Node; LEVELS],
        name: &Scope,
    ) -> Node {
        let attention = name / "self_attn";
        let each = self.heads * LEVELS * POINTS;
        let queries = g.add(x, positions, &attention);
        let offsets = g.linear(queries, &(&attention / "sampling_offsets"), 2 * each);
        let logits = g.linear(queries, &(&attention / "attention_weights"), each);
        let values = g.linear(x, &(&attention / "value_proj"), self.width);
        let maps = [values, offsets, logits];
        let y = g.deformable_attention(maps, &levels, self.heads, POINTS, &attention);
        let y = g.linear(y, &(&attention / "output_proj"), self.width);
        let x = g.add(x, y, &attention);
        let x = g.layer_norm(x, &(name / "self_attn_layer_norm"), self.eps);
        let y = g.linear(x, &(name / "fc1"), self.hidden);
        let y = g.relu(y);
        let y = g.linear(y, &(name / "fc2"), self.width);
        let x = g.add(x, y, name);
        g.layer_norm(x, &(name / "final_layer_norm"), self.eps)
    }
}

/// What queries attend to of each level, keys and values: the level with what its embedding says of it, keys with their
/// places, too. Levels of other channels than `width`, or all if `projects`, go through a layer before.
pub(super) fn memory(
    g: &mut Builder,
    levels: [Node; LEVELS],
    width: usize,
    projects: bool,
    name: &Scope,
) -> [[Node; 2]; LEVELS] {
    let embed = name / "level_embed" / "weight";
    let table = g.table(&embed, &[LEVELS, width], [1, LEVELS]);
    [0, 1, 2].map(|level| {
        let mut x = levels[level];
        if g.channels(x) != width || projects {
            let project = name / "input_projections" / level;
            x = g.conv(x, &project, Conv2d::pointwise(width).with_bias());
        }
        let own = g.part(table, level, 1, &embed);
        let values = plus_each(g, x, own, &embed);
        let waves = g.sine_positions(values, width, name);
        [g.add(values, waves, name), values]
    })
}

/// The pixels of all levels in one row.
fn joined(g: &mut Builder, [a, b, c]: [Node; LEVELS], name: &Scope) -> Node {
    let both = g.join(a, b, name);
    g.join(both, c, name)
}
