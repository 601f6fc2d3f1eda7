//! Norms.

use super::Builder;
use crate::graph::Node;
use crate::op::Op;
use crate::parameter::{ParameterId, Role};
use crate::scope::Scope;

impl Builder {
    /// Batch norm; state-dict entries `weight`, `bias`, `running_mean`, `running_var`,
    /// `num_batches_tracked` under NAME.
    pub fn batch_norm(&mut self, x: Node, name: &Scope) -> Node {
        let extent = self.extent(x);
        let entries = [
            ("weight", Role::Scale),
            ("bias", Role::Shift),
            ("running_mean", Role::RunningMean),
            ("running_var", Role::RunningVar),
        ];
        let mut parameters: Vec<_> = entries
            .into_iter()
            .map(|(leaf, role)| self.parameter(&(name / leaf), vec![extent.0], role, &[]))
            .collect();
        parameters.push(self.parameter(
            &(name / "num_batches_tracked"),
            vec![],
            Role::Counter,
            &[],
        ));
        let op = Op::BatchNorm(self.batch_norm);
        self.push(name, op, &[x], parameters, extent)
    }

    /// Norm of `groups` groups of channels, each picture by itself; state-dict entries `weight` and
    /// `bias` under NAME.
    pub fn group_norm(&mut self, x: Node, name: &Scope, groups: usize, eps: f32) -> Node {
        let parameters = self.scale_and_shift(x, name);
        self.grouped(x, name, groups, eps, parameters)
    }

    /// Norm of each channel of each picture by itself (PyTorch's `InstanceNorm2d`), without
    /// parameters.
    pub fn instance_norm(&mut self, x: Node, name: &Scope, eps: f32) -> Node {
        self.grouped(x, name, self.channels(x), eps, Vec::new())
    }

    /// Norm of each pixel's channels; state-dict entries `weight` and `bias` under NAME.
    pub fn layer_norm(&mut self, x: Node, name: &Scope, eps: f32) -> Node {
        let extent = self.extent(x);
        let parameters = self.scale_and_shift(x, name);
        self.push(name, Op::LayerNorm { eps }, &[x], parameters, extent)
    }

    fn grouped(
        &mut self,
        x: Node,
        name: &Scope,
        groups: usize,
        eps: f32,
        parameters: Vec<ParameterId>,
    ) -> Node {
        let extent = self.extent(x);
        let op = Op::GroupNorm { groups, eps };
        if groups == 0 || !extent.0.is_multiple_of(groups) {
            self.fail(name, &op, || {
                let channels = extent.0;
                format!(
                    "the channels, {channels} of them, do not divide into {groups} groups; give another number"
                )
            });
        }
        self.push(name, op, &[x], parameters, extent)
    }

    fn scale_and_shift(&mut self, x: Node, name: &Scope) -> Vec<ParameterId> {
        let channels = self.channels(x);
        let entries = [("weight", Role::Scale), ("bias", Role::Shift)];
        let entry = |(leaf, role)| self.parameter(&(name / leaf), vec![channels], role, &[]);
        entries.into_iter().map(entry).collect()
    }
}
