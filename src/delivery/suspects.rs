//! Which message connections end over, when they end without a word: how carefully to publish after that, and when a
//! message is to blame. Pure.
//!
//! A broker that ends a connection without a word says neither that it is because of a message nor because of which
//! one: it may be a bad link, or a broker that takes nothing at all for now, as in a cluster that holds an election. So
//! a suspect is to blame only where the broker has just taken something else, the *control*, and ends the connection
//! over the suspect all the same, several times.
//!
//! A control that is a message overtakes the suspect. That is made rare, for first arrivals come in order: the suspect
//! has its tries first, more of them where the control would be of its own topic, and the status message is the
//! better control, where there is one.

use super::case::{Case, Control, Kind, TRIES, TRIES_RESUMING, Taken};
use super::event::Publish;
use crate::planted::{Planted, is_planted};
use std::time::Instant;

/// How many connections in a row must end over the status message before one goes without it.
const STATUS_TRIES: u32 = 3;

/// Where the search for the message stands.
#[derive(Debug, Default)]
pub struct Suspects {
    stage: Stage,
    /// Connections in a row that ended over the status message alone.
    status_failures: u32,
    /// Whether the present connection goes without the status message.
    without_status: bool,
    /// Whether something was acknowledged on the present connection.
    acknowledged: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    /// As many at a time as the broker takes.
    #[default]
    Free,
    /// The suspect first, and alone.
    Suspect { case: Case, tries: u32 },
    /// A control first: the status message, or another message, once it is published.
    Control { case: Case, planned: Control, published: Option<(Publish, Control)> },
    /// A control was taken: now the suspect, alone.
    Confront { case: Case },
}

/// What was in flight when a connection ended without a word.
#[derive(Debug, Clone, Copy)]
pub struct Flight {
    /// The first message that the broker has not confirmed.
    pub first: Option<Publish>,
    /// Whether it was the only one.
    pub alone: bool,
    pub kind: Kind,
    /// Whether it was sent as soon as there was a connection, to resume the session.
    pub resuming: bool,
    /// Whether the status message was in flight as well.
    pub with_status: bool,
}

impl Flight {
    /// Whether nothing but the status message can be to blame.
    fn is_status_alone(&self) -> bool {
        self.first.is_none() && self.with_status
    }
}

/// What the end of a connection leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The suspect, if there is one, is tried again.
    Open,
    /// A control is published over the next connection.
    Control,
    /// The broker takes these, and not this message.
    Guilty(Publish, Taken),
}

impl Case {
    /// What was found against the suspect does not count any more: the broker's trouble may be another one by now.
    fn acquit(self) -> Stage {
        Stage::Suspect { case: Self { strikes: 0, ..self }, tries: 0 }
    }
}

impl Suspects {
    /// There is a new connection.
    pub fn connected(&mut self) {
        self.acknowledged = false;
        // Only one: what the broker did not take then, it may take later.
        self.without_status = self.status_failures >= STATUS_TRIES;
        if self.without_status {
            self.status_failures = 0;
        }
    }

    /// Whether the present connection goes without the status message, for others ended over it.
    pub fn is_without_status(&self) -> bool {
        self.without_status
    }

    /// The broker has taken something.
    pub fn accepted(&mut self, what: Publish) {
        self.acknowledged |= what != Publish::Status;
        if what == Publish::Status {
            self.status_failures = 0;
        }
        self.stage = match std::mem::take(&mut self.stage) {
            Stage::Control { mut case, published, .. } if what != case.suspect => {
                if published == Some((what, Control::SameTopic)) {
                    case.taken = Taken::ItsTopic;
                }
                Stage::Confront { case }
            }
            stage if what == Publish::Status => stage,
            _ => Stage::Free,
        };
    }

    /// Whether the broker has taken a control, and the suspect is next.
    pub fn is_confronting(&self) -> bool {
        matches!(self.stage, Stage::Confront { .. })
    }

    /// The connection lasted until we closed it, for these were not answered in time.
    pub fn lasted(&mut self, unanswered: impl IntoIterator<Item = Publish>) {
        let suspect = self.suspect();
        let is_unanswered = unanswered.into_iter().any(|what| Some(what) == suspect);
        self.stage = match std::mem::take(&mut self.stage) {
            // It did not end over the suspect.
            Stage::Suspect { .. } | Stage::Confront { .. } if is_unanswered => Stage::Free,
            Stage::Control { case, published, .. } => case.without_help(published).acquit(),
            Stage::Confront { case } => case.acquit(),
            stage @ (Stage::Free | Stage::Suspect { .. }) => stage,
        };
    }

    /// The broker answers others and not the status message.
    pub fn status_unanswered(&mut self) {
        self.status_failures = STATUS_TRIES;
    }

    /// The broker has refused something with a reason: it is no message that connections end over.
    pub fn refused(&mut self, what: Publish) {
        self.acknowledged |= what != Publish::Status;
        if what == Publish::Status {
            return;
        }
        self.stage = match std::mem::take(&mut self.stage) {
            // Whether the broker takes anything at all is not known by that.
            Stage::Control { case, .. } if what != case.suspect => case.acquit(),
            Stage::Confront { case } if what != case.suspect => case.acquit(),
            Stage::Suspect { case, tries } if what != case.suspect => Stage::Suspect { case, tries },
            _ => Stage::Free,
        };
    }

    /// Whether another message may be published. `in_flight`: publishes, the status message among them. `lasting`: from
    /// when on the connection has lasted for a while.
    pub fn allows(&self, in_flight: usize, lasting: Option<Instant>, now: Instant) -> bool {
        match self.stage {
            Stage::Free => true,
            // A broker that takes nothing shows that with the status message already.
            Stage::Suspect { .. } | Stage::Control { .. } | Stage::Confront { .. } => {
                in_flight == 0 && lasting.is_some_and(|lasting| now >= lasting)
            }
        }
    }

    /// When publishing may go on, where that waits for time.
    pub fn until(&self, lasting: Option<Instant>, now: Instant) -> Option<Instant> {
        let waits = self.stage != Stage::Free;
        lasting.filter(|lasting| waits && now < *lasting)
    }

    /// Whether what the session has in flight is to be resumed over the next connection, or waits.
    pub fn resumes(&self, what: Publish) -> bool {
        if what == Publish::Status {
            let is_passed_over =
                matches!(self.stage, Stage::Control { planned: Control::Free | Control::SameTopic, .. });
            return self.status_failures < STATUS_TRIES && !is_passed_over;
        }
        match &self.stage {
            Stage::Free | Stage::Suspect { .. } => true,
            Stage::Control { .. } => self.is_control(what),
            Stage::Confront { case } => case.suspect == what,
        }
    }

    /// Whether a suspect has tries beyond the usual ones, before its first control: they are to be over soon, for nothing else
    /// is published meanwhile.
    pub fn has_more_tries(&self) -> bool {
        match &self.stage {
            Stage::Suspect { case, tries } => (TRIES..TRIES_RESUMING).contains(tries) && case.failed.is_empty(),
            Stage::Free | Stage::Control { .. } | Stage::Confront { .. } => false,
        }
    }

    /// The message that connections end over, maybe.
    pub fn suspect(&self) -> Option<Publish> {
        match &self.stage {
            Stage::Free => None,
            Stage::Suspect { case, .. } | Stage::Control { case, .. } | Stage::Confront { case } => Some(case.suspect),
        }
    }

    /// The suspect, where another message comes first.
    pub fn passed_over(&self) -> Option<Publish> {
        if let Stage::Control { case, .. } = &self.stage { Some(case.suspect) } else { None }
    }

    /// The controls of the present suspect that were not taken.
    fn failed(&self) -> &[Publish] {
        match &self.stage {
            Stage::Free => &[],
            Stage::Suspect { case, .. } | Stage::Control { case, .. } | Stage::Confront { case } => &case.failed,
        }
    }

    /// Whether this was a control of the present suspect, and not taken: connections may end over it as well.
    pub fn has_failed(&self, what: Publish) -> bool {
        self.failed().contains(&what)
    }

    /// The best control among messages that wait: of another topic than the suspect's, and none that was tried before or is
    /// doubtful for another reason.
    pub fn choose<'a>(
        &self,
        suspect: Publish,
        topic: &str,
        waiting: impl Iterator<Item = (Publish, &'a str)>,
        is_doubtful: impl Fn(Publish) -> bool,
    ) -> Option<(Publish, Control)> {
        let failed = self.failed();
        let rated = waiting.filter(|(what, _)| *what != suspect).map(|(what, its)| {
            let control = if its == topic { Control::SameTopic } else { Control::Free };
            let tried = failed.iter().rposition(|failed| *failed == what);
            ((is_doubtful(what), tried, control == Control::SameTopic), what, control)
        });
        // Of those that did not help, the one that was tried the longest time ago; of equals, the first.
        rated.min_by_key(|(rank, ..)| *rank).map(|(_, what, control)| (what, control))
    }

    /// A message was published as a control, or is what the session resumes as one.
    pub fn published(&mut self, what: Publish, control: Control) {
        if let Stage::Control { published, .. } = &mut self.stage {
            *published = Some((what, control));
        }
    }

    /// Whether this message is in flight as a control.
    pub fn is_control(&self, what: Publish) -> bool {
        matches!(&self.stage, Stage::Control { published: Some((published, _)), .. } if *published == what)
    }

    /// There is no control after all, or the connection is gone for a reason of its own, or none came about.
    pub fn interrupted(&mut self) {
        self.stage = match std::mem::take(&mut self.stage) {
            Stage::Control { case, .. } | Stage::Confront { case } => case.acquit(),
            stage @ (Stage::Free | Stage::Suspect { .. }) => stage,
        };
    }

    /// Another broker, or the same one with another configuration, may take what the former one did not.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// A message is not published any more: nothing is held against it.
    pub fn over(&mut self, what: Publish) {
        if self.suspect() == Some(what) {
            self.stage = Stage::Free;
        }
    }

    /// A message did not leave, for there was no connection any more: no connection has ended over it.
    pub fn not_sent(&mut self, what: Publish) {
        if let Stage::Control { published, .. } = &mut self.stage
            && published.is_some_and(|(control, _)| control == what)
        {
            *published = None;
        }
    }

    /// A connection has ended without a word. `control`: what can be published as a control.
    pub fn ended(&mut self, flight: Flight, control: Control) -> Verdict {
        if flight.is_status_alone() {
            self.status_failures += 1;
            // Where a message is to be the control, the status message is known not to be taken.
            if !matches!(self.stage, Stage::Control { planned: Control::Free | Control::SameTopic, .. }) {
                self.interrupted();
            }
            return Verdict::Open;
        }
        let (stage, verdict) = match std::mem::take(&mut self.stage) {
            Stage::Confront { mut case } if flight.first == Some(case.suspect) && flight.alone => {
                case.strikes += 1;
                if case.strikes >= case.enough_strikes() {
                    (Stage::Free, Verdict::Guilty(case.suspect, case.taken))
                } else if control == Control::None {
                    (Stage::Suspect { case, tries: 0 }, Verdict::Open)
                } else {
                    (Stage::Control { case, planned: control, published: None }, Verdict::Control)
                }
            }
            Stage::Confront { case } => (case.acquit(), Verdict::Open),
            Stage::Control { case, published, .. } => (case.without_help(published).acquit(), Verdict::Open),
            stage if self.acknowledged => (stage, Verdict::Open),
            Stage::Suspect { case, tries } if flight.first == Some(case.suspect) => {
                let tries = tries.saturating_add(u32::from(flight.alone || flight.resuming));
                let case = Case { kind: flight.kind, ..case };
                if tries < case.enough_tries(control, flight.resuming) {
                    (Stage::Suspect { case, tries }, Verdict::Open)
                } else if is_planted(Planted::ConvictedWithoutControl) {
                    (Stage::Free, Verdict::Guilty(case.suspect, case.taken))
                } else {
                    (Stage::Control { case, planned: control, published: None }, Verdict::Control)
                }
            }
            stage => match flight.first {
                Some(suspect) => (Stage::Suspect { case: Case::of(suspect, flight.kind), tries: 0 }, Verdict::Open),
                None => (stage, Verdict::Open),
            },
        };
        self.stage = stage;
        verdict
    }
}
