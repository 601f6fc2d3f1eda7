//! DeepLabV3 (Chen et al. 2017, arXiv:1706.05587) and DeepLabV3+ (Chen et al. 2018, arXiv:1802.02611): a
//! dilated encoder, windows spread at three rates; "+" joins a finer map.

use segmenta_graph::{Builder, Conv2d, Filter, InitRule, Node, Scope};

use super::{BuildDecoder, Decoder, Head, Plan, ReadSettings, Settings, ShapeOf, extent};
use crate::aspp::{Aspp, separable_relu};
use crate::settings::Channels;

pub(crate) static DEEPLABV3: Decoder = Decoder {
    output_strides: &[8, 16],
    former,
    ..deeplab(build, |settings, shape_of| {
        read(settings, shape_of, "decoder.aspp", false);
    })
};

pub(crate) static DEEPLABV3PLUS: Decoder = Decoder {
    output_strides: &[16, 8],
    ..deeplab(build_plus, |settings, shape_of| {
        read(settings, shape_of, "decoder.aspp.0", true);
    })
};

/// What both have in common.
const fn deeplab(build: BuildDecoder, read: ReadSettings) -> Decoder {
    Decoder {
        settings: &[
            "encoder_output_stride",
            "decoder_channels",
            "decoder_atrous_rates",
            "decoder_aspp_separable",
            "decoder_aspp_dropout",
            "upsampling",
        ],
        head: Head::Window(1),
        // SMP leaves these two as PyTorch draws them.
        init: [InitRule::PyTorch; 2],
        ..Decoder::plain(build, read)
    }
}

/// The decoder's names while SMP had it as a sequence; it still reads them.
fn former(entry: &str) -> Option<String> {
    let rest = entry.strip_prefix("decoder.")?;
    let (module, leaf) = rest.split_once('.')?;
    let at = ["aspp", "conv", "bn"].iter().position(|m| *m == module)?;
    Some(format!("decoder.{at}.{leaf}"))
}

fn aspp(plan: &Plan<'_>, separable: bool) -> Aspp {
    let settings = plan.settings;
    Aspp {
        width: plan.width(256),
        rates: settings.decoder_atrous_rates.unwrap_or([12, 24, 36]),
        separable: settings.decoder_aspp_separable.unwrap_or(separable),
        dropout: settings.decoder_aspp_dropout.unwrap_or(0.5),
    }
}

fn build(g: &mut Builder, name: &Scope, plan: &Plan<'_>) -> Node {
    let aspp = aspp(plan, false);
    let x = aspp.build(g, &(name / "aspp"), plan.last());
    let conv = Conv2d::square(3, aspp.width);
    g.conv_bn_relu(x, &(name / "conv"), &(name / "bn"), conv)
}

fn build_plus(g: &mut Builder, name: &Scope, plan: &Plan<'_>) -> Node {
    const FINER: usize = 48;
    let aspp = aspp(plan, true);
    let module = name / "aspp";
    let x = aspp.build(g, &(&module / 0), plan.last());
    let conv = Conv2d::square(3, aspp.width);
    let x = separable_relu(g, &module, x, conv, 1);
    // Stride 4, which every encoder gives.
    let finer = plan.features.level(2).unwrap_or(plan.input);
    let x = g.resize_like(x, finer, Filter::ALIGNED, &(name / "up"));
    let module = name / "block1";
    let finer = g.conv_bn_relu(
        finer,
        &(&module / 0),
        &(&module / 1),
        Conv2d::pointwise(FINER),
    );
    let both = g.concat(&[x, finer], name);
    separable_relu(g, &(name / "block2"), both, conv, 0)
}

/// Rates and output stride leave no trace in a state dict.
fn read(settings: &mut Settings, shape_of: ShapeOf<'_>, aspp: &str, separable: bool) {
    let width = extent(shape_of, &format!("{aspp}.project.0.weight"), 0);
    settings.decoder_channels = width.map(Channels::One);
    let found = shape_of(&format!("{aspp}.convs.1.0.1.weight")).is_some();
    settings.decoder_aspp_separable = (found != separable).then_some(found);
}
