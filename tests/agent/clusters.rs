//! A cluster as the broker: the member in use dies again and again, and nothing accepted is lost.
//!
//! That a member acknowledges a message only when a majority of the members has it is the cluster's promise; it needs the
//! settings that the support module makes. That the agent goes on with another member, and sends again what was not
//! acknowledged, is ours.

use crate::support::{
    Agent, Arrival, Cluster, Gateway, Judgement, PacketKind, Proxy, Queues, Reader, Settings, Subscriber, count, heavy,
    keep_telemetry, nats_cluster, rabbit_cluster, scale, seeded, wait_for, wait_for_all, wait_until,
};
use std::ops::RangeInclusive;
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

const WINDOW: u16 = 20;

/// Many attempts within an election, in which members end connections over whatever they get.
const RETRY: &str = "{initial_delay: 50ms, factor: 1.5, max_delay: 5s, at_max: hold}";

/// How long a cluster may take to elect and go on.
const ELECTION: Duration = Duration::from_secs(180);

/// A device that knows all members of a cluster, each through a proxy.
struct Scene {
    gateway: Gateway,
    proxies: Vec<Proxy>,
    receiver: Receiver,
    cluster: Cluster,
    _turn: MutexGuard<'static, ()>,
}

/// By what the test knows what the cluster keeps.
enum Receiver {
    /// A subscriber with a session.
    Subscriber(Subscriber),
    /// JetStream, at any of these ports.
    JetStream(Vec<u16>),
}

impl Receiver {
    fn subscriber(cluster: &Cluster) -> Self {
        Self::Subscriber(Subscriber::over_mqtt_3_1_1(&cluster.urls(), "telemetry/#"))
    }

    fn jetstream(cluster: &Cluster) -> Self {
        // The first client of MQTT has the streams made.
        drop(Subscriber::over_mqtt_3_1_1(&cluster.urls(), "nothing"));
        let ports = cluster.other_ports();
        wait_until("the telemetry is kept", || keep_telemetry(ports[0]).is_ok());
        Self::JetStream(ports)
    }

    /// Leaves what comes to the cluster. JetStream is not read before the end anyway.
    fn leave(&self) {
        if let Self::Subscriber(subscriber) = self {
            subscriber.leave_soon();
        }
    }

    fn come_back(&self) {
        if let Self::Subscriber(subscriber) = self {
            subscriber.return_soon();
        }
    }

    /// What the cluster gives, once all of these messages are among it.
    fn receive(&self, accepted: &[RangeInclusive<u64>]) -> Vec<Arrival> {
        match self {
            Self::Subscriber(subscriber) => {
                subscriber.wait_for_all(accepted);
                subscriber.arrivals()
            }
            Self::JetStream(ports) => {
                let (mut reader, mut arrivals) = (Reader::new(ports.clone()), Vec::new());
                wait_for_all(accepted, |known| {
                    reader.read(&mut arrivals);
                    arrivals[known..].to_vec()
                });
                arrivals
            }
        }
    }
}

impl Scene {
    fn new(start: impl Fn() -> Cluster, receiver: impl Fn(&Cluster) -> Receiver) -> Self {
        let turn = heavy();
        let begin = Instant::now();
        let cluster = start();
        println!("started in {:.1} s", begin.elapsed().as_secs_f64());
        let receiver = receiver(&cluster);
        let proxies: Vec<Proxy> = (0..cluster.size()).map(|member| Proxy::start(cluster.port(member))).collect();
        // A round trip of 10 ms: something is under way whenever a member dies.
        proxies.iter().for_each(|proxy| proxy.delay(Duration::from_millis(5)));
        let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
        let settings = Settings {
            protocol: "3.1.1",
            window: WINDOW,
            interval: "5ms",
            retry: RETRY,
            // With the status message, as by default: without it, one message may be tried before another one.
            more: String::new(),
            ..Settings::default()
        };
        let gateway = Gateway::new(&urls[0], &settings);
        gateway.edit(&format!("url: \"{}\"", urls[0]), &format!("urls: [\"{}\"]", urls.join("\", \"")));
        // While a cluster elects, its members answer late.
        gateway.edit("connect_timeout: 2s", "connect_timeout: 10s");
        gateway.edit("ack_timeout: 2s", "ack_timeout: 10s");
        Self { gateway, proxies, receiver, cluster, _turn: turn }
    }

    /// How many packets of a kind have passed, to and from all members.
    fn packets(&self, kind: PacketKind) -> u64 {
        self.proxies.iter().map(|proxy| proxy.packets(kind)).sum()
    }

    /// Waits until so many more messages have been acknowledged.
    fn wait_for_acknowledgements(&self, count: u64) {
        let before = self.packets(PacketKind::Puback);
        let enough = || (self.packets(PacketKind::Puback) >= before + count).then_some(());
        wait_for("messages are acknowledged", ELECTION, enough);
    }

    /// The member to which the agent says it is connected.
    fn member_in_use(&self, agent: &Agent) -> usize {
        let output = agent.output();
        let url = output.rsplit_once("connected to ").expect("it is connected").1;
        self.proxies.iter().position(|proxy| url.starts_with(&proxy.url())).expect("it is connected to a member")
    }

    /// Kills a member, and says after what time a message was acknowledged by another one.
    fn kill(&mut self, member: usize) -> Duration {
        let (begin, connections) = (Instant::now(), self.packets(PacketKind::Connack));
        self.proxies[member].refuse();
        self.cluster.kill(member);
        let connected = || (self.packets(PacketKind::Connack) > connections).then_some(());
        wait_for("the agent is connected", ELECTION, connected);
        self.wait_for_acknowledgements(1);
        begin.elapsed()
    }

    /// Stops the agent, lets another one deliver the rest, and judges.
    fn judge(&self, agent: Agent) {
        assert_eq!(agent.stop().code(), Some(0));
        let accepted = self.gateway.accepted();
        let agent = self.gateway.start();
        let arrivals = self.receiver.receive(&accepted);
        assert_eq!(agent.stop().code(), Some(0));
        println!("{} messages accepted before the last stop", count(&accepted));
        Judgement::of(&arrivals).assert_complete(&accepted);
    }
}

/// A majority of the members always runs.
fn the_member_in_use_dies(start: impl Fn() -> Cluster, receiver: impl Fn(&Cluster) -> Receiver) {
    let (mut random, kills) = (seeded(), scale(3, 20));
    let mut scene = Scene::new(start, receiver);
    let agent = scene.gateway.start();
    let mut resumptions = Vec::new();

    for kill in 0..kills {
        if kill % 2 == 0 {
            // The members alone have what comes now.
            scene.receiver.leave();
        }
        scene.wait_for_acknowledgements(100);
        std::thread::sleep(Duration::from_millis(random.u64(0..2000)));
        let member = scene.member_in_use(&agent);
        let resumed = scene.kill(member);
        println!("member {member} killed; the next message acknowledged {:.2} s later", resumed.as_secs_f64());
        resumptions.push(resumed);
        scene.receiver.come_back();
        std::thread::sleep(Duration::from_millis(random.u64(0..2000)));
        scene.cluster.run(member);
        scene.proxies[member].accept();
    }
    scene.wait_for_acknowledgements(200);

    resumptions.sort();
    let (median, longest) = (resumptions[kills / 2].as_secs_f64(), resumptions[kills - 1].as_secs_f64());
    println!("{kills} kills of the member in use; resumed after {median:.2} s (median), {longest:.2} s (longest)");
    scene.judge(agent);
}

#[test]
fn the_member_in_use_of_a_rabbitmq_cluster_dies_and_nothing_is_lost() {
    the_member_in_use_dies(|| rabbit_cluster(Queues::Quorum), Receiver::subscriber);
}

#[test]
fn the_member_in_use_of_a_nats_cluster_dies_and_nothing_is_lost() {
    the_member_in_use_dies(|| nats_cluster(3), Receiver::jetstream);
}
