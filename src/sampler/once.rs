//! One sample of one source, as `packhorse sample` wants it: with the patience of a tick.

use super::Scheduled;
use super::helpers::Reading;
use crate::clock::Clock;
use crate::message::Sample;
use crossbeam_channel::bounded;
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
    let limit = humantime::format_duration(timeout);
    let late = |_| format!("it hangs: no reading within {limit} (`timeout`)");
    let Reading { taken, data } = told.recv_timeout(timeout).map_err(late)??;
    Ok(Sample { route, taken, data })
}
