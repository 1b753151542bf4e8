//! The gateway's way into the simulated world.

use super::broker::Packet;
use super::world::World;
use crate::clock::{Reading, virtual_time, virtual_time::Cost};
use crate::config::Config;
use crate::delivery::{Delivery, Lost, Publish, Report, UnderWay};
use crate::payload::Outgoing;
use crate::publisher::link::Link;
use crate::spool::Spool;
use crossbeam_channel::{Receiver, never};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The link of a gateway.
#[derive(Debug)]
pub struct Wire {
    pub world: Rc<RefCell<World>>,
    nothing: Receiver<()>,
}

impl Wire {
    pub fn new(world: Rc<RefCell<World>>) -> Self {
        Self { world, nothing: never() }
    }
}

impl Link for Wire {
    /// The world keeps the reports.
    type Ring = ();

    fn rings(&self) -> &Receiver<()> {
        &self.nothing
    }

    fn poll(&mut self) -> Option<()> {
        let mut world = self.world.borrow_mut();
        world.advance();
        world.has_report().then_some(())
    }

    fn wait(&mut self, until: Instant) -> Option<()> {
        loop {
            if self.poll().is_some() {
                return Some(());
            }
            let next = self.world.borrow().next().filter(|next| *next <= until);
            virtual_time::advance_to(next.unwrap_or(until));
            next?;
        }
    }

    fn answer(&mut self, (): ()) -> Option<Report> {
        self.world.borrow_mut().take_report()
    }

    fn connect(&mut self, member: usize, _: Option<Outgoing>, delivery: &Delivery, _: Reading) -> Result<(), Lost> {
        let left_out = delivery.left_out();
        self.world.borrow_mut().connect(member, |what| !left_out.contains(&what));
        virtual_time::spend(Cost::Call);
        Ok(())
    }

    fn publish(&mut self, what: Publish, outgoing: Outgoing) -> Result<(), Lost> {
        let published = self.world.borrow_mut().publish(Packet::of(what, &outgoing));
        virtual_time::spend(Cost::Call);
        published
    }

    fn disconnect(&mut self) {
        self.world.borrow_mut().disconnect();
        virtual_time::spend(Cost::Call);
    }

    fn close(&mut self) -> Vec<UnderWay> {
        virtual_time::spend(Cost::Call);
        self.world.borrow_mut().close();
        self.under_way()
    }

    fn first(&self) -> usize {
        let world = self.world.borrow();
        if world.notes.is_busy() { world.notes.session } else { 0 }
    }

    fn has_session(&self) -> bool {
        self.world.borrow().has_session
    }

    fn under_way(&self) -> Vec<UnderWay> {
        self.world.borrow().notes.under_way()
    }

    fn find_session(&mut self, _: &Config, spool: &Spool) -> bool {
        let has_session = &mut self.world.borrow_mut().has_session;
        !std::mem::replace(has_session, *has_session || spool.publishes_at_qos_2()) && *has_session
    }

    fn reconfigure(&mut self, config: &Config, spool: &Spool) {
        self.find_session(config, spool);
    }

    fn end(&mut self, what: Publish) {
        let mut world = self.world.borrow_mut();
        what.spooled().into_iter().for_each(|seq| world.seen.repeats.over(seq));
        world.notes.end(what);
    }

    fn abandon(&mut self, what: Publish) {
        self.world.borrow_mut().notes.abandon(what);
    }

    fn forget_session(&mut self) {
        self.world.borrow_mut().notes.forget();
    }

    fn journal_written(&mut self) {
        self.world.borrow_mut().notes.journal_written();
    }

    fn put_back_notes(&mut self, _: &Path) {}

    fn take_stalled(&mut self, _: Instant) -> Duration {
        Duration::ZERO
    }

    fn end_session(&mut self) {}
}
