//! Convolutions of one map that are added up: one convolution (Ding et al. 2021, arXiv:2101.03697), as MobileOne's
//! blocks are meant to be run.

use segmenta_graph::{Conv2d, Graph, Node, Op, Parameter};

use super::pack::folded_norm;
use super::{Draft, see_through};

/// A batch norm of a convolution, or of the map itself.
pub(super) struct Branch {
    conv: Option<Node>,
    norm: Node,
}

impl Draft<'_> {
    /// What is added to `tail`, a convolution `conv` of `input` with its norm, and is one itself; and the
    /// convolution whose window holds all of their windows.
    pub(super) fn absorb_parallel(
        &mut self,
        tail: &mut Node,
        input: Node,
        conv: Conv2d,
    ) -> (Conv2d, Vec<Branch>) {
        let (mut whole, mut branches) = (conv, Vec::new());
        while let Some(sum) = self.only_reader(*tail, |op| matches!(op, Op::Add)) {
            let operands = self.graph.node(sum).inputs.iter();
            let mut others = operands
                .map(|&o| see_through(self.graph, o))
                .filter(|o| o != tail);
            let Some((branch, wider)) = others.next().and_then(|o| self.branch(o, input, whole))
            else {
                break;
            };
            self.absorbed[branch.norm.index()] = true;
            if let Some(conv) = branch.conv {
                self.absorbed[conv.index()] = true;
            }
            branches.push(branch);
            (whole, *tail) = (wider, sum);
        }
        (whole, branches)
    }

    /// The branch that ends in `norm`, if it can become a part of the convolution `whole` of `input`, and
    /// the convolution of both.
    fn branch(&self, norm: Node, input: Node, whole: Conv2d) -> Option<(Branch, Conv2d)> {
        let graph = self.graph;
        let is_norm = matches!(graph.node(norm).op, Op::BatchNorm(_));
        let is_free = self.values[norm.index()].is_none() && self.readers[norm.index()].len() == 1;
        if !is_norm || !is_free || self.is_result(norm) {
            return None;
        }
        let source = see_through(graph, graph.node(norm).inputs[0]);
        if source == input {
            let channels = graph.node(input).channels;
            let keeps = whole.stride == [1, 1] && whole.out_channels == channels;
            let branch = Branch { conv: None, norm };
            return (keeps && is_centred(&whole)).then_some((branch, whole));
        }
        let Op::Conv2d(conv) = graph.node(source).op else {
            return None;
        };
        let reads_it = see_through(graph, graph.node(source).inputs[0]) == input;
        let free = self.only_reader(source, |_| true) == Some(norm);
        let [one, other] = [conv, whole].map(|conv| Conv2d {
            kernel: [1, 1],
            padding: [0, 0],
            bias: false,
            ..conv
        });
        let alike = one == other && is_centred(&conv) && is_centred(&whole);
        let larger = if conv.kernel[0] > whole.kernel[0] {
            conv
        } else {
            whole
        };
        let conv = Some(source);
        (reads_it && free && alike).then_some((Branch { conv, norm }, larger))
    }
}

/// Whether a square window of odd side lies around its pixel.
fn is_centred(conv: &Conv2d) -> bool {
    let [rows, columns] = conv.kernel;
    let around = [0, 1].map(|axis| conv.dilation[axis] * (conv.kernel[axis] / 2));
    rows == columns && rows % 2 == 1 && conv.padding == around && conv.extra_padding == [0, 0]
}

/// Kernel and bias of a branch, in a window of that size; `per_group` channels go into each group.
pub(super) fn read_branch<E>(
    branch: &Branch,
    graph: &Graph,
    window: [usize; 2],
    per_group: usize,
    read: &impl Fn(&Parameter) -> Result<Vec<f32>, E>,
) -> Result<(Vec<f32>, Vec<f32>), E> {
    let (scale, shift) = folded_norm(graph, graph.node(branch.norm), read)?;
    let Some(node) = branch.conv else {
        // A kernel that gives each channel back.
        let mut points = vec![0.0; scale.len() * per_group];
        for (channel, scale) in scale.iter().enumerate() {
            points[channel * per_group + channel % per_group] = *scale;
        }
        return Ok((in_window(&points, [1, 1], window), shift));
    };
    let data = graph.node(node);
    let entry = |i: usize| data.parameters.get(i).map(|&id| read(graph.parameter(id)));
    let mut kernel = entry(0).transpose()?.unwrap_or_default();
    let each = kernel.len() / scale.len();
    for (values, scale) in kernel.chunks_exact_mut(each).zip(&scale) {
        values.iter_mut().for_each(|value| *value *= scale);
    }
    let bias = match entry(1).transpose()? {
        Some(bias) => bias
            .iter()
            .zip(&scale)
            .zip(&shift)
            .map(|((b, s), t)| b * s + t)
            .collect(),
        None => shift,
    };
    let Op::Conv2d(conv) = data.op else {
        unreachable!("a branch's convolution")
    };
    Ok((in_window(&kernel, conv.kernel, window), bias))
}

/// A kernel with zeros around it.
pub(super) fn in_window(kernel: &[f32], from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    if from == to {
        return kernel.to_vec();
    }
    let [above, left] = [0, 1].map(|axis| (to[axis] - from[axis]) / 2);
    let mut wider = Vec::new();
    for taps in kernel.chunks_exact(from[0] * from[1]) {
        let start = wider.len();
        wider.resize(start + to[0] * to[1], 0.0);
        for (row, taps) in taps.chunks_exact(from[1]).enumerate() {
            let at = start + (above + row) * to[1] + left;
            wider[at..][..from[1]].copy_from_slice(taps);
        }
    }
    wider
}
