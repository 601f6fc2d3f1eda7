//! The order of a state dict: module by module, as a walk through the tree of names meets them.

use std::collections::HashMap;

use crate::graph::Graph;
use crate::parameter::ParameterId;
use crate::scope::Scope;

/// What was said of the order of modules.
#[derive(Debug, Default)]
pub(super) struct ModuleOrder(HashMap<String, Vec<String>>);

impl ModuleOrder {
    pub(super) fn declare(&mut self, name: &Scope, children: &[&str]) {
        let children = children.iter().map(|&child| child.into()).collect();
        self.0.insert(name.as_str().into(), children);
    }

    /// Sorts the parameters: modules under one name in the order declared, or else in that in which they
    /// were built.
    pub(super) fn sort(mut self, graph: &mut Graph) {
        let paths: Vec<Vec<usize>> = graph
            .parameters
            .iter()
            .map(|parameter| self.path(&parameter.name))
            .collect();
        let mut order: Vec<usize> = (0..paths.len()).collect();
        order.sort_by_key(|&index| &paths[index]);
        let mut place = vec![ParameterId(0); order.len()];
        for (new, &old) in (0..).zip(&order) {
            place[old] = ParameterId(new);
        }
        for id in graph.nodes.iter_mut().flat_map(|node| &mut node.parameters) {
            *id = place[id.index()];
        }
        graph.parameters = order
            .iter()
            .map(|&old| graph.parameters[old].clone())
            .collect();
    }

    /// A name as places among siblings, from the root on.
    fn path(&mut self, name: &str) -> Vec<usize> {
        let mut above = 0;
        let mut path = Vec::new();
        for part in name.split('.') {
            let siblings = self
                .0
                .entry(name[..above].trim_end_matches('.').into())
                .or_default();
            let found = siblings.iter().position(|s| s == part);
            path.push(found.unwrap_or_else(|| {
                siblings.push(part.into());
                siblings.len() - 1
            }));
            above += part.len() + 1;
            above = above.min(name.len());
        }
        path
    }
}
