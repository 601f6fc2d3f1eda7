//! Inception-ResNet-v2 (Szegedy et al. 2016, arXiv:1602.07261) as SMP has it: windows of 3×3 and pools
//! padded, so that maps halve evenly.

use segmenta_graph::{Builder, Conv2d, Node, Scope};

use super::inception_v4::{Inception, Layer, with_norms};
use super::{Encoder, Family, Features, Site, Traits};

pub(crate) static FAMILY: Family = Family {
    name: "Inception-ResNet-v2 (Szegedy et al. 2016)",
    entry: "conv2d_1a.conv.weight",
    encoders: &[Encoder::new("inceptionresnetv2", encode)],
    traits: Traits {
        dilates: false,
        ..Traits::PLAIN
    },
};

/// Branches whose result is added to what they read: [`Layer`]s of each branch, and the share of them
/// that is added.
struct Residual<'a>(&'a [&'a [Layer]], f32);

const BLOCK_35: Residual<'static> = Residual(
    &[
        &[([1, 1], 32, 1)],
        &[([1, 1], 32, 1), ([3, 3], 32, 1)],
        &[([1, 1], 32, 1), ([3, 3], 48, 1), ([3, 3], 64, 1)],
    ],
    0.17,
);
const BLOCK_17: Residual<'static> = Residual(
    &[
        &[([1, 1], 192, 1)],
        &[([1, 1], 128, 1), ([1, 7], 160, 1), ([7, 1], 192, 1)],
    ],
    0.1,
);
const BRANCHES_8: &[&[Layer]] = &[
    &[([1, 1], 192, 1)],
    &[([1, 1], 192, 1), ([1, 3], 224, 1), ([3, 1], 256, 1)],
];
const BLOCK_8: Residual<'static> = Residual(BRANCHES_8, 0.2);
const LAST_BLOCK: Residual<'static> = Residual(BRANCHES_8, 1.0);

fn encode(g: &mut Builder, site: &Site<'_>) -> Features {
    let stages = with_norms(g, |i| stages(i, site.name, site.input));
    Features::new(site.input, stages)
}

fn stages(i: &mut Inception<'_>, name: &Scope, input: Node) -> [Node; 5] {
    let mut x = i.conv(&(name / "conv2d_1a"), input, ([3, 3], 32, 2));
    x = i.conv(&(name / "conv2d_2a"), x, ([3, 3], 32, 1));
    let stage1 = i.conv(&(name / "conv2d_2b"), x, ([3, 3], 64, 1));

    x = i.halve(&(name / "maxpool_3a"), stage1);
    x = i.conv(&(name / "conv2d_3b"), x, ([1, 1], 80, 1));
    let stage2 = i.conv(&(name / "conv2d_4a"), x, ([3, 3], 192, 1));

    x = i.halve(&(name / "maxpool_5a"), stage2);
    x = mixed_5b(i, &(name / "mixed_5b"), x);
    let stage3 = i.repeated(&(name / "repeat"), x, &BLOCK_35, 10);

    x = reduce(
        i,
        &(name / "mixed_6a"),
        stage3,
        &[
            &[([3, 3], 384, 2)],
            &[([1, 1], 256, 1), ([3, 3], 256, 1), ([3, 3], 384, 2)],
        ],
    );
    let stage4 = i.repeated(&(name / "repeat_1"), x, &BLOCK_17, 20);

    x = reduce(
        i,
        &(name / "mixed_7a"),
        stage4,
        &[
            &[([1, 1], 256, 1), ([3, 3], 384, 2)],
            &[([1, 1], 256, 1), ([3, 3], 288, 2)],
            &[([1, 1], 256, 1), ([3, 3], 288, 1), ([3, 3], 320, 2)],
        ],
    );
    x = i.repeated(&(name / "repeat_2"), x, &BLOCK_8, 9);
    x = i.residual(&(name / "block8"), x, &LAST_BLOCK);
    let stage5 = i.conv(&(name / "conv2d_7b"), x, ([1, 1], 1536, 1));
    [stage1, stage2, stage3, stage4, stage5]
}

fn mixed_5b(i: &mut Inception<'_>, name: &Scope, x: Node) -> Node {
    let mut parts = i.branches(
        name,
        x,
        &[
            &[([1, 1], 96, 1)],
            &[([1, 1], 48, 1), ([5, 5], 64, 1)],
            &[([1, 1], 64, 1), ([3, 3], 96, 1), ([3, 3], 96, 1)],
        ],
    );
    parts.push(i.pooled_branch(&(name / "branch3"), x, 64));
    i.g.concat(&parts, name)
}

/// Branches that halve the map, and a pool.
fn reduce(i: &mut Inception<'_>, name: &Scope, x: Node, branches: &[&[Layer]]) -> Node {
    let mut parts = i.branches(name, x, branches);
    parts.push(i.halve(&(name / format!("branch{}", branches.len())), x));
    i.g.concat(&parts, name)
}

impl Inception<'_> {
    fn repeated(&mut self, name: &Scope, x: Node, block: &Residual<'_>, count: usize) -> Node {
        (0..count).fold(x, |x, index| {
            let sum = self.residual(&(name / index), x, block);
            self.g.relu(sum)
        })
    }

    fn residual(
        &mut self,
        name: &Scope,
        x: Node,
        Residual(branches, share): &Residual<'_>,
    ) -> Node {
        let parts = self.branches(name, x, branches);
        let joined = self.g.concat(&parts, name);
        let back = Conv2d::pointwise(self.g.channels(x)).with_bias();
        let mut y = self.g.conv(joined, &(name / "conv2d"), back);
        if *share != 1.0 {
            y = self.g.scale(y, *share, name);
        }
        self.g.add(y, x, name)
    }
}
