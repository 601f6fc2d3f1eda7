//! A segmentation network as **data**: a graph of high-level nodes, built once by a function of its
//! architecture.
//!
//! *In*: calls on a [`Builder`], in the field's own words (`conv_bn_relu`, `max_pool`, `resize_like`).
//! *Out*: a [`Graph`] that engines read: the runtime plans it, the trainer learns it, the exporter
//! writes it, [`Graph::summary`] counts it.
//!
//! A graph holds no weights and knows no engine. A parameter's identity is its state-dict name
//! (torchvision's and SMP's names); height and width stay symbolic, so one graph serves every input
//! size and [`Graph::shapes`] says what each node gives for one of them.

mod builder;
mod conv;
mod error;
mod graph;
mod init;
mod op;
mod parameter;
mod scope;
mod shape;
mod side;
mod summary;

pub use builder::Builder;
pub use conv::{Conv2d, ConvTranspose2d};
pub use error::GraphError;
pub use graph::{Graph, Node, NodeData, Output};
pub use init::{Init, InitRule};
pub use op::{Activation, BatchNorm, Filter, Op, Pool2d};
pub use parameter::{Parameter, ParameterId, Role};
pub use scope::Scope;
pub use shape::Shape;
pub use side::{Side, Sides};
pub use summary::{Summary, SummaryRow};
