//! Pools: what moves a window over a map and learns nothing.

use super::{Builder, Extent};
use crate::graph::Node;
use crate::op::{Op, Pool2d};
use crate::scope::Scope;

impl Builder {
    /// Maximum over a moving window.
    pub fn max_pool(&mut self, x: Node, name: &Scope, pool: Pool2d) -> Node {
        let op = Op::MaxPool2d(pool);
        let extent = self.pooled(x, name, &op, pool);
        self.push(name, op, &[x], Vec::new(), extent)
    }

    /// Puts the values of `x` where the max pool `pool` found its maxima, zeros elsewhere: a map as
    /// large as what was pooled.
    pub fn max_unpool(&mut self, x: Node, pool: Node, name: &Scope) -> Node {
        let op = Op::MaxUnpool2d;
        if !self.same_shape(x, pool) {
            let shapes = (self.describe(x), self.describe(pool));
            self.fail(name, &op, || {
                format!(
                    "{} cannot go back through {}, whose shape differs",
                    shapes.0, shapes.1
                )
            });
        }
        let pooled = self.graph.node(pool);
        let (Op::MaxPool2d(_), Some(&from)) = (pooled.op, pooled.inputs.first()) else {
            let (other, kind) = (pooled.name.clone(), pooled.op.kind());
            self.fail(name, &op, || {
                format!("`{other}` is no max pool but a {kind}; give the pool to undo")
            });
            return x;
        };
        let (_, height, width) = self.extent(from);
        let extent = (self.channels(x), height, width);
        self.push(name, op, &[x, pool], Vec::new(), extent)
    }

    /// Mean over a moving window; `count_include_pad` says whether padding counts as zeros.
    pub fn avg_pool(
        &mut self,
        x: Node,
        name: &Scope,
        window: Pool2d,
        count_include_pad: bool,
    ) -> Node {
        let op = Op::AvgPool2d {
            window,
            count_include_pad,
        };
        let extent = self.pooled(x, name, &op, window);
        self.push(name, op, &[x], Vec::new(), extent)
    }

    /// Means over a grid of `size` windows that cover the map: rows, columns.
    pub fn adaptive_avg_pool(&mut self, x: Node, name: &Scope, size: [usize; 2]) -> Node {
        let op = Op::AdaptiveAvgPool2d { size };
        if size.contains(&0) {
            self.fail(name, &op, || {
                format!("a grid of {size:?} windows; give at least one each way")
            });
        }
        let [height, width] = size.map(|side| self.graph.sides.fixed(side));
        let extent = (self.channels(x), height, width);
        self.push(name, op, &[x], Vec::new(), extent)
    }

    /// Mean over all pixels: a 1×1 map.
    pub fn global_avg_pool(&mut self, x: Node, name: &Scope) -> Node {
        let one = self.graph.sides.fixed(1);
        let extent = (self.channels(x), one, one);
        self.push(name, Op::GlobalAvgPool, &[x], Vec::new(), extent)
    }

    /// Maximum over all pixels: a 1×1 map.
    pub fn global_max_pool(&mut self, x: Node, name: &Scope) -> Node {
        let one = self.graph.sides.fixed(1);
        let extent = (self.channels(x), one, one);
        self.push(name, Op::GlobalMaxPool, &[x], Vec::new(), extent)
    }

    /// The extent that a pool gives.
    fn pooled(&mut self, x: Node, name: &Scope, op: &Op, pool: Pool2d) -> Extent {
        let (channels, height, width) = self.extent(x);
        let Pool2d {
            kernel,
            stride,
            padding,
            ceil_mode,
        } = pool;
        let problem = if kernel == 0 || stride == 0 {
            Some("neither window nor step may be 0")
        } else if 2 * padding > kernel {
            Some("the padding may be half the window at most")
        } else if ceil_mode && padding + stride > kernel {
            Some("in ceil mode, padding and step together may be as large as the window at most")
        } else {
            None
        };
        if let Some(problem) = problem {
            self.fail(name, op, || {
                format!("window {kernel}, step {stride}, padding {padding}: {problem}")
            });
            return (channels, height, width);
        }
        let sides = &mut self.graph.sides;
        let mut window = |of| {
            if ceil_mode {
                sides.window_ceil(of, kernel, stride, padding)
            } else {
                sides.window(of, kernel, stride, padding, 1)
            }
        };
        (channels, window(height), window(width))
    }
}
