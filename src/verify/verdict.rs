//! The verdict, in figures and in words.

use super::ledger::{Balance, Named};
use crate::message::Qos;
use std::fmt;
use std::time::Duration;

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything has its place.
    Settled,
    /// Somebody stopped it.
    Stopped,
    /// Nothing has moved for so long, and messages wait.
    Stuck(Duration),
}

/// Faults that were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Made {
    pub cuts: u64,
    pub delays: u64,
    pub black_holes: u64,
    pub outages: u64,
    pub kills: u64,
}

/// What a test has found.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub end: End,
    pub qos: Qos,
    pub balance: Balance,
    /// Samples that never were messages: channel, spool or disk had no room.
    pub not_accepted: u64,
    pub made: Made,
    /// From the first message made to the end of making them.
    pub made_within: Duration,
    /// To the last arrival.
    pub received_within: Duration,
    /// Whether the broker forgot the session of the second connection, and what it kept for it.
    pub is_blind: bool,
}

/// What follows for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    Good,
    /// Something was lost, or came twice at QoS 2.
    Bad,
    /// Messages wait, and nothing moves.
    Open,
}

impl Verdict {
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        let repeats = self.qos == Qos::ExactlyOnce && self.balance.duplicates.count > 0;
        match self.end {
            _ if self.balance.lost.count > 0 || repeats => Judgement::Bad,
            End::Stuck(_) => Judgement::Open,
            _ if self.balance.unseen > 0 => Judgement::Open,
            End::Settled | End::Stopped => Judgement::Good,
        }
    }

    /// One sentence, or two.
    #[must_use]
    pub fn words(&self) -> String {
        let Balance { lost, unseen, duplicates, waiting, accepted, dropped, .. } = &self.balance;
        let mut words = Vec::new();
        if lost.count > 0 {
            words.push(format!("LOST: {lost} of {accepted} accepted messages did not arrive, and do not wait."));
            if self.is_blind {
                words.push(
                    "The broker forgot the second connection while that was away, so it may have had them.".into(),
                );
            } else {
                words
                    .push("The broker acknowledged them; its queue for the second connection may be too short.".into());
            }
        }
        if duplicates.count > 0 && self.qos == Qos::ExactlyOnce {
            words.push(format!("TWICE: {duplicates} arrived again, which QoS 2 rules out."));
        }
        if words.is_empty() {
            words.push(match (dropped, waiting, unseen) {
                (0, 0, 0) => format!("Nothing was lost: all of {accepted} accepted messages arrived."),
                _ => format!("Nothing was lost of {accepted} accepted messages."),
            });
        }
        if *unseen > 0 {
            words.push(format!("But {unseen} may still be at the broker: the second connection is away."));
        }
        match self.end {
            End::Settled => {}
            End::Stopped => words.push("The test was stopped: this holds so far.".to_owned()),
            End::Stuck(time) => words.push(format!(
                "But {waiting} wait, and nothing has moved for {}: the test has no end.",
                humantime::format_duration(time)
            )),
        }
        words.join(" ")
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.first.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let more = if self.count > self.first.len() as u64 { ", ..." } else { "" };
        match self.count {
            0 => f.write_str("0"),
            count => write!(f, "{count} (seq {named}{more})"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Balance { accepted, received, waiting, dropped, lost, duplicates, repeats, out_of_order, .. } =
            &self.balance;
        let lost_count = lost.count;
        let unseen = if self.balance.unseen > 0 { format!(" + unseen {}", self.balance.unseen) } else { String::new() };
        writeln!(
            f,
            "accepted {accepted} = received {received} + waiting {waiting} + dropped by a rule {dropped} + lost {lost_count}{unseen}"
        )?;
        writeln!(
            f,
            "lost {lost}, duplicated {duplicates}, repeated by the broker {repeats}, out of order {out_of_order}"
        )?;
        for (count, what) in [
            (self.not_accepted, "samples found no room and were not accepted"),
            (self.balance.not_spooled, "messages arrived that the disk had not taken"),
            (self.balance.strangers, "messages of somebody else arrived under the topic"),
        ] {
            if count > 0 {
                writeln!(f, "{count} {what}")?;
            }
        }
        writeln!(
            f,
            "rate {:.1}/s accepted, {:.1}/s received",
            per_second(*accepted, self.made_within),
            per_second(*received, self.received_within)
        )?;
        let latencies = &self.balance.latencies;
        if let [Some(p50), Some(p99), Some(p999)] = [0.5, 0.99, 0.999].map(|part| latencies.quantile(part)) {
            let longest = shown(latencies.longest());
            writeln!(f, "latency p50 {}, p99 {}, p99.9 {}, longest {longest}", shown(p50), shown(p99), shown(p999))?;
        }
        let Made { cuts, delays, black_holes, outages, kills } = self.made;
        if self.made != Made::default() {
            writeln!(
                f,
                "faults: cuts {cuts}, delays {delays}, black holes {black_holes}, outages {outages}, kills {kills}"
            )?;
        }
        writeln!(f, "{}", self.words())
    }
}

/// How many in a second.
#[must_use]
pub fn per_second(count: u64, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit behind the point")]
    let count = count as f64;
    if time.is_zero() { 0.0 } else { count / time.as_secs_f64() }
}

/// A latency with three digits.
#[must_use]
pub fn shown(latency: Duration) -> String {
    let seconds = latency.as_secs_f64();
    if seconds < 1.0 { format!("{:.3} ms", seconds * 1e3) } else { format!("{seconds:.3} s") }
}
