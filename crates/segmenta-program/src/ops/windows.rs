//! A map in windows, and back; each is the other's gradient. Attention within windows: queries, keys, values, biases → y.

use segmenta_kernels::{
    from_windows, to_windows, window_attention, window_attention_gradient,
    window_attention_gradient_scratch,
};

use crate::run::Views;
use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Sizes, Step};

/// x → its windows.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Rows and columns of a window.
    pub side: usize,
    /// What the map is rolled by.
    pub shift: usize,
}

/// Windows → a map.
#[derive(Clone, Copy, Debug)]
pub struct FromWindows {
    /// Rows and columns of a window.
    pub side: usize,
    /// What the map was rolled by.
    pub shift: usize,
}

/// q, k, v, biases and, where windows begin with a class token, its own → y.
#[derive(Clone, Copy, Debug)]
pub struct WindowAttention {
    /// Runs of channels that attend by themselves.
    pub heads: usize,
    /// What the map was rolled by.
    pub shift: usize,
}

/// q, k, v, biases, dy → dq, dk, dv, the gradients of the biases.
#[derive(Clone, Copy, Debug)]
pub struct WindowAttentionGradient(WindowAttention);

impl Operation for Windows {
    const LABEL: &'static str = "windows";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.unary(|x, to| to_windows(x, self.side, self.shift, to));
    }
}

impl Forward for Windows {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let Self { side, shift } = *self;
        to.give(step.inputs[0], FromWindows { side, shift }, vec![dy]);
    }
}

impl Operation for FromWindows {
    const LABEL: &'static str = "from windows";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.unary(|x, to| from_windows(x, self.side, self.shift, to));
    }
}

impl Forward for FromWindows {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let Self { side, shift } = *self;
        to.give(step.inputs[0], Windows { side, shift }, vec![dy]);
    }
}

impl Operation for WindowAttention {
    const LABEL: &'static str = "window attention";

    fn run(&self, run: &mut Run<'_, '_>) {
        let settings = [self.heads, self.shift];
        if run.io.step.reads.len() == 4 {
            let Views {
                reads: [q, k, v, table],
                writes: [mut to],
                ..
            } = run.io.views::<4, 1>();
            window_attention([q, k, v], (table, None), settings, &mut to);
        } else {
            let Views {
                reads: [q, k, v, table, token],
                writes: [mut to],
                ..
            } = run.io.views::<5, 1>();
            window_attention([q, k, v], (table, Some(token)), settings, &mut to);
        }
    }
}

impl Forward for WindowAttention {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let mut reads = step.reads.clone();
        reads.push(dy);
        let gradients: Vec<Value> = step.inputs.iter().map(|&node| to.fresh(node)).collect();
        to.push(WindowAttentionGradient(*self), reads, gradients.clone());
        for (&input, gradient) in step.inputs.iter().zip(gradients) {
            to.pass(input, gradient);
        }
    }
}

impl Operation for WindowAttentionGradient {
    const LABEL: &'static str = "d window attention";

    fn scratch(&self, sizes: &Sizes<'_>) -> usize {
        window_attention_gradient_scratch(sizes.reads[0], sizes.reads[3])
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        let WindowAttention { heads, shift } = self.0;
        let settings = [heads, shift];
        if run.io.step.writes.len() == 4 {
            let Views {
                reads: [q, k, v, table, dy],
                writes: [mut dq, mut dk, mut dv, mut to_table],
                scratch,
            } = run.io.views::<5, 4>();
            let to = [&mut dq, &mut dk, &mut dv];
            let of_biases = (&mut to_table, None);
            let (maps, biases) = ([q, k, v], (table, None));
            window_attention_gradient(maps, biases, dy, settings, to, of_biases, scratch);
        } else {
            let Views {
                reads: [q, k, v, table, token, dy],
                writes: [mut dq, mut dk, mut dv, mut to_table, mut to_token],
                scratch,
            } = run.io.views::<6, 5>();
            let to = [&mut dq, &mut dk, &mut dv];
            let of_biases = (&mut to_table, Some(&mut to_token));
            let (maps, biases) = ([q, k, v], (table, Some(token)));
            window_attention_gradient(maps, biases, dy, settings, to, of_biases, scratch);
        }
    }
}
