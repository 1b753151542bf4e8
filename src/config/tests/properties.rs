//! What holds for every configuration and for every text.

use super::super::hints;
use super::super::load::inspect_text;
use super::super::{
    Address, AtMax, AzureIotHub, Broker, Channel, Config, Delivery, Logging, OnRefusal, Protocol, Proxy, Query, ReadAs,
    Retry, Scheme, Source, SourceKind, Spool, Status, Sync, Telemetry, Tls, WhenFull,
};
use super::{SHIPPED, azure, host, outcome};
use crate::azure::Origin;
use crate::message::{Format, Qos};
use log::LevelFilter;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::time::Duration;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_what_was_written_gives_the_same_configuration(config in config()) {
        let written = config.to_yaml();
        // What looks like a secret is refused, or not shown.
        prop_assume!(written.lines().all(|line| crate::foreign::secret_at(line).is_none()));

        let read = outcome(&written);

        prop_assert_eq!(read, Ok(config), "{}", written);
    }

    #[test]
    fn a_damaged_file_never_panics_and_problems_stay_within_it(cuts in vec((any::<prop::sample::Index>(), junk()), 1..6)) {
        let mut text: Vec<char> = SHIPPED.chars().collect();
        for (place, junk) in cuts {
            let at = place.index(text.len());
            let end = text.len().min(at + junk.len() % 3);
            text.splice(at..end, junk.chars());
        }
        let text: String = text.into_iter().collect();

        let inspection = inspect_text(&text, Path::new("test.yaml"), &host());

        let lines = text.lines().count().max(1);
        for problem in inspection.outcome.err().iter().flatten() {
            prop_assert!(problem.line.is_some_and(|line| (1..=lines).contains(&line)), "{:?} of {} lines", problem, lines);
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "(?s).{0,200}") {
        let _ = outcome(&text);
    }

    #[test]
    fn any_value_of_any_key_is_read_without_a_panic(
        place in any::<prop::sample::Index>(),
        value in prop_oneof!["[0-9a-zA-Z.:{}~/@\\[\\] -]{0,20}", "\\PC{0,20}", "-?[0-9]{1,40}", "[0-9.]{1,20} ?[a-zA-Z]{1,9}"],
    ) {
        let keys: Vec<&str> = SHIPPED.lines().filter(|line| !line.trim_start().starts_with(['#', '-'])).collect();
        let line = keys[place.index(keys.len())];
        let key = line.split_inclusive(':').next().unwrap_or_default();

        let _ = outcome(&SHIPPED.replacen(line, &format!("{key} {value}"), 1));
    }
}

/// Pieces that mean something to YAML, and some that do not.
fn junk() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "\t",
            "\n",
            "\r\n",
            ": ",
            "- ",
            "{",
            "}",
            "[",
            "]",
            "&a ",
            "*a",
            "? ",
            "|\n",
            ">\n",
            "!!int ",
            "'",
            "\"",
            "---\n",
            "...\n",
            "%YAML 1.1\n",
            "<<: ",
            "~",
            "#",
            ",",
            "\\",
            "\0",
            "\u{FEFF}",
            "\u{2028}",
            "\u{85}",
            "0",
            "-1",
            ".nan",
            "1e999",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,8}",
        "[a-z ]{1,20}",
    ]
}

fn duration(shortest: u64) -> impl Strategy<Value = Duration> {
    (prop_oneof![shortest..shortest + 100, shortest..u64::from(u32::MAX)], prop_oneof![Just(0), 0..1_000_000_000_u32])
        .prop_map(|(seconds, nanoseconds)| Duration::new(seconds, nanoseconds))
}

fn seconds(shortest: u64, longest: u64) -> impl Strategy<Value = Duration> {
    (shortest..=longest).prop_map(Duration::from_secs)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9-]{1,12}",
        "[^/+#{}\\p{C}\\p{Zl}\\p{Zp}]{1,12}"
            .prop_filter("nothing that deceives", |name| hints::deceptive(name).is_none()),
        prop::sample::select(vec![
            "~", "null", "true", "off", "5", "1e3", "---", "- a", "a: b", "'", " ", "=", "<<", "0x1f"
        ])
        .prop_map(str::to_owned),
    ]
}

fn path() -> impl Strategy<Value = PathBuf> {
    name()
        .prop_filter("not replaced", |name| name != "~" && hints::replaced_elsewhere(name).is_none())
        .prop_map(|name| Path::new("/srv").join(name))
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.001), -1e3..1e3_f64, prop::num::f64::NORMAL]
}

fn level() -> impl Strategy<Value = LevelFilter> {
    prop::sample::select(LevelFilter::iter().collect::<Vec<_>>())
}

fn qos() -> impl Strategy<Value = Qos> {
    prop::sample::select(vec![Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce])
}

fn address() -> impl Strategy<Value = Address> {
    let scheme = prop::sample::select(vec![Scheme::Mqtt, Scheme::Mqtts, Scheme::Ws, Scheme::Wss]);
    let host = prop_oneof!["[a-z]{1,9}", Just("[2001:db8::1]".to_owned())];
    (scheme, host, 1..=u16::MAX, "/[a-z=$]{1,9}").prop_map(|(scheme, host, port, path)| {
        let path = if matches!(scheme, Scheme::Ws | Scheme::Wss) { path } else { String::new() };
        Address { scheme, host, port, path, query: Query::default() }
    })
}

fn proxy() -> impl Strategy<Value = Proxy> {
    let host = prop_oneof!["[a-z]{1,9}", Just("[2001:db8::1]".to_owned())];
    let login = option::of((name().prop_filter("no colon", |name| !name.contains(':')), option::of(path())));
    (host, 1..=u16::MAX, login).prop_map(|(host, port, login)| {
        let (username, password_file) = login.map_or((None, None), |(name, file)| (Some(name), file));
        Proxy { host, port, username, password_file }
    })
}

fn tls() -> impl Strategy<Value = Tls> {
    let certificate = option::of((path(), option::of(path())));
    (option::of(path()), certificate, any::<bool>(), option::of("[a-z0-9-]{1,9}")).prop_map(
        |(ca_file, certificate, verify, alpn)| {
            let (cert_file, key_file) = certificate.map_or((None, None), |(cert, key)| (Some(cert), key));
            Tls { ca_file, cert_file, key_file, verify, alpn }
        },
    )
}

fn broker() -> impl Strategy<Value = Broker> {
    (
        prop::collection::vec(address(), 1..4),
        prop_oneof![name(), Just("{stream}".to_owned())],
        prop::sample::select(vec![Protocol::V5, Protocol::V311]),
        seconds(1, 65_535),
        duration(1),
        seconds(0, u64::from(u32::MAX)),
        option::of((name(), option::of(path()))),
        option::of(proxy()),
        tls(),
    )
        .prop_map(
            |(addresses, client_id, protocol, keep_alive, connect_timeout, session_expiry, login, proxy, tls)| {
                let (username, password_file) = login.map_or((None, None), |(name, file)| (Some(name), file));
                let encrypted = addresses.iter().any(|address| address.scheme.is_tls());
                let plain = Tls { ca_file: None, cert_file: None, key_file: None, alpn: None, ..tls.clone() };
                let tls = if encrypted { tls } else { plain };
                Broker {
                    addresses,
                    client_id,
                    protocol,
                    keep_alive,
                    connect_timeout,
                    session_expiry,
                    username,
                    password_file,
                    proxy,
                    tls,
                    azure_iot_hub: None,
                    detours: Vec::new(),
                }
            },
        )
}

fn retry() -> impl Strategy<Value = Retry> {
    let at_max = prop::sample::select(vec![AtMax::Exit, AtMax::Hold]);
    let on_refusal = prop::sample::select(vec![OnRefusal::Hold, OnRefusal::Exit]);
    let values = (duration(1), duration(1), 1.0..1e6_f64, at_max, on_refusal, 0.0..=1.0_f64, duration(1));
    values.prop_map(|(one, other, factor, at_max, on_refusal, jitter, stable_after)| Retry {
        initial_delay: one.min(other),
        factor,
        max_delay: one.max(other),
        at_max,
        on_refusal,
        jitter,
        stable_after,
    })
}

fn source() -> impl Strategy<Value = Source> {
    let kind = prop_oneof![
        Just(SourceKind::System),
        (path(), number(), number(), option::of(name())).prop_map(|(path, scale, offset, unit)| SourceKind::File {
            path,
            read_as: ReadAs::Number,
            scale,
            offset,
            unit
        }),
        option::of(any::<u64>()).prop_map(|seed| SourceKind::Simulated { seed }),
    ];
    (name(), kind, duration(1), name(), qos(), any::<bool>(), option::of(seconds(1, u64::from(u32::MAX)))).prop_map(
        |(name, kind, interval, topic, qos, retain, expiry)| Source {
            name,
            kind,
            interval,
            timeout: interval,
            topic,
            qos,
            retain,
            format: Format::Json,
            expiry,
        },
    )
}

fn telemetry() -> impl Strategy<Value = Telemetry> {
    let topic = prop::sample::select(vec!["telemetry/{device}/{source}", "{source}", "fixed"]);
    (duration(1), topic, qos(), vec(source(), 1..4)).prop_map(|(interval, topic, qos, mut sources)| {
        for (number, source) in sources.iter_mut().enumerate() {
            source.name = format!("{}{number}", source.name);
        }
        Telemetry { interval, topic: topic.to_owned(), qos, format: Format::Json, sources }
    })
}

fn spool() -> impl Strategy<Value = Spool> {
    (
        path(),
        prop_oneof![Just(1 << 20), Just(5 << 30), (1 << 20)..=u64::MAX],
        option::of(duration(1)),
        prop::sample::select(vec![WhenFull::DropOldest, WhenFull::DropNewest]),
        prop_oneof![Just(Sync::Always), duration(1).prop_map(Sync::Every)],
    )
        .prop_map(|(directory, max_size, max_age, when_full, sync)| Spool {
            directory,
            max_size,
            max_age,
            when_full,
            sync,
        })
}

fn logging() -> impl Strategy<Value = Logging> {
    let switches = (any::<bool>(), any::<bool>());
    let levels = (level(), level(), level());
    (path(), duration(1), 1..=1_000_000_usize, 4096..=u64::MAX, switches, levels).prop_map(
        |(directory, rotate_every, keep_files, max_file_size, (debug, info), (sample, paho, console))| Logging {
            directory,
            rotate_every,
            keep_files,
            max_file_size,
            debug,
            info,
            sample,
            paho,
            console,
        },
    )
}

/// The same, for an IoT hub.
fn at_a_hub(config: Config, token_lifetime: Duration) -> Config {
    let connection_string = Origin::File(PathBuf::from("/srv/pi-7"));
    let device = azure::connection_string(&connection_string).unwrap().device;
    let (client_id, username, topic) = (device.id.clone(), Some(device.username()), device.topic(&[]));
    let most = |qos: Qos| qos.min(Qos::AtLeastOnce);
    let source = |source: Source| Source { topic: topic.clone(), qos: most(source.qos), retain: false, ..source };
    let sources = config.telemetry.sources.into_iter().map(source).collect();
    Config {
        broker: Broker {
            client_id,
            username,
            protocol: Protocol::V311,
            password_file: None,
            keep_alive: config.broker.keep_alive.min(Duration::from_secs(1177)),
            connect_timeout: config.broker.connect_timeout.min(token_lifetime / 2),
            azure_iot_hub: Some(AzureIotHub { connection_string, token_lifetime, device }),
            ..config.broker
        },
        telemetry: Telemetry { qos: most(config.telemetry.qos), sources, topic, ..config.telemetry },
        status: Status { topic: None, ..config.status },
        ..config
    }
}

fn config() -> impl Strategy<Value = Config> {
    (plain_config(), option::of(seconds(2, u64::from(u32::MAX)))).prop_map(|(config, hub)| match hub {
        Some(token_lifetime) => at_a_hub(config, token_lifetime),
        None => config,
    })
}

fn plain_config() -> impl Strategy<Value = Config> {
    (
        (name(), broker(), retry(), telemetry(), 1..=1_000_000_usize),
        (spool(), 1..=u16::MAX, duration(1), option::of(1e-6..1e12_f64), duration(0)),
        (logging(), option::of(name()), duration(1)),
    )
        .prop_map(
            |((device, broker, retry, telemetry, capacity), (spool, window, ack_timeout, max_rate, stop), rest)| {
                let (logging, topic, interval) = rest;
                Config {
                    device,
                    broker,
                    retry,
                    telemetry,
                    channel: Channel { capacity },
                    spool,
                    delivery: Delivery { window, ack_timeout, max_rate },
                    shutdown_timeout: stop,
                    logging,
                    // No telemetry may go there.
                    status: Status { topic: topic.map(|name| format!("status/{name}")), interval },
                }
            },
        )
}
