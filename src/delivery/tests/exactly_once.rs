//! Brokers that keep our session at QoS 2 and do not complete exchanges, or take few publishes at a time.

use super::*;
use std::collections::BTreeMap;

/// What a broker does with a PUBREL.
#[derive(Clone, Copy)]
enum Release {
    /// It completes the exchange.
    Completes,
    Mute,
    Ends,
}

/// A broker that keeps our session, and counts.
struct Keeper {
    limits: Limits,
    /// What is on its way in the session, and whether it was confirmed by PUBREC.
    under_way: BTreeMap<Publish, bool>,
    /// How often each message arrived.
    arrivals: BTreeMap<Publish, u32>,
    /// Whether it answers this publish.
    confirms: fn(Publish) -> bool,
    release: fn(Publish) -> Release,
    /// Publishes over the present connection that it has not completed.
    open: Vec<Publish>,
    /// The most there were at a time.
    peak: usize,
    connections: u32,
}

impl Keeper {
    fn new(receive_maximum: u16, confirms: fn(Publish) -> bool, release: fn(Publish) -> Release) -> Self {
        let limits = Limits { receive_maximum, ..Limits::NONE };
        let (under_way, arrivals) = (BTreeMap::new(), BTreeMap::new());
        Self { limits, under_way, arrivals, confirms, release, open: Vec::new(), peak: 0, connections: 0 }
    }

    fn remains(&self) -> Remains {
        let under_way = self.under_way.iter().map(|(what, confirmed)| UnderWay { what: *what, confirmed: *confirmed });
        Remains { under_way: under_way.collect(), first: 0, backlog: 1 }
    }

    /// Half a second a turn.
    fn serve(&mut self, bench: &mut Bench, time: Duration) {
        let end = bench.now.at + time;
        while bench.now.at < end && (self.connections == 0 || bench.has_messages()) {
            let mut actions = VecDeque::from(bench.turn());
            while let Some(action) = actions.pop_front() {
                let is_connected = self.act(bench, action);
                if !is_connected {
                    actions.retain(|action| !matches!(action, Action::Publish { .. }));
                }
                actions.extend(bench.turn());
            }
            bench.pass(Duration::from_millis(500));
        }
    }

    /// Does what is asked; whether the connection lasts.
    fn act(&mut self, bench: &mut Bench, action: Action) -> bool {
        match action {
            Action::Connect { .. } => return self.connect(bench),
            Action::Publish { what: STATUS, .. } => bench.on(Event::Acknowledged(STATUS)),
            Action::Publish { what, .. } => return self.publish(bench, what),
            Action::Close(why) => bench.on(Event::Lost { why, remains: self.remains() }),
            Action::Disconnect => bench.on(Event::Disconnected(self.remains())),
            Action::End(what, _) | Action::SetAside { what, .. } | Action::Abandon(what) => {
                self.under_way.remove(&what);
            }
            Action::ForgetSession => self.under_way.clear(),
            _ => {}
        }
        true
    }

    fn connect(&mut self, bench: &mut Bench) -> bool {
        self.connections += 1;
        self.open.clear();
        let left_out = bench.delivery.left_out();
        let resumed: Vec<(Publish, bool)> = self.under_way.iter().map(|(what, held)| (*what, *held)).collect();
        let session_present = self.connections > 1 && !self.under_way.is_empty();
        let connected = Connected { session_present, at_qos_2: true, limits: self.limits };
        bench.on(Event::Connected { connected, backlog: 1 });
        resumed.into_iter().filter(|(what, _)| !left_out.contains(what)).all(|(what, confirmed)| match confirmed {
            true => self.release(bench, what),
            false => self.publish(bench, what),
        })
    }

    fn publish(&mut self, bench: &mut Bench, what: Publish) -> bool {
        self.open.push(what);
        self.peak = self.peak.max(self.open.len());
        if self.under_way.insert(what, false).is_none() {
            *self.arrivals.entry(what).or_default() += 1;
        }
        if !(self.confirms)(what) {
            return true;
        }
        self.under_way.insert(what, true);
        self.release(bench, what)
    }

    fn release(&mut self, bench: &mut Bench, what: Publish) -> bool {
        match (self.release)(what) {
            Release::Completes => {
                self.open.retain(|open| *open != what);
                bench.on(Event::Acknowledged(what));
                true
            }
            Release::Mute => true,
            Release::Ends => {
                let why = Lost::Ended("connection lost".to_owned());
                bench.on(Event::Lost { why, remains: self.remains() });
                false
            }
        }
    }

    fn twice(&self) -> Vec<(&Publish, &u32)> {
        self.arrivals.iter().filter(|(_, count)| **count > 1).collect()
    }
}

/// Every third message is of this topic.
fn is_of_bad_topic(what: Publish) -> bool {
    what.spooled().is_some_and(|seq| seq.0 % 3 == 1)
}

fn bench_at_qos_2(more: &str) -> Bench {
    let mut bench = Bench::new(&format!("{more}retry: {{max_delay: 10s, at_max: hold}}\n"));
    (1..=300).for_each(|seq| {
        let topic = if is_of_bad_topic(message(seq)) { "bad" } else { "good" };
        bench.put_at(Qos::ExactlyOnce, message(seq), topic, None);
    });
    bench
}

#[test]
fn exchanges_of_a_topic_that_are_never_completed_hold_up_no_other_and_bring_nothing_twice() {
    let bad: [fn(Publish) -> Release; 2] = [
        |what| if is_of_bad_topic(what) { Release::Mute } else { Release::Completes },
        |what| if is_of_bad_topic(what) { Release::Ends } else { Release::Completes },
    ];
    for (release, more) in
        bad.into_iter().flat_map(|bad| ["status: {topic: here}\n", NO_STATUS].map(|more| (bad, more)))
    {
        for receive_maximum in [1, 3, 20, u16::MAX] {
            let mut bench = bench_at_qos_2(more);
            let mut broker = Keeper::new(receive_maximum, |_| true, release);

            broker.serve(&mut bench, Duration::from_secs(12 * 3600));

            let good = broker.arrivals.keys().filter(|what| !is_of_bad_topic(**what)).count();
            assert_eq!((good, broker.twice()), (200, Vec::new()), "{more}{receive_maximum}: {:#?}", bench.log);
        }
    }
}

#[test]
fn a_connection_resumes_no_more_than_the_broker_takes_at_a_time() {
    for more in ["status: {topic: here}\n", NO_STATUS] {
        let mut bench = bench_at_qos_2(more);
        let mut broker = Keeper::new(20, |_| false, |_| Release::Completes);
        broker.serve(&mut bench, Duration::from_secs(100));
        assert_eq!(broker.peak, 20);

        broker.limits.receive_maximum = 2;
        broker.serve(&mut bench, Duration::from_secs(100));
        // It knows what the broker takes after the first connection only.
        broker.peak = 0;
        broker.confirms = |_| true;
        broker.serve(&mut bench, Duration::from_secs(3600));

        assert!(broker.peak <= 2, "{more}{}", broker.peak);
        assert_eq!((broker.arrivals.len(), broker.twice()), (300, Vec::new()), "{more}{:#?}", bench.log);
    }
}
