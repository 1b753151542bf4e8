//! How messages are delivered: what may be sent, when and where to connect, what a broker's answers mean, what another
//! configuration needs. One state machine, and pure: it has no clock, disk, socket, thread or log.
//!
//! It is told what happened ([`Delivery::on`]), and says what to do ([`Delivery::next_action`]) and until when there is
//! nothing ([`Delivery::deadline`]). The shell around it cannot decide, and this cannot act. Each question has one owner:
//! the window knows what is in flight, `sending.rs` what may be sent now, the connection when and where to connect, the
//! suspects and refusals what a broker will not take, the presence what becomes of the status message.

mod action;
mod backoff;
mod case;
mod condemned;
mod connection;
mod effect;
mod endings;
mod entry;
mod event;
mod facts;
mod failures;
mod leaving;
mod members;
pub mod packet;
mod presence;
mod rate;
mod refusals;
#[cfg(test)]
mod refusals_tests;
mod resuming;
mod rivals;
mod sending;
mod sizes;
mod stalls;
mod standing;
mod story;
mod suspects;
#[cfg(test)]
mod suspects_tests;
mod tally;
#[cfg(test)]
mod tests;
mod times;
mod tries;
mod unanswered;
mod verdicts;
mod waiting;
mod will;
mod window;
#[cfg(test)]
mod window_tests;

use crate::burst::Burst;
use crate::clock::Reading;
use crate::config::Config;
use crate::message::{Message, Seq, Stamp};
use crate::payload::{Outgoing, Time};
use crate::planted::{Planted, is_planted};
use crate::status;
use condemned::Condemned;
use connection::Connection;
use leaving::{Pending, Stop};
use log::Level;
use presence::Presence;
use rate::Rate;
use refusals::Refusals;
use sizes::Sizes;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};
use story::Story;
use suspects::Suspects;
use unanswered::Unanswered;
use window::Window;

pub use action::{Action, Event, GiveUp, How, Now, Remains};
pub use effect::{Effect, effect};
pub use event::{Connected, Fault, Lost, Publish, Refusal, Report, Scope, UnderWay, WillFault};
pub use facts::{Facts, Phase};
pub use stalls::Stalls;
pub use standing::{Reach, Wait};
pub use tally::{Dropped, Tally};
pub use times::{Dated, Times};

/// Decides how messages are delivered.
#[derive(Debug)]
pub struct Delivery {
    config: Config,
    times: Times,
    window: Window,
    connection: Connection,
    suspects: Suspects,
    unanswered: Unanswered,
    condemned: Condemned,
    refusals: Refusals,
    /// What is known of the brokers' largest packets, by their place in the configuration.
    sizes: Vec<Sizes>,
    presence: Presence,
    pace: Pace,
    /// What the log tells of outages.
    story: Story,
    /// Messages in the spool that are not finished, as far as is known.
    backlog: u64,
    /// Messages dropped because they are too old.
    outdated: Outdated,
    /// Messages refused because a quota is exceeded, over the present connection.
    quota: Burst,
    /// Whether the broker has taken a message over the present connection.
    takes_messages: bool,
    /// Another configuration, which waits for the connection.
    pending: Option<Pending>,
    stop: Option<Stop>,
    /// Whether the store has no more messages until the next turn.
    is_exhausted: bool,
    actions: VecDeque<Action>,
    random: fastrand::Rng,
}

/// The rate, and when it lets the next publish go that is ready.
#[derive(Debug)]
struct Pace {
    rate: Option<Rate>,
    due: Option<Instant>,
}

/// What was dropped because it is too old, by rule.
#[derive(Debug, Default)]
struct Outdated {
    /// Older than their expiry.
    expired: Tally,
    /// Older than `spool.max_age`.
    too_old: Tally,
}

impl Delivery {
    /// Nothing is in flight, and the first attempt to connect is due at once. `first` is the broker to begin with; `seed`
    /// places the delays of the back-off within their jitter.
    #[must_use]
    pub fn new(config: Config, times: Times, first: usize, seed: u64, now: Instant) -> Self {
        Self {
            window: Window::new(usize::from(config.delivery.window)),
            connection: Connection::new(&config, first, now),
            suspects: Suspects::default(),
            unanswered: Unanswered::default(),
            condemned: Condemned::default(),
            refusals: Refusals::new(&config.retry),
            sizes: Self::sizes(&config),
            presence: Presence::default(),
            pace: Pace { rate: config.delivery.max_rate.map(Rate::new), due: None },
            story: Story::new(now),
            backlog: 0,
            outdated: Outdated::default(),
            quota: Burst::default(),
            takes_messages: false,
            pending: None,
            stop: None,
            is_exhausted: false,
            actions: VecDeque::new(),
            random: fastrand::Rng::with_seed(seed),
            config,
            times,
        }
    }

    /// Takes note of what happened.
    pub fn on(&mut self, event: Event, now: Now) {
        match event {
            Event::Turn { backlog } => self.turn(backlog, now),
            Event::Read(what, message) => self.window.push(what, message),
            Event::NothingToRead => self.is_exhausted = true,
            Event::Held(under_way) => self.window.connection_lost(&under_way),
            Event::Connected { connected, backlog } => self.connected(connected, backlog, now),
            Event::Acknowledged(what) => self.acknowledged(what, now),
            Event::NotSent(what) => self.not_sent(what),
            Event::Refused(what, refusal) => self.refused(what, refusal, now),
            Event::Lost { why, remains } => self.lost(&why, &remains, now),
            Event::Disconnected(remains) => self.disconnected(&remains, now),
            Event::Stalled(stalled) => self.stalled(stalled, now),
            Event::Status(status) => self.publish_status(status, now),
            Event::StatusChanged => self.presence.changed(now.at),
            Event::Reconfigure { config, has_session } => self.reconfigure(*config, has_session),
            Event::Reconfigured(remains) => self.reconfigured(&remains, now),
            Event::Dropped(range) => self.dropped(&range),
            Event::NetworkBack(how) => self.network_back(&how, now),
            Event::CredentialsChanged => self.credentials_changed(now),
            Event::Hurry => self.hurry(now),
            Event::BootBegan(beginning) => self.times.began(beginning),
            Event::Stop(until) => {
                self.stop = Some(Stop::new(until));
                self.tell_outdated(|tally| tally.ended());
            }
        }
    }

    /// What is to be done next; `None`: nothing until the next event or [`Delivery::deadline`].
    pub fn next_action(&mut self, now: Now) -> Option<Action> {
        if self.actions.is_empty() {
            self.decide(now);
        }
        let action = self.actions.pop_front()?;
        if let Action::Close(_) = action {
            self.connection.closing();
        }
        Some(action)
    }

    /// When time asks for something; `None`: never. Must be asked after [`Delivery::next_action`] gave nothing at `asked` or
    /// later: what was due at `asked` waits for something else.
    #[must_use]
    pub fn deadline(&self, asked: Now) -> Option<Instant> {
        let deadlines = [
            self.connection.deadline(),
            self.presence.deadline(),
            self.pace.due,
            self.ack_deadline(),
            self.suspects.until(self.connection.lasting(), asked.at),
            self.resumed_first_until(),
            self.refusals.deadline(),
            self.stop.as_ref().map(Stop::until),
            self.story.deadline().filter(|_| !self.connection.is_over()),
        ];
        let deadlines = deadlines.into_iter().flatten();
        let missed = if is_planted(Planted::WakeUpForgotten) { Duration::from_secs(1) } else { Duration::ZERO };
        let deadlines = deadlines.filter(|at| missed.is_zero() || *at > asked.at + missed);
        deadlines.filter(|at| *at > asked.at || is_planted(Planted::DeadlineInThePast)).min()
    }

    /// Decides one thing after the other, until there is an action.
    fn decide(&mut self, now: Now) {
        if self.stop.is_some() {
            return self.check_stop(now);
        }
        let steps: [fn(&mut Self, Now); 6] = [
            Self::tell_of_outage,
            Self::check_change,
            Self::check_connection,
            Self::check_acknowledgements,
            Self::check_leaving,
            Self::publish_next,
        ];
        for step in steps {
            step(self, now);
            if !self.actions.is_empty() {
                return;
            }
        }
    }

    fn turn(&mut self, backlog: u64, now: Now) {
        (self.is_exhausted, self.backlog) = (false, backlog);
        if let Some(text) = self.story.drained(backlog, self.window.spooled_in_flight(), now.at) {
            self.log(Level::Info, text);
        }
        self.tell_outdated(|tally| {
            tally.lapse(now.at);
            tally.look(now.at)
        });
    }

    /// A line every ten minutes while there is no connection.
    fn tell_of_outage(&mut self, now: Now) {
        if let Some(away) = self.story.look(now.at)
            && let Some(text) = self.connection.outage(away, self.backlog, now.at)
        {
            self.log(Level::Info, text);
        }
    }

    fn check_connection(&mut self, now: Now) {
        let config = &self.config;
        self.connection.turn(now.at, || status::last_will(config), &mut self.actions);
    }

    fn dropped(&mut self, range: &RangeInclusive<Seq>) {
        self.story.dropped(range.end().0 - range.start().0 + 1);
        let range = Publish::Message(*range.start())..=Publish::Message(*range.end());
        self.window.drop_waiting(&range).into_iter().for_each(|what| self.gone(what));
    }

    fn log(&mut self, level: Level, text: String) {
        self.actions.push_back(Action::Log(level, text));
    }

    fn sizes(config: &Config) -> Vec<Sizes> {
        config.broker.addresses.iter().map(|_| Sizes::default()).collect()
    }

    /// What is known of the present broker's largest packet.
    fn size_limit(&mut self) -> &mut Sizes {
        let member = self.connection.member();
        &mut self.sizes[member]
    }

    /// The configuration that holds.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// When something was, as far as is known by now.
    #[must_use]
    pub fn time_of(&self, stamp: Stamp) -> Time {
        self.times.of(stamp)
    }

    /// Messages of the spool that must not be dropped to make room, from the lowest to the highest.
    #[must_use]
    pub fn range_in_flight(&self) -> Option<RangeInclusive<Seq>> {
        let range = self.window.range_in_flight()?;
        Some(range.start().spooled()?..=range.end().spooled()?)
    }

    /// Whether a message of the spool is in memory.
    #[must_use]
    pub fn has(&self, seq: Seq) -> bool {
        self.window.get(Publish::Message(seq)).is_some()
    }

    /// How many publishes are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.window.in_flight()
    }

    /// How many messages of the spool are in flight.
    #[must_use]
    pub fn spooled_in_flight(&self) -> usize {
        self.window.spooled_in_flight()
    }

    /// Whether there is a broker.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.connection.reach()
    }

    /// The broker's address while we are connected, else why we are not.
    #[must_use]
    pub fn detail(&self) -> String {
        self.connection.detail()
    }

    /// What the broker refuses altogether, and why; `None`: nothing.
    #[must_use]
    pub fn refused_altogether(&self) -> Option<String> {
        self.refusals.summary()
    }

    /// What is waited for before the next attempt to connect; `None`: nothing.
    #[must_use]
    pub fn wait(&self) -> Option<Wait> {
        self.connection.wait()
    }

    /// Whether the attempt to connect that begins now is the first one of a round over all brokers.
    #[must_use]
    pub fn begins_round(&self) -> bool {
        self.connection.begins_round()
    }

    /// What a message in the window is published as; `None`: it is not there.
    #[must_use]
    pub fn render(&self, what: Publish, dated: Dated, clock: Reading) -> Option<Outgoing> {
        self.window.get(what).map(|message| self.times.render(message, dated, clock))
    }

    /// How many messages are in the window that did not go through the spool.
    #[cfg(test)]
    #[must_use]
    pub fn from_memory(&self) -> usize {
        let grounded = self.window.grounded().map(|(what, _)| what);
        self.window.flying().chain(grounded).filter(|what| matches!(what, Publish::Bypass(_))).count()
    }

    /// How many messages are in memory.
    #[cfg(test)]
    #[must_use]
    pub fn held_in_memory(&self) -> usize {
        self.window.len()
    }

    /// The highest message of the spool that was read; `None`: none is in the window.
    #[must_use]
    pub fn last_read(&self) -> Option<Seq> {
        self.window.last_spooled()
    }

    /// Takes out the messages from memory, in order: the disk takes them now. Between two connections, or at the end: none
    /// must be in flight that is still waited for.
    pub fn give_back(&mut self) -> Vec<Message> {
        let messages = self.window.take_bypass();
        messages.iter().for_each(|message| self.gone(Publish::Bypass(message.seq)));
        messages
    }
}
