//! What is done to a gateway: links cut, brokers in trouble, kills, power cuts, failing and full disks, edits, clocks that
//! jump.

use super::broker::{Code, Mood};
use super::checks::End;
use super::history::History;
use super::terms::Terms;
use super::world::World;
use crate::clock::{Reading, instant, virtual_time};
use crate::publisher::{Change, Order};
use crate::spool::medium::{self, failing::Failure};
use crate::spool::power_cut::simulation;
use std::time::Duration;

/// The topics that a broker may refuse, the status message's among them.
const TOPICS: [&str; 4] = ["a", "b", "c", "status/d"];

impl History {
    /// Ends what lasts, and injects the next fault, when they are due.
    pub(super) fn inject_faults(&mut self) {
        if self.recovery.is_some_and(|at| instant() >= at) {
            self.recover();
        }
        if instant() < self.next_fault {
            return;
        }
        self.next_fault = instant() + Duration::from_millis(self.random.u64(1000..300_000));
        self.figures.faults += 1;
        let lasting = Duration::from_millis(self.random.u64(100..600_000));
        match self.random.u8(..16) {
            0..=8 => self.trouble_the_world(),
            9 => {
                medium::failing::set(Some(*self.random.choice(&Failure::ALL).unwrap_or(&Failure::Broken)));
                self.watch.disk_fails();
            }
            10 | 11 => self.kill(),
            12 => self.cut_power(),
            13 => {
                self.stop();
                self.boot();
            }
            14 => self.edit(),
            _ => self.let_the_clock_jump(),
        }
        self.recovery = Some(instant() + lasting);
    }

    fn trouble_the_world(&mut self) {
        let mut world = self.world.borrow_mut();
        let World { random, brokers, .. } = &mut *world;
        let broker = random.usize(..brokers.len());
        let broker = &mut brokers[broker];
        match self.random.u8(..10) {
            0 | 1 => world.cut(),
            2 => {
                broker.is_up = false;
                world.cut_if_down();
            }
            3 => broker.mood = Mood::Refuses(*random.choice(&Code::OF_ALL).unwrap_or(&Code::Unspecified)),
            4 => broker.mood = Mood::Silent,
            5 => world.forget(),
            6 => world.latency = Duration::from_millis(random.u64(1..4000)),
            7 => broker.mood = Mood::HangsUp,
            _ => {
                let code = *random.choice(&Code::OF_TOPIC).unwrap_or(&Code::NotAuthorized);
                let topics = TOPICS.iter().filter(|_| random.bool()).map(|topic| ((*topic).to_owned(), code));
                broker.refused_topics = topics.collect();
                if random.bool() {
                    broker.mood = Mood::Refuses(Code::Implementation);
                }
            }
        }
    }

    /// Ends the trouble that lasts.
    pub(super) fn recover(&mut self) {
        self.recovery = None;
        medium::failing::set(None);
        let mut world = self.world.borrow_mut();
        world.latency = Duration::from_millis(20);
        world.brokers.iter_mut().for_each(super::broker::Broker::recover);
    }

    /// The window changes while the agent runs, which takes another connection, the spool's size, and how a source is published.
    fn edit(&mut self) {
        let largest = self.terms.window;
        self.terms.max_size = [1, 2, 16][self.random.usize(..3)] * 1024 * 1024;
        self.terms.window = self.random.u16(1..=largest);
        let source = self.random.usize(..self.terms.sources.len());
        self.terms.sources[source].qos = Terms::draw_qos(&mut self.random);
        let config = self.terms.config(self.folder.path());
        let change = Change { config, routes: self.terms.routes(), samples: None };
        self.gateway().publisher.apply(Order::Change(Box::new(change)));
        self.terms.window = largest;
    }

    fn let_the_clock_jump(&mut self) {
        let jump = self.random.i64(-86_400_000..86_400_000);
        if let Some((at, Reading { wall, boot })) = virtual_time::now() {
            virtual_time::set(at, Reading { wall: wall + jump, boot });
        }
    }

    fn kill(&mut self) {
        self.end(End::Killed);
        self.kills += 1;
        self.world.borrow_mut().gateway_ended(false);
        self.boot();
    }

    fn cut_power(&mut self) {
        self.end(End::PowerCut);
        self.powers += 1;
        simulation::cut(self.folder.path());
        self.world.borrow_mut().gateway_ended(true);
        self.boot();
    }

    pub(super) fn stop(&mut self) {
        self.gateway().publisher.stop();
        self.end(End::Stopped);
        self.world.borrow_mut().gateway_ended(false);
    }
}
