//! The parameters of a history: the gateway's sources and its configuration.

use crate::config::{self, Config};
use crate::message::{Format, Qos, Route};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The parameters.
#[derive(Debug)]
pub struct Terms {
    pub sources: Vec<Source>,
    /// How many brokers there are behind each address.
    pub addresses: Vec<usize>,
    pub has_status: bool,
    /// In bytes.
    pub max_size: u64,
    pub window: u16,
    pub max_rate: Option<f64>,
    /// Between two samples, of whichever source.
    pub interval: Duration,
    pub length: Duration,
}

/// A source.
#[derive(Debug, Clone)]
pub struct Source {
    pub topic: &'static str,
    pub qos: Qos,
    pub expiry: Option<Duration>,
}

impl Terms {
    pub fn draw(random: &mut fastrand::Rng) -> Self {
        let topics = &["a", "b", "c"][..random.usize(1..=3)];
        let qos = Self::draw_qos(random);
        let is_mixed = random.u8(..3) == 0;
        let sources = topics.iter().map(|topic| Source {
            topic,
            qos: if is_mixed { Self::draw_qos(random) } else { qos.max(Qos::AtLeastOnce) },
            expiry: (random.u8(..4) == 0).then_some(Duration::from_secs(random.u64(60..1200))),
        });
        Self {
            sources: sources.collect(),
            addresses: [&[1][..], &[1], &[2], &[3], &[1, 1], &[1, 2, 1]][random.usize(..6)].to_vec(),
            has_status: random.u8(..5) > 0,
            max_size: [1, 2, 16][random.usize(..3)] * 1024 * 1024,
            window: *random.choice(&[1, 4, 20, 100]).unwrap_or(&1),
            max_rate: (random.u8(..3) == 0).then_some(5.0),
            interval: Duration::from_millis(random.u64(500..30_000)),
            length: Duration::from_secs(random.u64(1200..28_800)),
        }
    }

    pub fn draw_qos(random: &mut fastrand::Rng) -> Qos {
        *random.choice(&[Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce]).unwrap_or(&Qos::AtLeastOnce)
    }

    pub fn config(&self, folder: &Path) -> Config {
        let path = folder.display();
        let rate = self.max_rate.map_or_else(|| "~".to_owned(), |rate| rate.to_string());
        let urls: Vec<String> = (0..self.addresses.len()).map(|place| format!("\"mqtt://b{place}\"")).collect();
        let sources: Vec<String> = self.sources.iter().map(Source::config).collect();
        let topic = if self.has_status { "status/d" } else { "~" };
        let text = format!(
            "device: d\ntelemetry: {{sources: [{}]}}\nbroker: {{urls: [{}]}}\nstatus: {{topic: {topic}}}\n\
             retry: {{initial_delay: 1s, max_delay: 60s, at_max: hold}}\n\
             spool: {{directory: \"{path}\", max_size: {}}}\n\
             delivery: {{window: {}, max_rate: {rate}}}\n",
            sources.join(", "),
            urls.join(", "),
            self.max_size,
            self.window,
        );
        config::parse(&text, Path::new("simulated.yaml")).expect("a configuration")
    }

    pub fn routes(&self) -> Vec<Arc<Route>> {
        self.sources.iter().map(Source::route).collect()
    }
}

impl Source {
    fn config(&self) -> String {
        let Self { topic, qos, .. } = self;
        format!("{{name: {topic}, topic: {topic}, qos: {}, type: simulated}}", *qos as u8)
    }

    fn route(&self) -> Arc<Route> {
        Arc::new(Route {
            device: "d".to_owned(),
            source: self.topic.to_owned(),
            topic: self.topic.to_owned(),
            qos: self.qos,
            retain: false,
            format: Format::Json,
            expiry: self.expiry,
        })
    }
}
