//! What the publisher says of itself when it is asked.

use super::link::Link;
use super::meter::Meter;
use super::shell::Shell;
use crate::clock::rfc3339;
use crate::config::Protocol;
use crate::delivery::{Facts, Now, Phase, Wait};
use crate::foreign;
use crate::report::{Connection, LastError, Publishing, Spool, State, Waiting, advice, seconds};
use std::time::Instant;

/// How the publisher fares. It touches the disk to ask how much room there is, and, before the first connection, to read
/// how old the oldest message is.
pub fn of<L: Link>(shell: &Shell<L>, meter: &Meter, now: Now) -> Publishing {
    let facts = shell.delivery.facts();
    Publishing {
        waiting: waiting(shell, meter, &facts, now),
        connection: connection(shell, facts, now),
        rates: meter.rates(now.at),
        spool: spool(shell, meter, now),
    }
}

/// A moment by the wall clock as it is now.
fn time(at: Instant, now: Now) -> String {
    let ago = i64::try_from(now.at.saturating_duration_since(at).as_millis()).unwrap_or(i64::MAX);
    let ahead = i64::try_from(at.saturating_duration_since(now.at).as_millis()).unwrap_or(i64::MAX);
    rfc3339(now.clock.wall.saturating_sub(ago).saturating_add(ahead))
}

fn connection<L: Link>(shell: &Shell<L>, facts: Facts, now: Now) -> Connection {
    let broker = &shell.delivery.config().broker;
    let last_error = facts.last_loss.map(|(text, at)| LastError {
        advice: advice(&text).map(str::to_owned),
        text: foreign::hide(&text).into_owned(),
        time: time(at, now),
        age_seconds: seconds(now.at.saturating_duration_since(at)),
    });
    Connection {
        state: match (facts.phase, facts.next_attempt) {
            (Phase::Waiting, Some((_, Wait::Acceptance))) => State::Refused,
            (Phase::Waiting, _) => State::Waiting,
            (Phase::Connecting, _) => State::Connecting,
            (Phase::Connected, _) => State::Connected,
            (Phase::Closing, _) => State::Closing,
            (Phase::Over, _) => State::Over,
        },
        address: facts.address,
        since: time(facts.since, now),
        lasts_seconds: seconds(now.at.saturating_duration_since(facts.since)),
        protocol: match broker.protocol {
            Protocol::V5 => "5".to_owned(),
            Protocol::V311 => "3.1.1".to_owned(),
        },
        session_present: facts.session_present,
        window: facts.limit.map(|limit| limit as u64),
        in_flight: facts.in_flight as u64,
        failures: facts.failures.into(),
        next_attempt: facts.next_attempt.map(|(at, _)| time(at, now)),
        next_attempt_seconds: facts.next_attempt.map(|(at, _)| seconds(at.saturating_duration_since(now.at))),
        last_error,
        refused: facts.refused.map(|refused| foreign::hide(&refused).into_owned()),
    }
}

fn waiting<L: Link>(shell: &Shell<L>, meter: &Meter, facts: &Facts, now: Now) -> Waiting {
    let (backlog, spool) = (shell.store.backlog(), &shell.store.spool);
    let oldest = (backlog.messages > 0).then(|| spool.oldest_seq());
    let taken = oldest.and_then(|oldest| shell.delivery.sampled_at(oldest).or_else(|| spool.peek(oldest)));
    let drains = facts.phase == Phase::Connected && backlog.messages > facts.in_flight as u64;
    Waiting {
        messages: backlog.messages,
        bytes: backlog.bytes,
        oldest: taken.map(|taken| rfc3339(shell.delivery.time_of(taken).wall)),
        oldest_age_seconds: taken.map(|taken| seconds(shell.delivery.waited(taken, now.clock))),
        drained_in_seconds: meter.drained_in(backlog.messages, now.at).filter(|_| drains).map(seconds),
    }
}

fn spool<L: Link>(shell: &Shell<L>, meter: &Meter, now: Now) -> Spool {
    let spool = &shell.store.spool;
    let space = spool.space();
    Spool {
        directory: foreign::path(spool.directory()),
        stream: spool.stream().to_string(),
        oldest_seq: spool.oldest_seq().0,
        next_seq: spool.next_seq().0,
        bytes: spool.bytes(),
        max_bytes: shell.delivery.config().spool.max_size,
        disk_fails: shell.store.is_failing(),
        disk_free_bytes: space.map(|space| space.free),
        disk_total_bytes: space.map(|space| space.total),
        last_drop_seconds: meter.since_drop(now.at).map(|age| age.as_secs()),
    }
}
