//! A data set looked at in a browser: its pictures with their masks, and what a check finds in them.
//!
//! A request names a picture by its place in the data set's own list, so that no other file can be asked for. The check
//! begins with the server and runs beside it; filters by class and by problem are there once it is done.

mod answers;
mod filter;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use segmenta::data::Dataset;
use segmenta::data::check::{Contents, Report};
use tokio::sync::Semaphore;

use crate::routes::{Route, ask, router_of};
use crate::server::State;

/// A data set that is looked at.
pub struct Viewed {
    dataset: Dataset,
    /// What people call it.
    title: String,
    /// Pictures that the check has read.
    checked: AtomicUsize,
    inspected: OnceLock<Inspected>,
    /// Pictures that are read at once; requests beyond them wait.
    readers: Arc<Semaphore>,
}

/// What the check found.
struct Inspected {
    report: Report,
    /// Of each item, in the data set's order.
    contents: Vec<Contents>,
    /// The findings that each item has, as places in the report's list.
    findings: Vec<Vec<usize>>,
}

impl fmt::Debug for Viewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewed")
            .field("title", &self.title)
            .field("pictures", &self.dataset.len())
            .finish_non_exhaustive()
    }
}

impl Viewed {
    /// Begins to check the data set on threads of its own; `title` is what people call it.
    ///
    /// # Errors
    /// Threads that the system does not give.
    pub fn new(dataset: Dataset, title: impl Into<String>) -> std::io::Result<Arc<Self>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let viewed = Arc::new(Self {
            dataset,
            title: title.into(),
            checked: AtomicUsize::new(0),
            inspected: OnceLock::new(),
            readers: Arc::new(Semaphore::new(cores)),
        });
        // The global pool decodes the pictures that are asked for: behind ten thousand others they would come late.
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(cores)
            .build()
            .map_err(std::io::Error::other)?;
        let checked = Arc::clone(&viewed);
        std::thread::Builder::new()
            .name("check".into())
            .spawn(move || pool.install(|| checked.inspect()))?;
        Ok(viewed)
    }

    fn inspect(&self) {
        let advance = || {
            self.checked.fetch_add(1, Ordering::Relaxed);
        };
        let (report, contents) = self.dataset.inspect(&advance);
        let mut findings = vec![Vec::new(); contents.len()];
        for (place, finding) in report.findings.iter().enumerate() {
            for &item in &finding.items {
                // A picture with two notices has a finding once.
                if findings[item].last() != Some(&place) {
                    findings[item].push(place);
                }
            }
        }
        let inspected = Inspected {
            report,
            contents,
            findings,
        };
        // Nothing else sets it.
        let _ = self.inspected.set(inspected);
    }
}

/// Every address of a data set's page.
pub(crate) fn routes() -> Vec<Route> {
    use crate::{health, page};
    vec![
        ask("/", "The page over a data set", page::view_html),
        ask("/page.css", "Its style", page::css),
        ask("/view.js", "Its script", page::view_js),
        ask("/health", "Whether the server lives", health::health),
        ask(
            "/v1/data",
            "The data set: classes, counts, findings",
            answers::summary,
        ),
        ask(
            "/v1/data/items",
            "A page of its pictures, filtered",
            answers::items,
        ),
        ask(
            "/v1/data/items/{index}/picture",
            "A picture, upright",
            answers::picture,
        ),
        ask(
            "/v1/data/items/{index}/mask",
            "Its mask as ids, grey",
            answers::mask,
        ),
    ]
}

/// What answers requests over a data set.
pub(crate) fn router(state: Arc<State>) -> Router {
    router_of(routes(), state)
}
