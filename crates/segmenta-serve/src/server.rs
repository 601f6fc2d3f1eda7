//! The server: its listener, its connections with their limits of time, and how it ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::guard::Access;
use crate::metrics::Metrics;
use crate::models::{Batching, Models};
use crate::pool::Pool;
use crate::routes::router;
use crate::viewer::{self, Viewed};

/// What requests may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub body: usize,
    /// Pixels of a picture, known from its head before it is decoded.
    pub pixels: u64,
    /// Pictures of one request.
    pub pictures: usize,
    /// Until a request's head is whole, and then its body.
    pub read: Duration,
    /// From a request's place in the queue to its answer.
    pub deadline: Duration,
    /// Requests that wait.
    pub queue: usize,
    /// Open connections.
    pub connections: usize,
    /// How long requests that are being worked on when the server is to end may take.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 64 << 20,
            pixels: 100_000_000,
            pictures: 64,
            read: Duration::from_secs(30),
            deadline: Duration::from_secs(60),
            queue: 64,
            connections: 1024,
            drain: Duration::from_secs(30),
        }
    }
}

/// How a server is started.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where it listens; port 0 for any that is free.
    pub address: SocketAddr,
    /// Threads that segment; 0 for one a core.
    pub workers: usize,
    /// What requests may be.
    pub limits: Limits,
    /// What was said of batches.
    pub batching: Batching,
    /// A token that every request has to have.
    pub token: Option<String>,
    /// Names under which it may be asked, beside addresses and `localhost`; `*` for any.
    pub hosts: Vec<String>,
    /// Origins of pages that may ask it; `*` for any.
    pub origins: Vec<String>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            workers: 0,
            limits: Limits::default(),
            batching: Batching::default(),
            token: None,
            hosts: Vec::new(),
            origins: Vec::new(),
        }
    }
}

/// What all requests share.
#[derive(Debug)]
pub struct State {
    /// The networks.
    pub models: Models,
    /// Where they run.
    pub pool: Pool,
    pub(crate) limits: Limits,
    pub(crate) batching: Batching,
    pub(crate) access: Access,
    pub(crate) metrics: Metrics,
    pub(crate) connections: AtomicUsize,
    pub(crate) started: Instant,
    /// The data set that is looked at, if that is what the server is for.
    pub(crate) viewed: Option<Arc<Viewed>>,
    draining: AtomicBool,
}

impl State {
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Loads every network anew that is loaded, each in the place of what was there once it is ready. Each failure is logged.
    pub fn reload(&self) {
        for entry in self.models.iter().filter(|entry| entry.loaded().is_some()) {
            match entry.load(self.batching, &mut |_| {}) {
                Ok(()) => tracing::info!(model = entry.name(), "loaded anew"),
                Err(error) => tracing::error!(model = entry.name(), "not loaded anew: {error}"),
            }
        }
    }
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: std::net::TcpListener,
    state: Arc<State>,
    stop: watch::Sender<bool>,
}

/// Ends a server from elsewhere.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// No more connections; requests that have begun are answered.
    pub fn stop(&self) {
        // Whoever listens for it is there or gone already.
        let _ = self.0.send(true);
    }
}

impl Server {
    /// Listens; networks are loaded already.
    ///
    /// # Errors
    /// An address that cannot be had, threads that the system does not give.
    pub fn bind(options: &ServeOptions, models: Models) -> io::Result<Self> {
        Self::with(options, models, None)
    }

    /// Listens for a browser that looks at a data set.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub fn bind_view(options: &ServeOptions, viewed: Arc<Viewed>) -> io::Result<Self> {
        Self::with(options, Models::none(), Some(viewed))
    }

    fn with(
        options: &ServeOptions,
        models: Models,
        viewed: Option<Arc<Viewed>>,
    ) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(options.address)?;
        listener.set_nonblocking(true)?;
        let workers = match options.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let limits = options.limits;
        let state = State {
            models,
            pool: Pool::new(workers, limits.queue, limits.pixels)?,
            limits,
            batching: options.batching,
            access: Access {
                token: options.token.clone(),
                hosts: options.hosts.clone(),
                origins: options.origins.clone(),
            },
            metrics: Metrics::default(),
            connections: AtomicUsize::new(0),
            started: Instant::now(),
            viewed,
            draining: AtomicBool::new(false),
        };
        Ok(Self {
            listener,
            state: Arc::new(state),
            stop: watch::Sender::new(false),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What all requests share.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// What ends it.
    pub fn stopper(&self) -> Stop {
        Stop(self.stop.clone())
    }

    /// Answers until it is stopped (SIGTERM and Ctrl-C do, where `signals` says so; SIGHUP loads the networks anew), then until
    /// what has begun is answered, or for as long as [`Limits::drain`] says.
    ///
    /// # Errors
    /// What the system says of the listener.
    pub fn run(self, signals: bool) -> io::Result<()> {
        // One thread waits for all sockets; what computes has threads of its own.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let Self {
            listener,
            state,
            stop,
        } = self;
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            if signals {
                self::signals(&state, &stop)?;
            }
            accept(&listener, &state, stop.subscribe()).await
        })?;
        state.pool.close();
        Ok(())
    }
}

async fn accept(
    listener: &TcpListener,
    state: &Arc<State>,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let router = match state.viewed {
        Some(_) => viewer::router(Arc::clone(state)),
        None => router(Arc::clone(state)),
    };
    let mut connections = JoinSet::new();
    let of_connections = stopped.clone();
    loop {
        let is_full = connections.len() >= state.limits.connections;
        tokio::select! {
            _ = stopped.wait_for(|&stopped| stopped) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if !is_full => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, router.clone(), Arc::clone(state), of_connections.clone());
                    connections.spawn(connection);
                    state.connections.store(connections.len(), Ordering::Relaxed);
                }
                // A connection that is gone already, or too many open files: the next may fare better.
                Err(error) => {
                    tracing::warn!("a connection could not be taken: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
        state
            .connections
            .store(connections.len(), Ordering::Relaxed);
    }
    state.draining.store(true, Ordering::Relaxed);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(state.limits.drain, all).await.is_err() {
        tracing::warn!("stopped with requests that were not done in time");
        connections.abort_all();
    }
    Ok(())
}

async fn connection(
    stream: TcpStream,
    router: axum::Router,
    state: Arc<State>,
    mut stopped: watch::Receiver<bool>,
) {
    // Answers are written whole: waiting for more of them would only make them late.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Also how long a connection may be idle between two requests.
        .header_read_timeout(state.limits.read)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served: Result<(), hyper::Error> = tokio::select! {
        served = &mut connection => served,
        () = async { drop(stopped.wait_for(|&stopped| stopped).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        // Clients that go away, are too slow or speak something else.
        tracing::debug!("a connection ended: {error}");
    }
}

/// Listens for the system's signals, from now on: what comes later is not lost.
fn signals(state: &Arc<State>, stop: &watch::Sender<bool>) -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let (state, stop) = (Arc::clone(state), stop.clone());
        tokio::spawn(async move {
            let mut asked = 0;
            loop {
                tokio::select! {
                    _ = term.recv() => asked += 1,
                    _ = interrupt.recv() => asked += 1,
                    _ = hang_up.recv() => {
                        let state = Arc::clone(&state);
                        std::thread::spawn(move || state.reload());
                        continue;
                    }
                }
                if asked > 1 {
                    tracing::warn!("stopped at once");
                    std::process::exit(130);
                }
                tracing::info!("stopping: requests that have begun are answered");
                let _ = stop.send(true);
            }
        });
    }
    #[cfg(not(unix))]
    {
        let _ = state;
        let stop = stop.clone();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                let _ = stop.send(true);
            }
        });
    }
    Ok(())
}
