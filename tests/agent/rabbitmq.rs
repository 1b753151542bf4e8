//! RabbitMQ as the broker, through its MQTT plug-in: nothing accepted is lost.
//!
//! What is acknowledged is in the subscriber's durable queue and on the disk: that, and that the queue keeps its order
//! over a restart, are RabbitMQ's promises. Version 3.10 knows neither QoS 2 nor MQTT 5: it ends the connection over both.

use crate::support::{
    Agent, Cluster, Direction, Gateway, How, Judgement, PacketKind, Proxy, Settings, Subscriber, heavy, rabbit, scale,
    seeded, wait_until,
};
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

const WINDOW: u16 = 20;

/// How many messages the plug-in sends to a subscriber that has not acknowledged them: its default.
const PREFETCH: usize = 10;

/// A device whose link to a RabbitMQ passes through a proxy.
struct Scene {
    gateway: Gateway,
    proxy: Proxy,
    subscriber: Subscriber,
    node: Cluster,
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    fn new() -> Self {
        let turn = heavy();
        let begin = Instant::now();
        let node = rabbit();
        println!("RabbitMQ started in {:.1} s", begin.elapsed().as_secs_f64());
        let subscriber = Subscriber::over_mqtt_3_1_1(&node.urls(), "telemetry/#");
        let proxy = Proxy::start(node.port(0));
        // A round trip of 10 ms: something is under way whenever something fails.
        proxy.delay(Duration::from_millis(5));
        let settings = Settings { protocol: "3.1.1", window: WINDOW, interval: "5ms", ..Settings::default() };
        let gateway = Gateway::new(&proxy.url(), &settings);
        Self { gateway, proxy, subscriber, node, _turn: turn }
    }

    /// Waits until so many more messages have arrived.
    fn wait_for_more(&self, count: usize) {
        let before = self.subscriber.arrivals().len();
        self.subscriber.wait_for_count(before + count);
    }

    /// Waits until so many more messages have been acknowledged.
    fn wait_for_acknowledgements(&self, count: u64) {
        let before = self.proxy.packets(PacketKind::Puback);
        wait_until("messages are acknowledged", || self.proxy.packets(PacketKind::Puback) >= before + count);
    }

    /// Waits until a connection has been accepted after so many, and a message acknowledged on it.
    fn wait_for_resumption(&self, connections: u64) {
        wait_until("the agent is connected", || self.proxy.packets(PacketKind::Connack) > connections);
        self.wait_for_acknowledgements(1);
    }

    /// Stops the agent, lets another one deliver the rest, and judges.
    fn judge(&self, agent: Agent, faults: usize) {
        assert_eq!(agent.stop().code(), Some(0));
        println!("{faults} faults, {} messages accepted before the last stop", self.gateway.accepted_count());
        let judgement = Judgement::of_the_rest(&self.gateway, &self.subscriber);
        let allowed = (faults + 1) * (usize::from(WINDOW) + PREFETCH);
        assert!(judgement.duplicates <= allowed, "{} duplicates, {allowed} allowed", judgement.duplicates);
    }
}

#[test]
fn a_node_that_dies_or_stops_loses_nothing() {
    let mut scene = Scene::new();
    let mut agent = scene.gateway.start();
    let (rounds, mut faults) = (scale(1, 10), 0);

    for _ in 0..rounds {
        for how in ["killed", "stopped", "stopped, and the agent killed meanwhile"] {
            scene.wait_for_more(100);
            // The node alone has what comes now.
            scene.subscriber.leave_soon();
            scene.wait_for_acknowledgements(200);
            let losses = scene.gateway.logged("retrying in");
            let (begin, connections) = (Instant::now(), scene.proxy.packets(PacketKind::Connack));
            if how == "killed" {
                scene.node.kill(0);
            } else {
                scene.node.stop(0);
            }
            if how.ends_with("meanwhile") {
                wait_until("the agent notices", || scene.gateway.logged("retrying in") > losses);
                agent.kill();
                agent = scene.gateway.start();
            }
            scene.node.run(0);
            let away = begin.elapsed().as_secs_f64();
            scene.wait_for_resumption(connections);
            let resumed = begin.elapsed().as_secs_f64();
            println!("{how}: away for {away:.1} s, the next message acknowledged {:.2} s later", resumed - away);
            scene.subscriber.return_soon();
            faults += 1;
        }
    }
    scene.wait_for_more(200);

    scene.judge(agent, faults);
}

#[test]
fn cuts_and_kills_of_the_agent_lose_nothing() {
    let scene = Scene::new();
    let (mut random, cuts, kills) = (seeded(), scale(15, 300), scale(5, 100));
    scene.gateway.edit("interval: 5ms", "interval: 1ms");
    let agent = scene.gateway.start();

    for cut in 1..=cuts {
        let direction = if random.bool() { Direction::Up } else { Direction::Down };
        let how = if random.bool() { How::Reset } else { How::Finish };
        let most = if direction == Direction::Up { 10_000 } else { 500 };
        scene.proxy.cut_after(direction, random.u64(0..most), how);
        wait_until("the connection is cut", || scene.proxy.cuts() == cut);
    }
    agent.kill();
    for _ in 0..kills {
        let agent = scene.gateway.start();
        scene.wait_for_more(20);
        std::thread::sleep(Duration::from_millis(random.u64(0..200)));
        agent.kill();
        // As when the gateway loses its power: what is under way is lost.
        scene.proxy.cut(How::Reset);
    }
    let agent = scene.gateway.start();
    scene.wait_for_more(100);

    println!("{cuts} cuts, {kills} kills of the agent");
    scene.judge(agent, cuts + kills);
}
