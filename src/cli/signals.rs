//! What signals ask of a running agent.
//!
//! SIGINT and SIGTERM stop it; the second one ends the process at once, for what was accepted is on the medium already. SIGHUP has it
//! read its configuration at once and try the broker now, as other daemons do. Who started it with SIGHUP ignored, as `nohup` does,
//! wants it to go on when the terminal closes: then it stays ignored.

use super::{Code, Failure};
use crate::agent::Asked;
use crate::control::Question;
use crossbeam_channel::{Receiver, Sender, bounded};
use log::info;
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Has signals ask from now on, and commands: `questions` are theirs.
///
/// # Errors
/// The system lets none be handled.
pub fn listen(questions: Receiver<Question>) -> Result<Asked, Failure> {
    let ((stop, stopped), (hang_up, hung_up)) = (bounded(1), bounded(1));
    let stop = Stop { tell: stop, asked: Arc::default() };
    let interrupted = stop.clone();
    ctrlc::set_handler(move || interrupted.ask("SIGINT")).map_err(|error| unhandled(&error))?;
    let is_ignored = std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, SIGHUP));
    let wanted = [SIGTERM, SIGHUP].into_iter().filter(|signal| *signal != SIGHUP || !is_ignored);
    let mut signals = Signals::new(wanted).map_err(|error| unhandled(&error))?;
    let wait = move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                // Once is enough for those that come before the first one is heard.
                let _ = hang_up.try_send(());
            } else {
                stop.ask("SIGTERM");
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(|error| unhandled(&error))?;
    Ok(Asked { stop: stopped, reload: hung_up, questions })
}

fn unhandled(error: &dyn std::error::Error) -> Failure {
    Failure { code: Code::Bug, message: format!("signals cannot be handled: {error}") }
}

/// Hands on the first request to stop.
#[derive(Clone)]
struct Stop {
    tell: Sender<&'static str>,
    asked: Arc<AtomicBool>,
}

impl Stop {
    fn ask(&self, signal: &'static str) {
        if self.asked.swap(true, Ordering::Relaxed) {
            info!("asked to stop once more; ending at once signal={signal}");
            std::process::exit(i32::from(Code::Done as u8));
        }
        // There is room for one, and this is the only one.
        let _ = self.tell.try_send(signal);
    }
}

/// Whether a process ignores a signal, by its `/proc/.../status` (proc(5): `SigIgn` has a bit for each, from the first).
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_kernel_s_mask() {
        let status = |mask: &str| format!("SigBlk:\tffffffffffffffff\nSigIgn:\t{mask}\nSigCgt:\tffffffffffffffff\n");
        for (mask, hangup, terminate) in [
            ("0000000000000000", false, false),
            ("0000000000000001", true, false),
            ("0000000000004000", false, true),
            ("0000000000005001", true, true),
            ("nonsense", false, false),
        ] {
            let status = status(mask);
            assert_eq!((ignores(&status, SIGHUP), ignores(&status, SIGTERM)), (hangup, terminate), "{mask}");
        }
        assert!(!ignores("", SIGHUP));
    }
}
