//! What networks that classify masks have in common: queries, each with a class and a mask, and what becomes of them.
//!
//! There is no loss of queries, so that they do not learn here: the dropout of Mask2Former and its kin, which nothing but
//! learning has, is in no graph.

use segmenta_graph::{Activation, Builder, Filter, Node, Scope};

use crate::config::Config;
use crate::smp::Refusal;

/// Of all norms beside a backbone's.
pub(super) const EPS: f32 = 1e-5;
/// Groups of the norms of maps.
pub(super) const GROUPS: usize = 32;

/// The width that a field gives, if it is one of maps with group norms.
pub(super) fn grouped(config: &Config, field: &str) -> Result<usize, Refusal> {
    let width = config.count(field, 256)?;
    if width.is_multiple_of(GROUPS) {
        return Ok(width);
    }
    Err(Refusal::Option(format!(
        "cannot part {width} channels ({field}) between the {GROUPS} groups of a norm; give a multiple"
    )))
}

/// The width that a field gives, if `heads` can share it and sine positions can fill it.
pub(super) fn in_heads(width: usize, field: &str, heads: usize) -> Result<usize, Refusal> {
    if width.is_multiple_of(heads) && width.is_multiple_of(4) {
        return Ok(width);
    }
    Err(Refusal::Option(format!(
        "cannot part {width} channels ({field}) between {heads} heads, or between sines and cosines of rows and columns"
    )))
}

/// An object query's attention: layers `q_proj`, `k_proj`, `v_proj` and the one called `out`.
pub(super) fn attention(
    g: &mut Builder,
    [queries, keys, values]: [Node; 3],
    heads: usize,
    name: &Scope,
    out: &str,
) -> Node {
    let width = g.channels(queries);
    let keys = g.linear(keys, &(name / "k_proj"), width);
    let values = g.linear(values, &(name / "v_proj"), width);
    let queries = g.linear(queries, &(name / "q_proj"), width);
    let y = g.attention([queries, keys, values], heads, name);
    g.linear(y, &(name / out), width)
}

/// A value a channel added to all pixels of a map.
pub(super) fn plus_each(g: &mut Builder, x: Node, own: Node, name: &Scope) -> Node {
    let everywhere = g.resize_like(own, x, Filter::Nearest, name);
    g.add(x, everywhere, name)
}

/// Attention as PyTorch's `MultiheadAttention` has it, which keeps the matrices of queries, keys and values in one entry,
/// below each other. Of a mask queries see what it leaves them.
pub(super) fn packed_attention(
    g: &mut Builder,
    maps: [Node; 3],
    mask: Option<Node>,
    heads: usize,
    name: &Scope,
) -> Node {
    let width = g.channels(maps[0]);
    let (weights, biases) = (name / "in_proj_weight", name / "in_proj_bias");
    let matrix = g.table(&weights, &[3 * width, width], [1, 3 * width]);
    let bias = g.table(&biases, &[3 * width], [1, 1]);
    let maps = [0, 1, 2].map(|at| {
        let part = g.part(matrix, at * width, width, &weights);
        let own = g.slice(bias, at * width, width, &biases);
        let y = g.product(maps[at], part, name);
        plus_each(g, y, own, name)
    });
    let y = match mask {
        Some(mask) => g.masked_attention(maps, mask, heads, name),
        None => g.attention(maps, heads, name),
    };
    g.linear(y, &(name / "out_proj"), width)
}

/// What queries are compared with a map by: three linear layers under the names 0, 1 and 2, with ReLU between.
pub(super) fn embedded(g: &mut Builder, x: Node, name: &Scope, out: usize) -> Node {
    let hidden = g.channels(x);
    let x = g.linear(x, &(&(name / 0) / 0), hidden);
    let x = g.relu(x);
    let x = g.linear(x, &(&(name / 1) / 0), hidden);
    let x = g.relu(x);
    g.linear(x, &(&(name / 2) / 0), out)
}

/// A layer with a residual around it, and a norm behind both, or before the layer if `norm_first`.
pub(super) fn residual(
    g: &mut Builder,
    x: Node,
    norm: (&Scope, f32),
    norm_first: bool,
    layer: impl FnOnce(&mut Builder, Node) -> Node,
) -> Node {
    let (name, eps) = norm;
    if norm_first {
        let normed = g.layer_norm(x, name, eps);
        let y = layer(g, normed);
        return g.add(x, y, name);
    }
    let y = layer(g, x);
    let sum = g.add(x, y, name);
    g.layer_norm(sum, name, eps)
}

/// The logits of each query's class, of which the last is "no object", by the layer `name`.
pub(super) fn classified(g: &mut Builder, row: Node, name: &Scope, classes: usize) -> Node {
    let logits = g.linear(row, name, classes + 1);
    let weight = &Scope::root() / "criterion" / "empty_weight";
    // The loss's weights of the classes.
    g.buffer(&weight, &[classes + 1], 1.0);
    logits
}

/// How masks are resized before classes weigh them.
#[derive(Clone, Copy)]
pub(super) enum MaskSize {
    /// To the size of a node.
    Like(Node),
    /// To rows and columns.
    Fixed([usize; 2]),
    /// Not at all.
    Own,
}

/// Declares the results of a network whose queries have logits of classes, a row of `1 + classes` channels whose last
/// is "no object", and of masks, a map of a channel a query. The main one, `out`, are the classes' scores as
/// transformers' `post_process_semantic_segmentation` has them: of each class the sum over the queries of its
/// probability times that of the mask, whose logits are resized before. Then the two themselves, under the names that
/// transformers has for them.
pub(super) fn declare(g: &mut Builder, classes: Node, masks: Node, size: MaskSize) {
    let root = Scope::root();
    let name = |leaf: &str| &(&root / "semantic") / leaf;
    let resized = match size {
        MaskSize::Like(like) => g.resize_like(masks, like, Filter::BILINEAR, &name("resized")),
        MaskSize::Fixed(size) => g.resize_to(masks, size, Filter::BILINEAR, &name("resized")),
        MaskSize::Own => masks,
    };
    let covered = g.activation(resized, Activation::Sigmoid);
    let count = g.channels(classes);
    let shares = g.softmax(classes, count, false, &name("classes"));
    let objects = g.slice(shares, 0, count.saturating_sub(1).max(1), &name("objects"));
    let by_query = g.transpose(objects, &name("by_query"));
    let scores = g.product(covered, by_query, &name("scores"));
    let logits = g.transpose(classes, &name("class_queries_logits"));
    g.output("out", scores);
    g.output("class_queries_logits", logits);
    g.output("masks_queries_logits", masks);
}
