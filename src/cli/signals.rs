//! What signals ask of a running agent.
//!
//! SIGINT, SIGTERM and SIGQUIT stop it, and SIGXCPU, when the processor time that a limit allows is used up. One that follows ends the
//! process at once, for what was accepted is on the medium already; but not within a moment of the first, for `timeout` signals its child and
//! then its group. SIGHUP has it read its configuration at once and try the broker now, as other daemons do. Who started it with SIGHUP
//! ignored, as `nohup` does, wants it to go on when the terminal closes: then it stays ignored. Other signals that would end it ask for
//! nothing here and are logged; those of faults (SIGSEGV, SIGABRT and their like) keep their meaning.
//!
//! SIGHUP and the harmless ones are held from the very beginning, before it is known what the user typed: a command other than
//! `run` gives them back their usual meaning.

use super::{Code, Failure};
use crate::agent::Asked;
use crate::control::Question;
use crate::outlet;
use crossbeam_channel::{Receiver, Sender, bounded};
use log::{debug, info};
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
};
use signal_hook::flag::register_conditional_default;
use signal_hook::iterator::Signals;
use signal_hook::low_level;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Held from the beginning: would end the process, and do not ask it to stop.
const HELD: [i32; 6] = [SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF];
/// Besides SIGINT. What is ignored at the start, as a shell does with SIGQUIT for what it runs in the background, stops the agent all the same.
const STOPS: [i32; 3] = [SIGTERM, SIGQUIT, SIGXCPU];
/// A write beyond the limit of a file's size raises SIGXFSZ; heard, the write fails like others.
const HARMLESS: [i32; 4] = [SIGIO, libc::SIGPWR, libc::SIGSTKFLT, SIGXFSZ];
/// Requests to stop that come within this time of the first are the first one.
const SAME_REQUEST: Duration = Duration::from_millis(250);
/// Signals that ask for nothing are logged once within this time, each.
const QUIET: Duration = Duration::from_secs(60);

/// Signals that came since the process began and wait for what the user typed.
pub struct Held {
    signals: Signals,
    /// What they were at the start, by `/proc/self/status`.
    status: String,
    released: Arc<AtomicBool>,
}

/// Holds signals back that would end the process and do not ask it to stop, until [`Held::listen`] or [`Held::release`].
///
/// # Errors
/// The system lets none be handled.
pub fn hold() -> Result<Held, Failure> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let released = Arc::new(AtomicBool::new(false));
    let held: Vec<i32> = HELD.into_iter().filter(|signal| !ignores(&status, *signal)).collect();
    let signals = Signals::new(&held).map_err(|error| unhandled(&error))?;
    for signal in held {
        register_conditional_default(signal, Arc::clone(&released)).map_err(|error| unhandled(&error))?;
    }
    Ok(Held { signals, status, released })
}

impl Held {
    /// Gives signals back their usual meaning, those that came already too.
    pub fn release(mut self) {
        self.released.store(true, Ordering::SeqCst);
        for signal in self.signals.pending() {
            // It is known, for its default was registered.
            let _ = low_level::emulate_default_handler(signal);
        }
    }

    /// Has signals ask from now on, those that came already too, and commands: `questions` are theirs.
    ///
    /// # Errors
    /// The system lets one of them not be handled.
    pub fn listen(self, questions: Receiver<Question>) -> Result<Asked, Failure> {
        let Self { mut signals, status, .. } = self;
        let ((stop, stopped), (hang_up, hung_up)) = (bounded(1), bounded(1));
        let stop = Stop { tell: stop, first: Arc::default() };
        let interrupted = stop.clone();
        ctrlc::set_handler(move || interrupted.ask(SIGINT)).map_err(|error| unhandled(&error))?;
        let harmless = HARMLESS.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX());
        for signal in STOPS.into_iter().chain(harmless.filter(|signal| !ignores(&status, *signal))) {
            signals.add_signal(signal).map_err(|error| unhandled(&error))?;
        }
        let mut ignored = Ignored::default();
        let wait = move || {
            for signal in signals.forever() {
                if signal == SIGHUP {
                    // Once is enough for those that come before the first one is heard.
                    let _ = hang_up.try_send(());
                } else if STOPS.contains(&signal) {
                    stop.ask(signal);
                } else if let Some(times) = ignored.heard(signal, Instant::now()) {
                    info!("signal ignored; it asks for nothing here signal={} times={times}", name(signal));
                }
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(|error| unhandled(&error))?;
        Ok(Asked { stop: stopped, reload: hung_up, questions })
    }
}

fn unhandled(error: &dyn std::error::Error) -> Failure {
    Failure { code: Code::Bug, message: format!("signals cannot be handled: {error}") }
}

/// Hands on the first request to stop.
#[derive(Clone)]
struct Stop {
    tell: Sender<String>,
    /// When it came.
    first: Arc<Mutex<Option<Instant>>>,
}

impl Stop {
    fn ask(&self, signal: i32) {
        let (signal, now) = (name(signal), Instant::now());
        let first = *self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now);
        if first == now {
            // There is room for one, and this is the only one.
            let _ = self.tell.try_send(signal.into_owned());
        } else if now - first < SAME_REQUEST {
            debug!("asked to stop again within {SAME_REQUEST:?}, which is the same request signal={signal}");
        } else {
            info!("asked to stop once more; ending at once signal={signal}");
            outlet::output().flush();
            // Nothing that is done at an ordinary end is waited for.
            low_level::exit(i32::from(Code::Done as u8));
        }
    }
}

/// Signals that ask for nothing: when each was logged, and how many came since.
#[derive(Default)]
struct Ignored(HashMap<i32, (Instant, u64)>);

impl Ignored {
    /// Counts a signal; how many came that are not logged, when it is time to log them.
    fn heard(&mut self, signal: i32, now: Instant) -> Option<u64> {
        match self.0.get_mut(&signal) {
            Some((logged, unlogged)) if now.saturating_duration_since(*logged) < QUIET => {
                *unlogged += 1;
                None
            }
            former => {
                let unlogged = former.map_or(0, |(_, unlogged)| *unlogged);
                self.0.insert(signal, (now, 0));
                Some(unlogged + 1)
            }
        }
    }
}

/// The name of a signal, as kill(1) takes it.
fn name(signal: i32) -> Cow<'static, str> {
    match (low_level::signal_name(signal), signal - libc::SIGRTMIN()) {
        (Some(name), _) => name.into(),
        (None, _) if signal == libc::SIGPWR => "SIGPWR".into(),
        (None, _) if signal == libc::SIGSTKFLT => "SIGSTKFLT".into(),
        (None, 0) => "SIGRTMIN".into(),
        (None, over) => format!("SIGRTMIN+{over}").into(),
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

    #[test]
    fn what_is_ignored_is_logged_once_a_minute_with_how_many_came() {
        let (mut ignored, begin) = (Ignored::default(), Instant::now());
        let mut heard = |signal, second| ignored.heard(signal, begin + Duration::from_secs(second));

        let first = heard(SIGUSR1, 0);
        let more: Vec<_> = (1..60).map(|second| heard(SIGUSR1, second)).collect();
        let other = heard(SIGUSR2, 59);
        let later = [heard(SIGUSR1, 60), heard(SIGUSR1, 61), heard(SIGUSR1, 1000)];

        assert_eq!((first, more), (Some(1), vec![None; 59]));
        assert_eq!((other, later), (Some(1), [Some(60), None, Some(2)]));
    }

    #[test]
    fn every_signal_has_the_name_that_kill_takes() {
        let names = [SIGUSR1, SIGIO, libc::SIGPWR, libc::SIGSTKFLT, libc::SIGRTMIN(), libc::SIGRTMIN() + 3].map(name);

        assert_eq!(names, ["SIGUSR1", "SIGIO", "SIGPWR", "SIGSTKFLT", "SIGRTMIN", "SIGRTMIN+3"]);
    }
}
