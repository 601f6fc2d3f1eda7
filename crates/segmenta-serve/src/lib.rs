//! Networks behind HTTP.
//!
//! *In*: networks by name, an address, limits. *Out*: a [`Server`] that answers with masks, overlays, cut-outs, numbers and
//! documents, in its own API, in KServe V2's (the Open Inference Protocol), in Hugging Face's task and as Label Studio's
//! backend, and that has a page for people.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use segmenta_serve::{Batching, Models, ServeOptions, Server, Wanted};
//! let wanted = Wanted::of("lraspp_mobilenet_v3_large", &segmenta::ModelOptions::new())?;
//! let models = Models::new(vec![wanted])?;
//! for entry in models.iter() {
//!     entry.load(Batching::default(), &mut |_| {})?;
//! }
//! let server = Server::bind(&ServeOptions::default(), models)?;
//! println!("http://{}", server.address()?);
//! server.run(true)?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Server::bind_view`] is the same over a data set instead: its pictures with their masks, and what a check finds.
//!
//! What answers requests is one thread that waits for sockets (axum on tokio); networks run on threads of their own
//! ([`Pool`]), before which requests wait in a queue that is bounded, as bodies, pixels and times are. Nothing in a request
//! reaches the file system or the network: pictures come with it, and networks are those that were named at start.

mod api;
mod guard;
mod health;
mod hugging_face;
mod label_studio;
mod metrics;
mod models;
mod page;
mod pool;
mod problem;
mod routes;
mod server;
pub mod v2;
mod viewer;

pub use models::{Batches, Batching, Entry, Loaded, Models, Wanted};
pub use pool::{Place, Pool, Segmented};
pub use problem::Problem;
pub use server::{Limits, ServeOptions, Server, State, Stop};
pub use viewer::Viewed;
