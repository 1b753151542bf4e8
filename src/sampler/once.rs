//! One sample of one source, as `packhorse sample` wants it: with the patience of a tick.

use super::Scheduled;
use super::helpers::{PANICKED, Reading};
use crate::clock::Clock;
use crate::message::Sample;
use crossbeam_channel::{RecvTimeoutError, bounded};
use std::thread;

/// Takes a sample, and gives up waiting for it when the source's timeout has passed.
///
/// # Errors
/// Why there is none.
pub fn sample_once(scheduled: Scheduled, clock: Clock) -> Result<Sample, String> {
    let Scheduled { mut source, route, timeout, .. } = scheduled;
    let (tell, told) = bounded(1);
    let read = move || {
        // Nobody listens any more when it is late.
        let _ = tell.send(Reading::take(&mut source, clock));
    };
    thread::Builder::new().name("helper".to_owned()).spawn(read).map_err(|error| error.to_string())?;
    let none = |error| match error {
        RecvTimeoutError::Timeout => {
            format!("it hangs: no reading within {} (`timeout`)", humantime::format_duration(timeout))
        }
        RecvTimeoutError::Disconnected => PANICKED.to_owned(),
    };
    let Reading { taken, data } = told.recv_timeout(timeout).map_err(none)??;
    Ok(Sample { route, taken, data })
}
