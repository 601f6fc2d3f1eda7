//! What networks that classify masks have in common: queries, each with a class and a mask, and what becomes of them.

use segmenta_graph::{Activation, Builder, Filter, Node, Scope};

/// Declares the results of a network whose queries have logits of classes, a row of `1 + classes` channels whose last
/// is "no object", and of masks, a map of a channel a query. The main one, `out`, are the classes' scores as
/// transformers' `post_process_semantic_segmentation` has them: of each class the sum over the queries of its
/// probability times that of the mask, whose logits are resized to the size of `like` before. Then the two themselves,
/// under the names that transformers has for them.
pub(super) fn declare(g: &mut Builder, classes: Node, masks: Node, like: Node) {
    let root = Scope::root();
    let name = |leaf: &str| &(&root / "semantic") / leaf;
    let resized = g.resize_like(masks, like, Filter::BILINEAR, &name("resized"));
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
