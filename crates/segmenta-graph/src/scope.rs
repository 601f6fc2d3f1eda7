//! Names: where a node stands in the module tree, spelled as a state dict spells it.

use std::fmt;
use std::ops::Div;

/// A place in the module tree, such as `backbone.layer1.0`.
///
/// `/` goes one level deeper, so that builders read like paths:
///
/// ```
/// use segmenta_graph::Scope;
/// let block = Scope::root() / "backbone" / "layer1" / 0;
/// assert_eq!((&block / "conv1").to_string(), "backbone.layer1.0.conv1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Scope(String);

impl Scope {
    /// The top of the tree: the empty name.
    pub fn root() -> Self {
        Self::default()
    }

    /// The dotted name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<T: fmt::Display> Div<T> for &Scope {
    type Output = Scope;

    fn div(self, child: T) -> Scope {
        if self.0.is_empty() {
            Scope(child.to_string())
        } else {
            Scope(format!("{}.{child}", self.0))
        }
    }
}

impl<T: fmt::Display> Div<T> for Scope {
    type Output = Scope;

    fn div(self, child: T) -> Scope {
        &self / child
    }
}
