//! When and where to connect: one connection after the other, with a back-off between those that do not hold. Pure.

use super::action::{Action, GiveUp};
use super::backoff::{Backoff, Next};
use super::event::{Connected, Lost};
use super::failures::{Delay, Failures, Loss};
use super::members::{Members, Turn};
use super::rivals::Rivals;
use super::standing::{Proof, Reach, State, Stay, Wait};
use super::story::{Rounded, is_worth_telling};
use super::will::Will;
use super::window::MOST;
use crate::config::{BrokerProfile, Config, Limits, OnRefusal};
use crate::payload::Outgoing;
use crate::planted::{Planted, is_planted};
use log::Level;
use std::time::{Duration, Instant};

/// On top of `connect_timeout`, which the link keeps by itself: for an MQTT library that says nothing at all.
const GRACE: Duration = Duration::from_secs(60);

/// How long the end of a connection may take, with nothing in flight, when another one is to follow.
const GOODBYE: Duration = Duration::from_secs(2);

/// The connection to the broker, over all its losses.
#[derive(Debug)]
pub struct Connection {
    pub(super) state: State,
    pub(super) backoff: Backoff,
    /// While every broker refuses us.
    refused: Backoff,
    pub(super) members: Members,
    /// What kinds of brokers they are, in their order.
    profiles: Vec<BrokerProfile>,
    settings: Settings,
    /// What the broker of the last connection said when it accepted it.
    pub(super) accepted: Connected,
    will: Will,
    /// The member of the last connection.
    connected: Option<usize>,
    /// Why there is no connection.
    last_loss: Option<String>,
    /// The last loss that was not planned, and when it was noticed.
    pub(super) last_failure: Option<(String, Instant)>,
    failures: Failures,
    /// Whether another client with our id may be the reason.
    pub(super) rivals: Rivals,
}

/// What the configuration says of connections.
#[derive(Debug)]
struct Settings {
    client_id: String,
    window: u16,
    keep_alive: Duration,
    connect_timeout: Duration,
    /// A connection that carries messages has to last this long, lest two clients with the same id push each other
    /// out as fast as they can.
    stable_after: Duration,
    on_refusal: OnRefusal,
}

impl Connection {
    /// The first attempt is due at once, at the broker of this place in the configuration.
    pub fn new(config: &Config, first: usize, now: Instant) -> Self {
        let profile = |address| BrokerProfile::of(&config.broker, address);
        Self {
            profiles: config.broker.addresses.iter().map(profile).collect(),
            state: State::Waiting { until: now, wait: Wait::Reach },
            backoff: Backoff::new(config.retry.clone()),
            refused: Backoff::of_refusals(&config.retry),
            members: Members::new(config.broker.addresses.clone(), first),
            settings: Settings {
                client_id: config.broker.client_id.clone(),
                window: config.delivery.window.min(u16::try_from(MOST).unwrap_or(u16::MAX)),
                keep_alive: config.broker.keep_alive,
                connect_timeout: config.broker.connect_timeout,
                stable_after: config.retry.stable_after,
                on_refusal: config.retry.on_refusal,
            },
            accepted: Connected { session_present: false, at_qos_2: false, limits: Limits::NONE },
            will: Will::default(),
            connected: None,
            last_loss: None,
            last_failure: None,
            failures: Failures::default(),
            rivals: Rivals::default(),
        }
    }

    /// How many publishes may be in flight; `None`: not connected.
    pub fn limit(&self) -> Option<usize> {
        self.state.limit()
    }

    /// What the broker of the present connection takes. One that takes no retained last will takes no other retained message.
    pub fn limits(&self) -> Limits {
        let limits = self.accepted.limits;
        Limits { retain: limits.retain && self.will.retain, ..limits }
    }

    /// What kind of broker is tried or connected to.
    pub fn profile(&self) -> &BrokerProfile {
        &self.profiles[self.members.index()]
    }

    /// The place in the configuration of the broker that is tried or connected to.
    pub fn member(&self) -> usize {
        self.members.index()
    }

    /// Whether there are several brokers.
    pub fn has_several(&self) -> bool {
        self.members.are_several()
    }

    /// Whether there is a broker.
    pub fn reach(&self) -> Reach {
        match (self.limit(), &self.last_loss) {
            (Some(_), _) => Reach::Connected(self.members.index()),
            (None, Some(_)) => Reach::Away,
            (None, None) => Reach::Unknown,
        }
    }

    /// The broker's address while we are connected, else why we are not.
    pub fn detail(&self) -> String {
        match self.reach() {
            Reach::Connected(_) => self.members.present().to_string(),
            Reach::Away | Reach::Unknown => self.last_loss.clone().unwrap_or_default(),
        }
    }

    /// When [`Connection::turn`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.state.deadline()
    }

    /// Does what time asks for: the next attempt, or the end of one that takes too long. `will`: what the broker is to
    /// publish when it loses us.
    pub fn turn(&mut self, now: Instant, will: impl FnOnce() -> Option<Outgoing>, actions: &mut impl Extend<Action>) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match &mut self.state {
            State::Waiting { .. } => {
                let address = self.members.present();
                let attempt = format!("connecting to {address} (attempt {})", self.backoff.failures() + 1);
                // Counted from here, where the credentials are made.
                let renewal = self.profiles[self.members.index()].renewal;
                let stay = renewal.map_or(Stay::Unbounded, |after| Stay::Until(now + after));
                self.state = State::Connecting { deadline: now + self.settings.connect_timeout + GRACE, stay };
                let will = will().and_then(|will| self.will.of(will));
                let connect = Action::Connect { member: self.members.index(), will };
                actions.extend([Action::Log(Level::Debug, attempt), connect]);
            }
            State::Connecting { .. } => {
                let timeout = humantime::format_duration(self.settings.connect_timeout);
                let lost =
                    Lost::Passing(format!("no connection to {}: no answer within {timeout}", self.members.present()));
                actions.extend([Action::Close(lost)]);
            }
            State::Connected { proof, stay, .. } => {
                if matches!(stay, Stay::Until(at) if now >= *at) {
                    *stay = Stay::Over;
                    let text = "renewing the SAS token; reconnecting".to_owned();
                    actions.extend([Action::Log(Level::Info, text)]);
                }
                if matches!(proof, Proof::By(at) if now >= *at) {
                    self.proved(actions);
                }
            }
            State::Disconnecting { .. } => {
                actions.extend([Action::Close(Lost::Passing("the connection did not end in time".to_owned()))]);
            }
            State::Closing { .. } | State::Over => {}
        }
    }

    /// The shell is about to close the connection.
    pub fn closing(&mut self) {
        if !matches!(self.state, State::Disconnecting { .. } | State::Over) {
            self.state = State::Closing { held: self.state.has_held() };
        }
    }

    /// Notes that the broker accepted the connection; what to log. `away`: how long there was none.
    pub fn connected(&mut self, connected: Connected, now: Instant, backlog: u64, away: Option<Duration>) -> Action {
        let maximum = if connected.at_qos_2 { self.profile().exactly_once_at_a_time } else { u16::MAX };
        let told =
            if is_planted(Planted::ReceiveMaximumForgotten) { u16::MAX } else { connected.limits.receive_maximum };
        let limit = self.settings.window.min(told).min(maximum);
        self.accepted = connected;
        self.rivals.connected(now);
        // Where connections come and do not last, the first one to a broker says it all.
        let elsewhere = self.connected.replace(self.members.index()) != Some(self.members.index());
        let is_news = self.failures.unproved.failed() == Level::Warn || elsewhere || is_worth_telling(away);
        let level = if is_news { Level::Info } else { Level::Debug };
        let away = away.map_or_else(String::new, |away| format!(" after=\"{}\"", Rounded(away)));
        let text = format!(
            "connected to {} session_present={} window={limit} backlog={backlog} attempts={}{away}",
            self.members.present(),
            connected.session_present,
            self.backoff.failures() + 1
        );
        let (lasting, proof) = (now + self.settings.stable_after, Proof::By(now + self.settings.keep_alive));
        let stay = if let State::Connecting { stay, .. } = self.state { stay } else { Stay::Unbounded };
        self.state = State::Connected { limit: usize::from(limit), lasting, proof, stay };
        Action::Log(level, text)
    }

    /// From when on the present connection has lasted for a while.
    pub fn lasting(&self) -> Option<Instant> {
        self.state.lasting()
    }

    /// Notes that the broker has taken a message over the present connection.
    pub fn carries(&mut self, now: Instant, actions: &mut impl Extend<Action>) {
        self.rivals.carries();
        if let State::Connected { lasting, proof: Proof::By(at), .. } = &mut self.state {
            *at = (*at).min(*lasting);
            if now >= *at {
                self.proved(actions);
            }
        }
    }

    /// The present connection has proved itself: the next failure is the first one again.
    fn proved(&mut self, actions: &mut impl Extend<Action>) {
        let State::Connected { proof, .. } = &mut self.state else { return };
        if *proof == Proof::Given {
            return;
        }
        *proof = Proof::Given;
        self.backoff.succeed();
        self.refused.succeed();
        self.failures.reasons.clear();
        let failures = self.failures.row.ended().unwrap_or(0);
        if self.failures.unproved.ended().is_some_and(|connections| connections > 1) {
            let text = format!("connection to {} holds again after {failures} failures", self.members.present());
            actions.extend([Action::Log(Level::Info, text)]);
        }
    }

    /// Notes that the broker takes messages, and ended the connection over one of them: it is not to be waited for.
    pub fn excuse(&mut self) {
        self.backoff.succeed();
    }

    /// Notes that there is no connection any more, or that none came about, and plans the next attempt, unless there will
    /// be none. `random`, evenly from 0 to 1, places the delay.
    pub fn lost(&mut self, loss: Loss<'_>, now: Instant, random: f64, actions: &mut impl Extend<Action>) {
        let Loss { why: lost, remains, lasted, delay: wanted } = loss;
        match self.state {
            // It was to end, and nothing was in flight.
            State::Disconnecting { .. } => return self.disconnected(now),
            State::Over => return,
            State::Waiting { .. } | State::Connecting { .. } | State::Connected { .. } | State::Closing { .. } => {}
        }
        let held = self.state.has_held();
        self.state = State::Over;
        let hint = self.rivals.lost(lost, now, &self.settings.client_id);
        let hinted = hint.map(|hint| Lost::Ended(format!("{lost}{hint}")));
        let lost = hinted.as_ref().unwrap_or(lost);
        self.last_loss = Some(lost.to_string());
        self.last_failure = Some((lost.to_string(), now));
        let former = self.members.index();
        if let Lost::Will(fault, reason) = lost
            && self.will.without(*fault)
        {
            let text = format!("{reason}; connecting again with {}", self.will);
            actions.extend([Action::Log(Level::Warn, text)]);
            self.state = State::Waiting { until: now, wait: Wait::Reach };
            return;
        }
        let delay = match self.members.lost(lost, held, remains.first) {
            Turn::Refused if self.settings.on_refusal == OnRefusal::Exit => {
                actions.extend([Action::GiveUp(GiveUp::Refused(lost.to_string()))]);
                return;
            }
            Turn::Refused | Turn::Unusable => return self.refused(lost, remains.backlog, now, random, actions),
            Turn::Next => Duration::ZERO,
            Turn::Round if wanted == Delay::Short => self.backoff.fail_quickly(),
            Turn::Round => match self.backoff.fail(random) {
                Next::Wait(delay) => delay,
                Next::GiveUp => {
                    let text = format!("{lost}; giving up after {} attempts", self.backoff.failures());
                    let give_up = GiveUp::Unreachable(lost.to_string());
                    actions.extend([Action::Log(Level::Warn, text), Action::GiveUp(give_up)]);
                    return;
                }
            },
        };
        let elsewhere =
            if self.members.index() == former { String::new() } else { format!("{} ", self.members.present()) };
        let lasted = lasted.map_or_else(String::new, |lasted| format!(", connected for {}", Rounded(lasted)));
        let text = format!(
            "{lost}; retrying {elsewhere}in {:.1} s (attempt {}, backlog {}{lasted})",
            delay.as_secs_f64(),
            self.backoff.failures() + 1,
            remains.backlog,
        );
        actions.extend([Action::Log(self.failures.level_of(&lost.to_string()), text)]);
        let delay = if is_planted(Planted::BackOffForgotten) { Duration::ZERO } else { delay };
        self.state = State::Waiting { until: now + delay, wait: Wait::Reach };
    }

    /// Every broker refuses us, which may count against us there, so questions are rare; or a file of ours cannot be used,
    /// which is waited for in any case: a new start would find the same.
    fn refused(&mut self, lost: &Lost, backlog: u64, now: Instant, random: f64, actions: &mut impl Extend<Action>) {
        let delay = self.refused.fail_slowly(random);
        let text = format!(
            "{lost}; sampling goes on; asking again in {:.0} s, or at once when the configuration, a password or a key \
             changes (backlog {backlog})",
            delay.as_secs_f64(),
        );
        actions.extend([Action::Log(self.failures.level_of(&lost.to_string()), text)]);
        self.state = State::Waiting { until: now + delay, wait: Wait::Acceptance };
    }

    /// Whether every broker refuses us, and the next question is being waited for.
    pub fn is_refused(&self) -> bool {
        self.wait() == Some(Wait::Acceptance)
    }

    /// What has changed may end the wait: the next attempt comes at once, and the back-off begins anew.
    pub fn retry_now(&mut self, now: Instant) {
        if let State::Waiting { until, .. } = &mut self.state {
            *until = now;
            self.backoff.succeed();
            self.refused.succeed();
        }
    }

    /// Does not wait for the next attempt. The back-off goes on.
    pub fn skip_delay(&mut self, now: Instant) {
        if let State::Waiting { until, .. } = &mut self.state {
            *until = now;
        }
    }

    /// Why there is no connection, to which address, and when it is tried again; `None`: there is one, or will be none.
    pub fn outage(&self, away: Duration, backlog: u64, now: Instant) -> Option<String> {
        let next = match self.state {
            State::Waiting { until, .. } => format!("in {}", Rounded(until.saturating_duration_since(now))),
            State::Connecting { .. } => "under way".to_owned(),
            State::Connected { .. } | State::Disconnecting { .. } | State::Closing { .. } | State::Over => return None,
        };
        let why = self.last_loss.as_deref().unwrap_or("no answer yet");
        let (address, away) = (self.members.present(), Rounded(away));
        Some(format!("no connection to {address} for {away}: {why}; next attempt {next}; messages waiting: {backlog}"))
    }

    /// Whether the connection is to be replaced as planned, once nothing is in flight over it.
    pub fn is_leaving(&self) -> bool {
        matches!(self.state, State::Connected { stay: Stay::Over, .. })
    }

    /// What is waited for before the next attempt to connect; `None`: nothing.
    pub fn wait(&self) -> Option<Wait> {
        if let State::Waiting { wait, .. } = self.state { Some(wait) } else { None }
    }

    /// Whether no broker has failed in the present round of attempts.
    pub fn begins_round(&self) -> bool {
        self.members.begins_round()
    }

    /// Whether there will be no further attempts.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether there is neither a connection nor anything on the way to one or from one.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Waiting { .. } | State::Over)
    }

    /// Plans to replace the connection, if there is one.
    pub fn leave(&mut self) {
        if let State::Connected { stay, .. } = &mut self.state {
            *stay = Stay::Over;
        }
    }

    /// Ends the connection in order. Nothing must be in flight. It counts as ended after a while, whatever the library
    /// says.
    pub fn disconnect(&mut self, now: Instant) {
        self.state = State::Disconnecting { deadline: now + GOODBYE };
        self.last_loss = Some("connecting anew as planned".to_owned());
    }

    /// The connection has ended as planned: the next attempt is due at once, and nothing has failed.
    pub fn disconnected(&mut self, now: Instant) {
        if let State::Disconnecting { .. } = self.state {
            self.state = State::Waiting { until: now, wait: Wait::Reach };
        }
    }

    /// Whether the connection is being ended in order.
    pub fn is_disconnecting(&self) -> bool {
        matches!(self.state, State::Disconnecting { .. })
    }
}
