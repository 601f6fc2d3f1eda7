//! LinkNet (Chaurasia and Culurciello 2017, arXiv:1707.03718): maps enlarged by transposed convolutions on a
//! quarter of their channels, plus what the encoder saw at that size.

use segmenta_graph::{Builder, Conv2d, ConvTranspose2d, InitRule, Node, Scope};

use super::blocks::{conv_relu, normed, read_norm};
use super::unetplusplus::needs_every_level;
use super::{Decoder, Head, Plan};

pub(crate) static LINKNET: Decoder = Decoder {
    settings: &["decoder_use_norm"],
    refuses: |plan| needs_every_level(plan),
    head: Head::Window(1),
    ..Decoder::plain(build, |settings, shape_of| {
        settings.decoder_use_norm = read_norm(shape_of, "decoder.blocks.0.block.0");
        let block = |i: &usize| shape_of(&format!("decoder.blocks.{i}.block.0.0.weight")).is_some();
        settings.encoder_depth = Some((0..5).take_while(block).count()).filter(|&depth| depth > 0);
    })
};

fn build(g: &mut Builder, name: &Scope, plan: &Plan<'_>) -> Node {
    const LAST: usize = 32;
    let mut x = plan.last();
    for i in 0..plan.depth {
        let level = plan.depth - 1 - i;
        let skip = plan.features.level(level).filter(|_| level > 0);
        let channels = skip.map_or(LAST, |skip| g.channels(skip));
        let module = name / "blocks" / i / "block";
        x = enlarged(g, &module, x, channels, plan);
        let like = skip.unwrap_or(plan.input);
        if !g.same_size(x, like) {
            x = g.fit_like(x, like, &module);
        }
        if let Some(skip) = skip {
            x = g.add(x, skip, &module);
        }
    }
    x
}

/// Twice as large.
fn enlarged(g: &mut Builder, name: &Scope, x: Node, channels: usize, plan: &Plan<'_>) -> Node {
    let quarter = g.channels(x) / 4;
    let x = conv_relu(g, &(name / 0), x, Conv2d::pointwise(quarter), plan.norm());
    // SMP leaves transposed convolutions as PyTorch draws them.
    let rule = g.set_init(InitRule::PyTorch);
    let up = ConvTranspose2d::upsample(2, quarter).with_bias();
    let x = g.conv_transpose(x, &(name / 1 / 0), up);
    g.set_init(rule);
    let x = normed(g, &(name / 1 / 1), x, plan.norm());
    let x = g.relu(x);
    conv_relu(g, &(name / 2), x, Conv2d::pointwise(channels), plan.norm())
}
