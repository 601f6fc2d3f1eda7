//! One request for one file: from the start, or from where an earlier one was cut.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
    thread,
    time::Duration,
};

use ureq::{
    Agent, Body,
    config::RedirectAuthHeaders,
    http::{
        Response,
        header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, RANGE, RETRY_AFTER},
    },
};

use crate::{hub::Progress, hub_error::HubFault};

/// Pauses before the second, third, ... attempt after a fault that may pass.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// How long a server may stay silent before it counts as lost.
const SILENCE: Duration = Duration::from_secs(30);

/// An HTTP client that follows redirects, takes proxies from the environment, and does not wait for ever. What
/// authorises a request goes to no other address than the one that is asked first.
pub fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .redirect_auth_headers(RedirectAuthHeaders::Never)
        .user_agent(concat!("segmenta/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// A file that is to come from `url` to `part`, which survives a cut and is gone on with.
#[derive(Debug)]
pub struct Download<'a> {
    /// What asks, of [`agent`].
    pub agent: Agent,
    /// Where it is.
    pub url: &'a str,
    /// What the request says of who asks: the value of `Authorization`.
    pub authorization: Option<&'a str>,
    /// Where it comes to, until it is complete and its digest is right.
    pub part: &'a Path,
    /// The length that was published.
    pub bytes: Option<u64>,
}

/// What a file that has come must be.
pub type Check<'a> = &'a dyn Fn(&Path) -> Result<(), HubFault>;

impl Download<'_> {
    /// Completes `part`, however often the connection is lost within reason, and has `check` look at it. What does
    /// not pass is removed, and once more downloaded from the start where its beginning was of an earlier request:
    /// the two halves may be of different files.
    ///
    /// # Errors
    ///
    /// No network, a server's refusal, a full disk, or what `check` says.
    pub fn complete(
        &self,
        check: Check<'_>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), HubFault> {
        let mut pauses = PAUSES.iter();
        loop {
            let resumed = match self.run(progress) {
                Ok(resumed) => resumed,
                Err(fault) => match pauses.next() {
                    Some(pause) if fault.may_pass() => {
                        thread::sleep(fault.pause().unwrap_or(*pause));
                        continue;
                    }
                    _ => return Err(fault),
                },
            };
            progress(Progress::Verifying);
            let Err(fault) = check(self.part) else {
                return Ok(());
            };
            fs::remove_file(self.part).map_err(|error| HubFault::disk(error, None))?;
            if !resumed {
                return Err(fault);
            }
        }
    }

    /// Completes `part`. Gives whether its beginning came with an earlier request.
    ///
    /// # Errors
    ///
    /// Whatever stopped it; `part` then keeps what is worth going on with.
    fn run(&self, progress: &mut dyn FnMut(Progress)) -> Result<bool, HubFault> {
        let disk = |error| HubFault::disk(error, self.bytes);
        let mut part = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.part)
            .map_err(disk)?;
        let mut done = part.metadata().map_err(disk)?.len();
        if self.bytes == Some(done) {
            return Ok(true);
        }
        if self.bytes.is_some_and(|bytes| bytes < done) {
            part.set_len(0).map_err(disk)?;
            done = 0;
        }

        let mut request = self.agent.get(self.url);
        if done > 0 {
            request = request.header(RANGE, format!("bytes={done}-"));
        }
        if let Some(value) = self.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let response = request.call().map_err(|error| network(&error))?;
        let total = match response.status().as_u16() {
            // The whole file, because it was asked for or because the server knows no ranges.
            200 => {
                if done > 0 {
                    part.set_len(0).map_err(disk)?;
                    done = 0;
                }
                number(&response, CONTENT_LENGTH, |text| text)
            }
            206 if starts_at(&response, done) => number(&response, CONTENT_RANGE, |text| {
                text.rsplit('/').next().unwrap_or("")
            }),
            // What is here is not the beginning of what is there: from the start, next time.
            206 | 416 if done > 0 => {
                part.set_len(0).map_err(disk)?;
                return Err(HubFault::Status(416));
            }
            429 => return Err(HubFault::Busy(retry_after(&response))),
            status => return Err(HubFault::Status(status)),
        };
        if let (Some(expected), Some(found)) = (self.bytes, total)
            && expected != found
        {
            drop(part);
            fs::remove_file(self.part).map_err(disk)?;
            return Err(HubFault::WrongLength { expected, found });
        }

        let resumed = done > 0;
        if resumed {
            progress(Progress::Resuming { from: done });
        }
        let total = total.or(self.bytes);
        done = receive(response, &mut part, done, total, progress)?;
        match total {
            Some(total) if done < total => Err(HubFault::Cut { done, total }),
            _ => Ok(resumed),
        }
    }
}

/// Appends a body to `part`, which has `done` bytes; gives its length at the end.
fn receive(
    response: Response<Body>,
    part: &mut File,
    mut done: u64,
    total: Option<u64>,
    progress: &mut dyn FnMut(Progress),
) -> Result<u64, HubFault> {
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        progress(Progress::Downloading { done, total });
        let count = match body.read(&mut buffer) {
            Ok(0) => return Ok(done),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Whatever ended it, the next request goes on from here.
            Err(error) => match total {
                Some(total) => return Err(HubFault::Cut { done, total }),
                None => return Err(HubFault::Lost(error.to_string())),
            },
        };
        let missing = total.map(|total| total.saturating_sub(done));
        part.write_all(&buffer[..count])
            .map_err(|error| HubFault::disk(error, missing))?;
        done += count as u64;
    }
}

/// Whether a partial answer begins at byte `start`.
fn starts_at(response: &Response<Body>, start: u64) -> bool {
    let first = |text: &str| text.strip_prefix("bytes ")?.split('-').next()?.parse().ok();
    header(response, CONTENT_RANGE).and_then(first) == Some(start)
}

/// The number in the part of a header that `part` picks.
fn number(
    response: &Response<Body>,
    name: ureq::http::HeaderName,
    part: fn(&str) -> &str,
) -> Option<u64> {
    header(response, name).and_then(|text| part(text).trim().parse().ok())
}

/// A header's text.
fn header(response: &Response<Body>, name: ureq::http::HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

/// For how long a server asks to be left alone: a number of seconds. A date is not read.
pub fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = header(response, RETRY_AFTER)?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Says why there was no answer.
pub fn network(error: &ureq::Error) -> HubFault {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
    const LOST: [io::ErrorKind; 5] = [
        BrokenPipe,
        ConnectionAborted,
        ConnectionReset,
        TimedOut,
        UnexpectedEof,
    ];
    let lost = match error {
        ureq::Error::Timeout(_) => true,
        ureq::Error::Io(error) => LOST.contains(&error.kind()),
        _ => false,
    };
    if lost {
        HubFault::Lost(error.to_string())
    } else {
        HubFault::Network(error.to_string())
    }
}
