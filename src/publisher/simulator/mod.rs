//! Whole gateways in virtual time: the real core, shell and spool, and a simulated world.
//!
//! One seed is one history: hours of sampling and delivering with cut links, brokers (one, several, several behind one
//! address) that refuse (all, a topic, one message), hang up, forget or say nothing, kills, power cuts, failing and full disks,
//! edits and clocks that jump. What the gateway does takes time. After every step, and at the end, the promises are checked: nothing
//! accepted is lost but by a counted rule, the counters add up, first arrivals in order, no repeats beyond what is allowed,
//! limits and rate kept, progress without busy loops, no sleep while there is something to do, only poison set aside, memory
//! bounded.
//!
//! A seed that fails is printed; `PACKHORSE_SEED=N cargo test --lib no_history_of_the_fixed -- --nocapture` replays it.
//! `PACKHORSE_SIMULATE=SECONDS` says for how long new seeds are tried.

mod broker;
mod checks;
mod faults;
mod history;
mod judge;
mod notes;
mod repeats;
mod seen;
mod terms;
mod wire;
mod world;

use crate::planted::{Planted, plant};
use history::{Figures, History};
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

/// Histories of these seeds run each time.
const FIXED: std::ops::Range<u64> = 0..10;
/// Within so many histories a planted fault has to be found.
const ENOUGH: u64 = 60;

/// Broken promises that are shown at most.
const SHOWN: usize = 10;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn tell(histories: u64, sum: Figures, took: Duration) {
    let days = sum.virtual_time.as_secs_f64() / 86_400.0;
    println!(
        "{histories} histories, {} steps, {} messages, {} faults injected, {days:.1} virtual days, {:.1} a second",
        sum.steps,
        sum.arrivals,
        sum.faults,
        days / took.as_secs_f64()
    );
}

/// Runs one history; what it did, or how it broke a promise or panicked, with its seed.
fn history(seed: u64) -> Result<Figures, String> {
    let told = panic::catch_unwind(AssertUnwindSafe(|| History::new(seed).run()));
    told.unwrap_or_else(|_| Err(format!("seed {seed}: it panicked")))
}

fn run(seeds: impl Iterator<Item = u64>) {
    let (start, mut sum, mut histories, mut broken) = (Instant::now(), Figures::default(), 0, Vec::new());
    for seed in seeds {
        histories += 1;
        match history(seed) {
            Ok(figures) => {
                sum.steps += figures.steps;
                sum.faults += figures.faults;
                sum.arrivals += figures.arrivals;
                sum.virtual_time += figures.virtual_time;
            }
            Err(promise) => broken.push(promise),
        }
        if broken.len() >= SHOWN {
            break;
        }
    }
    tell(histories, sum, start.elapsed());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn no_history_of_the_fixed_seeds_breaks_a_promise() {
    match setting("PACKHORSE_SEED") {
        Some(seed) => run([seed].into_iter()),
        None => run(FIXED),
    }
}

#[test]
fn no_history_of_new_seeds_breaks_a_promise() {
    let end = Instant::now() + Duration::from_secs(setting("PACKHORSE_SIMULATE").unwrap_or(10));
    run(std::iter::repeat_with(|| fastrand::u64(1000..)).take_while(|_| Instant::now() < end));
}

/// Plants a fault; whether a history shows it, which does not end in a panic.
fn finds(fault: Planted) {
    plant(Some(fault));
    let found = (0..ENOUGH).find_map(|seed| History::new(seed).run().err());
    plant(None);
    println!("{fault:?}: {}", found.as_deref().unwrap_or("not found"));
    assert!(found.is_some(), "{fault:?} is not found within {ENOUGH} histories");
}

#[test]
fn a_journal_that_is_written_late_is_found() {
    finds(Planted::JournalLate);
}

#[test]
fn a_rate_that_is_not_asked_is_found() {
    finds(Planted::RateForgotten);
}

#[test]
fn a_receive_maximum_that_is_not_kept_is_found() {
    finds(Planted::ReceiveMaximumForgotten);
}

#[test]
fn a_status_message_that_does_not_count_is_found() {
    finds(Planted::StatusNotCounted);
}

#[test]
fn resumed_messages_that_are_published_anew_are_found() {
    finds(Planted::ResumedPublishedAnew);
}

#[test]
fn a_message_that_is_set_aside_without_a_control_is_found() {
    finds(Planted::SetAsideWithoutControl);
}

#[test]
fn a_refused_message_that_is_never_set_aside_is_found() {
    finds(Planted::NeverSetAside);
}

#[test]
fn a_loss_that_is_taken_for_a_delivery_is_found() {
    finds(Planted::LossTakenForDelivery);
}

#[test]
fn a_back_off_that_is_forgotten_is_found() {
    finds(Planted::BackOffForgotten);
}

#[test]
fn a_drop_that_is_not_counted_is_found() {
    finds(Planted::DropNotCounted);
}

#[test]
fn a_deadline_in_the_past_is_found() {
    finds(Planted::DeadlineInThePast);
}

#[test]
fn a_wake_up_that_is_lost_is_found() {
    finds(Planted::WakeUpForgotten);
}

#[test]
fn a_try_that_is_answered_for_one_scope_only_is_found() {
    finds(Planted::TryForgotten);
}

#[test]
fn a_message_that_is_convicted_without_a_control_is_found() {
    finds(Planted::ConvictedWithoutControl);
}

#[test]
fn a_message_that_is_counted_twice_is_found() {
    finds(Planted::CountedTwice);
}
