//! The server over loopback: every address, limit and error, from clients that behave and from those that do not.

mod access;
mod behaviour;
mod client;
mod protocols;
mod segment;
mod viewer;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use segmenta::{ModelOptions, Picture};
use segmenta_serve::{Batching, Limits, Models, ServeOptions, Server, State, Stop, Wanted};

/// A server on a free port, that ends with the test.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<State>,
    pub(crate) stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// With the demo's network twice, as `roads` and as `again`.
    pub(crate) fn with(change: impl FnOnce(&mut ServeOptions)) -> Self {
        let weights =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../segmenta-cli/assets/demo.safetensors");
        let base = ModelOptions::new().threads(1);
        let wanted = ["roads", "again"]
            .map(|name| Wanted::of(&format!("{name}={}", weights.display()), &base).unwrap());
        let models = Models::new(wanted.into()).unwrap();
        let mut options = ServeOptions {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            workers: 2,
            // Not measured: a test's machine is busy.
            batching: Batching {
                most: Some(1),
                delay: None,
            },
            ..ServeOptions::default()
        };
        change(&mut options);
        for entry in models.iter() {
            entry.load(options.batching, &mut |_| {}).unwrap();
        }
        let server = Server::bind(&options, models).unwrap();
        let (address, state, stop) = (
            server.address().unwrap(),
            Arc::clone(server.state()),
            server.stopper(),
        );
        let thread = std::thread::spawn(move || server.run(false).unwrap());
        Self {
            address,
            state,
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// Stops it, and waits until it has ended.
    pub(crate) fn end(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

/// A PNG of some colours.
pub(crate) fn photo(width: usize, height: usize) -> Vec<u8> {
    let pixels = (0..width * height * 3)
        .map(|i| (i * 7 % 251) as u8)
        .collect();
    Picture::from_rgb(width, height, pixels).unwrap().to_png()
}

pub(crate) fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}
