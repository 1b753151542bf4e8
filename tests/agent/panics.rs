//! A thread that panics: the other one saves what it has, and the agent says which one it was.

use crate::support::{Broker, Subscriber};
use packhorse::agent::{self, Asked, Outcome, Start};
use packhorse::config::{self, SourceKind};
use packhorse::message::{Format, Qos, Route};
use packhorse::sampler::Scheduled;
use packhorse::source::{Data, Error, Source};
use packhorse::spool::Spool;
use packhorse::systemd::Manager;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Works a few times, then panics.
struct Defective {
    left: u32,
}

impl Source for Defective {
    fn sample(&mut self) -> Result<Data, Error> {
        self.left = self.left.checked_sub(1).expect("this source panics, as the test wants");
        Ok(Data::from_iter([("left".to_owned(), self.left.into())]))
    }

    fn may_block(&self) -> bool {
        false
    }
}

fn scheduled(left: u32) -> Scheduled {
    let route = Route {
        device: "gateway-7".to_owned(),
        source: "defective".to_owned(),
        topic: "telemetry/gateway-7/defective".to_owned(),
        qos: Qos::AtLeastOnce,
        retain: false,
        format: Format::Json,
        expiry: None,
    };
    Scheduled {
        source: Box::new(Defective { left }),
        route: Arc::new(route),
        interval: Duration::from_millis(1),
        timeout: Duration::from_secs(1),
        kind: SourceKind::System,
    }
}

#[test]
fn a_panic_in_the_sampler_stops_the_publisher_in_order() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let folder = tempfile::tempdir().unwrap();
    let text = format!("broker: {{url: \"{}\"}}\nspool: {{directory: {}}}", broker.url(), folder.path().display());
    let config = config::parse(&text, Path::new("test.yaml")).unwrap();
    let spool = Spool::open(&config.spool, &[]).unwrap();
    let (stop, reload, questions) =
        (crossbeam_channel::never(), crossbeam_channel::never(), crossbeam_channel::never());
    let asked = Asked { stop, reload, questions };
    let start = Start {
        config: config.clone(),
        file: "test.yaml".into(),
        sources: vec![scheduled(50)],
        spool,
        counters: Arc::default(),
    };

    let outcome = agent::run(start, &asked, Manager::default(), |_, now| (now + Duration::from_secs(1), None));

    assert_eq!(outcome, Outcome::Panicked("sampler"));
    let mut spool = Spool::open(&config.spool, &[]).unwrap();
    let mut waiting = 0;
    while spool.next(Instant::now(), |_| ()).unwrap().is_some() {
        waiting += 1;
    }
    subscriber.wait_for_count(50 - waiting);
    println!("{} of 50 messages arrived, {waiting} are in the spool", 50 - waiting);
}
