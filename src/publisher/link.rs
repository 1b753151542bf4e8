//! The way to the broker, as the publisher sees it. The MQTT library is behind it; so is a simulated broker in tests.

use crate::clock::Reading;
use crate::config::Config;
use crate::delivery::{Delivery, Lost, Publish, Report, UnderWay};
use crate::payload::Outgoing;
use crate::spool::Spool;
use crossbeam_channel::Receiver;
use std::path::Path;
use std::time::{Duration, Instant};

/// Makes connections, one at a time, and publishes over the present one. Keeps the session at QoS 2.
pub trait Link {
    /// Says that something has happened; [`Link::answer`] tells what.
    type Ring;

    /// What to wait on.
    fn rings(&self) -> &Receiver<Self::Ring>;

    /// The next ring, where there is one.
    fn poll(&mut self) -> Option<Self::Ring> {
        self.rings().try_recv().ok()
    }

    /// Waits for a ring until then.
    fn wait(&mut self, until: Instant) -> Option<Self::Ring> {
        self.rings().recv_deadline(until).ok()
    }

    /// What a ring means; `None`: nothing any more.
    fn answer(&mut self, ring: Self::Ring) -> Option<Report>;

    /// Begins to connect to the broker of this place in the configuration; a ring tells the end of it. `delivery` knows
    /// what the messages are that the session has on its way.
    ///
    /// # Errors
    /// The attempt failed before it began, as with a password file that cannot be read.
    fn connect(
        &mut self,
        member: usize,
        will: Option<Outgoing>,
        delivery: &Delivery,
        clock: Reading,
    ) -> Result<(), Lost>;

    /// Publishes over the present connection; a ring tells the end of it.
    ///
    /// # Errors
    /// There is no connection any more.
    fn publish(&mut self, what: Publish, outgoing: Outgoing) -> Result<(), Lost>;

    /// Ends the present connection in order; a ring tells the end of it.
    fn disconnect(&mut self);

    /// Gives the present connection up. When this returns nothing more is sent over it, and nothing that belongs to it is
    /// reported any more. What the session has on its way.
    fn close(&mut self) -> Vec<UnderWay>;

    /// The broker that a round begins with: the first one, unless messages are on their way at another one.
    fn first(&self) -> usize;

    /// Whether messages at QoS 2 have a session.
    fn has_session(&self) -> bool;

    /// What the session has on its way.
    fn under_way(&self) -> Vec<UnderWay>;

    /// Looks for the session where there is none, for the disk may take notes by now; whether one was found.
    fn find_session(&mut self, config: &Config, spool: &Spool) -> bool;

    /// Takes over another configuration, between two connections.
    fn reconfigure(&mut self, config: &Config, spool: &Spool);

    /// A message has reached its end: so has its exchange.
    fn end(&mut self, what: Publish);

    /// A message's exchange is over, and the message may be published in another one.
    fn abandon(&mut self, what: Publish);

    /// The next connection begins a new session.
    fn forget_session(&mut self);

    /// The journal has been written: what it says is over needs no note any more.
    fn journal_written(&mut self);

    /// Writes the notes of what is on its way anew where they were taken away from the spool's folder.
    fn put_back_notes(&mut self, directory: &Path);

    /// How long the library's threads have waited for the disk since then; each wait is told once.
    fn take_stalled(&mut self, since: Instant) -> Duration;

    /// Makes what is on its way durable, so that the session can be resumed after a reboot. Nothing is sent any more.
    fn end_session(&mut self);
}
