//! Notices that the network has come back: a route to the broker that was not there before. A back-off of hours ends then.
//!
//! Only what could carry a connection to the broker counts, so the interfaces and addresses of containers may come and go.
//! The kernel's main tables are read, not those of policy routing; what fails beyond the next router cannot be seen here.

use crate::config::Broker;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often to look while waiting for the next attempt: promises a connection within 5 s of the network's return.
const EVERY: Duration = Duration::from_secs(2);

/// The route is usable (linux/route.h).
const RTF_UP: u32 = 1;
/// The route only says that there is none (linux/route.h).
const RTF_REJECT: u32 = 0x200;

/// The longest prefix of a route that counts as one to everywhere, in bits: VPNs halve the default route in two.
const EVERYWHERE: u8 = 1;

/// What must be reachable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Address(IpAddr),
    Name(String),
}

/// What must be reachable for a configuration: its brokers, or the proxy on the way to all of them.
#[must_use]
pub fn targets(broker: &Broker) -> Vec<Target> {
    match &broker.proxy {
        Some(proxy) => vec![Target::of(&proxy.host)],
        None => broker.addresses.iter().map(|address| Target::of(&address.host)).collect(),
    }
}

impl Target {
    /// A host as it stands in an address: a name, an IPv4 address, or an IPv6 address in brackets.
    #[must_use]
    pub fn of(host: &str) -> Target {
        let host = host.trim_matches(['[', ']']);
        // A zone belongs to link-local addresses, which are on every network.
        match host.split('%').next().unwrap_or(host).parse::<IpAddr>() {
            Ok(address) => Target::Address(address.to_canonical()),
            Err(_) => Target::Name(host.to_owned()),
        }
    }

    /// Whether a route leads to it. Names are not resolved: what `hosts` does not name may be anywhere.
    fn is_behind(&self, route: &Route, hosts: &str) -> bool {
        match self {
            Target::Address(address) => route.covers(*address),
            Target::Name(name) => {
                let mut known = addresses(hosts, name).peekable();
                if known.peek().is_some() {
                    known.any(|address| route.covers(address))
                } else {
                    route.prefix <= EVERYWHERE
                }
            }
        }
    }
}

/// The addresses that `/etc/hosts` has for a name (hosts(5)).
fn addresses(hosts: &str, name: &str) -> impl Iterator<Item = IpAddr> {
    hosts.lines().filter_map(move |line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then(|| address.to_canonical())
    })
}

/// A route that can be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Route {
    destination: IpAddr,
    /// How many bits of the destination count.
    prefix: u8,
    /// Unspecified: there is none between.
    gateway: IpAddr,
    interface: String,
}

impl Route {
    /// A line of `/proc/net/route` (proc(5)): interface, destination, gateway, flags, three numbers, mask. Addresses are
    /// in hexadecimal digits, as numbers in the machine's order of bytes. `None`: no usable route.
    fn ipv4(line: &str) -> Option<Route> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [interface, destination, gateway, flags, _, _, _, mask, ..] = words[..] else { return None };
        let address = |hexadecimal| {
            let number = u32::from_str_radix(hexadecimal, 16).ok()?;
            Some(Ipv4Addr::from(number.to_ne_bytes()))
        };
        let route = Route {
            destination: address(destination)?.into(),
            prefix: u8::try_from(address(mask)?.to_bits().leading_ones()).ok()?,
            gateway: address(gateway)?.into(),
            interface: interface.to_owned(),
        };
        route.usable(flags)
    }

    /// A line of `/proc/net/ipv6_route` (the kernel's net/ipv6/route.c): destination and prefix, source and prefix, next
    /// hop, metric, two counters, flags, interface; all numbers in hexadecimal digits.
    fn ipv6(line: &str) -> Option<Route> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [destination, prefix, _, _, gateway, _, _, _, flags, interface] = words[..] else { return None };
        let address = |hexadecimal| Some(Ipv6Addr::from(u128::from_str_radix(hexadecimal, 16).ok()?));
        let route = Route {
            destination: address(destination)?.into(),
            prefix: u8::from_str_radix(prefix, 16).ok().filter(|prefix| *prefix <= 128)?,
            gateway: address(gateway)?.into(),
            interface: interface.to_owned(),
        };
        route.usable(flags)
    }

    /// The route, if it leads off this machine and has something to say.
    fn usable(self, flags: &str) -> Option<Route> {
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let is_up = flags & RTF_UP != 0 && flags & RTF_REJECT == 0;
        let is_elsewhere = self.interface != "lo"
            && self.interface != "*"
            && !self.destination.is_loopback()
            && !self.destination.is_multicast();
        (is_up && is_elsewhere).then_some(self)
    }

    fn covers(&self, address: IpAddr) -> bool {
        let (own, other, width) = match (self.destination, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let differing: u128 = own ^ other;
        differing.checked_shr(width - u32::from(self.prefix)).unwrap_or(0) == 0
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route to {}/{}", self.destination, self.prefix)?;
        if !self.gateway.is_unspecified() {
            write!(f, " by {}", self.gateway)?;
        }
        write!(f, " on {}", self.interface)
    }
}

/// The routes to the broker.
#[derive(Debug)]
pub struct Network {
    root: PathBuf,
    targets: Vec<Target>,
    /// Those that there were when it was looked at last.
    known: BTreeSet<Route>,
    next_look: Instant,
}

impl Network {
    /// `root` is `/`, or in tests a folder that looks like it.
    #[must_use]
    pub fn new(root: &Path, now: Instant, targets: Vec<Target>) -> Self {
        let mut network = Self { root: root.to_owned(), targets, known: BTreeSet::new(), next_look: now + EVERY };
        network.known = network.present();
        network
    }

    /// When to look next.
    #[must_use]
    pub fn next_look(&self) -> Instant {
        self.next_look
    }

    /// Looks, when it is time to; the route that has come, if one has.
    pub fn look(&mut self, now: Instant) -> Option<String> {
        if now < self.next_look {
            return None;
        }
        self.next_look = now + EVERY;
        let present = self.present();
        let come = present.difference(&self.known).next().map(Route::to_string);
        self.known = present;
        come
    }

    /// The routes to any of the targets that can be used.
    fn present(&self) -> BTreeSet<Route> {
        let (ipv4, ipv6) = (self.text("proc/net/route"), self.text("proc/net/ipv6_route"));
        let routes = ipv4.lines().filter_map(Route::ipv4).chain(ipv6.lines().filter_map(Route::ipv6));
        let hosts = self.text("etc/hosts");
        let is_wanted = |route: &Route| self.targets.iter().any(|target| target.is_behind(route, &hosts));
        routes.filter(is_wanted).filter(|route| self.has_carrier(&route.interface)).collect()
    }

    /// Whether an interface can carry anything. A cable that is pulled out leaves the routes as they are.
    fn has_carrier(&self, interface: &str) -> bool {
        let state = self.text(&format!("sys/class/net/{interface}/operstate"));
        // The names of RFC 2863's states; drivers that know none say `unknown`.
        !matches!(state.trim(), "down" | "lowerlayerdown" | "notpresent" | "dormant")
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tempfile::TempDir;

    const HEADER: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT            \n";
    /// By `ip route add default via 192.168.1.1`, and the network that it is in.
    const DEFAULT: &str = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0            \n";
    const LAN: &str = "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0            \n";
    /// A bridge of containers.
    const CONTAINERS: &str = "br-1\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0            \n";
    const UNREACHABLE: &str = "*\t0001A8C0\t00000000\t0200\t0\t0\t0\t00FFFFFF\t0\t0\t0            \n";

    const DEFAULT_6: &str = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000003 00000000 00000003     eth0\n";
    const LAN_6: &str = "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n";
    /// What every machine has: a link's own network, multicast, and routes that only say that there is none.
    const NOTHING_6: &str = "\
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000002 00000000 00000001     eth0
00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000004 00000000 80200001       lo
ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000003 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
";

    /// A machine whose files are in a folder.
    struct Machine {
        root: TempDir,
        network: Network,
        now: Instant,
    }

    impl Machine {
        /// Without any route.
        fn with(hosts: &[&str]) -> Self {
            let (root, now) = (tempfile::tempdir().unwrap(), Instant::now());
            let network = Network::new(root.path(), now, hosts.iter().map(|host| Target::of(host)).collect());
            Self { root, network, now }
        }

        fn write(&self, path: &str, text: &str) {
            let file = self.root.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }

        /// What the machine notices once it has these routes.
        fn look(&mut self, ipv4: &str, ipv6: &str) -> Option<String> {
            self.write("proc/net/route", &format!("{HEADER}{ipv4}"));
            self.write("proc/net/ipv6_route", ipv6);
            self.look_again()
        }

        fn look_again(&mut self) -> Option<String> {
            self.now += EVERY;
            self.network.look(self.now)
        }
    }

    #[test]
    fn a_route_to_the_broker_is_noticed_once_and_its_end_is_not() {
        let mut machine = Machine::with(&["192.168.1.7"]);

        assert_eq!(machine.look("", NOTHING_6), None);
        assert_eq!(machine.look(LAN, NOTHING_6).as_deref(), Some("route to 192.168.1.0/24 on eth0"));
        assert_eq!(machine.look(LAN, NOTHING_6), None);
        assert_eq!(
            machine.look(&format!("{DEFAULT}{LAN}"), "").as_deref(),
            Some("route to 0.0.0.0/0 by 192.168.1.1 on eth0")
        );
        assert_eq!(machine.look("", ""), None);
        assert_eq!(machine.look(LAN, "").as_deref(), Some("route to 192.168.1.0/24 on eth0"));
    }

    #[test]
    fn over_ipv6_as_well() {
        let mut machine = Machine::with(&["[fd00::7]"]);

        assert_eq!(machine.look(&format!("{DEFAULT}{LAN}"), NOTHING_6), None);
        assert_eq!(machine.look("", LAN_6).as_deref(), Some("route to fd00::/64 on eth0"));
        assert_eq!(machine.look("", DEFAULT_6).as_deref(), Some("route to ::/0 by fd00::1 on eth0"));
    }

    #[test]
    fn what_leads_elsewhere_is_no_news() {
        let mut machine = Machine::with(&["192.168.1.7", "[fd00:1::7]"]);

        assert_eq!(machine.look(CONTAINERS, LAN_6), None);
        assert_eq!(machine.look(&CONTAINERS.replace("br-1", "br-2"), NOTHING_6), None);
    }

    #[test]
    fn for_a_name_a_route_to_everywhere_counts_and_no_other() {
        let mut machine = Machine::with(&["broker.example"]);

        assert_eq!(machine.look(&format!("{LAN}{CONTAINERS}"), &format!("{LAN_6}{NOTHING_6}")), None);
        assert!(machine.look(DEFAULT, "").is_some());
        assert!(machine.look(DEFAULT, DEFAULT_6).is_some());
        let half = DEFAULT.replace("\t00000000\t0\t0\t0 ", "\t00000080\t0\t0\t0 ").replace("eth0", "tun0");
        assert_eq!(machine.look(&half, "").as_deref(), Some("route to 0.0.0.0/1 by 192.168.1.1 on tun0"));
    }

    #[test]
    fn for_a_name_in_etc_hosts_a_route_to_its_address_counts() {
        let mut machine = Machine::with(&["broker"]);
        machine.write("etc/hosts", "127.0.0.1 localhost\n# 10.0.0.1 broker\n192.168.1.7\tb.lan BROKER # ours\n");

        assert_eq!(machine.look(CONTAINERS, DEFAULT_6), None);
        assert!(machine.look(LAN, "").is_some());
    }

    #[test]
    fn what_says_that_there_is_no_route_is_none() {
        let mut machine = Machine::with(&["192.168.1.7", "[fd00::7]"]);
        let down = LAN.replace("\t0001\t", "\t0000\t");
        let loopback = DEFAULT.replace("eth0", "lo");

        for ipv4 in [UNREACHABLE, &down, &loopback, "x\n\n\ny z 1 q\n", "eth0\tzz\tzz\t0001\t0\t0\t0\tzz\t0\t0\t0\n"] {
            assert_eq!(machine.look(ipv4, &format!("{NOTHING_6}\nx y\n")), None, "{ipv4}");
        }
        assert_eq!(machine.look("", &DEFAULT_6.replace(" 00000003     eth0", " 00000203     eth0")), None);
    }

    #[test]
    fn a_cable_that_is_plugged_in_again_is_noticed() {
        let mut machine = Machine::with(&["broker.example"]);
        machine.write("sys/class/net/eth0/operstate", "down\n");

        assert_eq!(machine.look(DEFAULT, ""), None);
        machine.write("sys/class/net/eth0/operstate", "up\n");
        assert!(machine.look_again().is_some());
        machine.write("sys/class/net/eth0/operstate", "unknown\n");
        assert_eq!(machine.look_again(), None);
    }

    #[test]
    fn the_proxy_is_what_has_to_be_reached() {
        let yaml = |proxy: &str| format!("device: d\nbroker: {{urls: ['mqtt://10.0.0.1', 'mqtt://h']{proxy}}}\n");
        let targets = |proxy| {
            let config = crate::config::parse(&yaml(proxy), Path::new("test.yaml")).unwrap();
            super::targets(&config.broker)
        };

        let (address, name) = (Target::of("10.0.0.1"), Target::Name("h".to_owned()));
        assert_eq!(targets(""), [address, name]);
        assert_eq!(targets(", proxy: 'http://[fd00::1]:3128'"), [Target::Address("fd00::1".parse().unwrap())]);
    }

    #[test]
    fn nothing_is_looked_at_before_it_is_time() {
        let mut machine = Machine::with(&["192.168.1.7"]);
        machine.write("proc/net/route", &format!("{HEADER}{LAN}"));

        let early = machine.now + EVERY / 2;

        assert_eq!(machine.network.look(early), None);
        assert_eq!(machine.network.next_look(), machine.now + EVERY);
        assert!(machine.look_again().is_some());
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in ".{0,200}", words in proptest::collection::vec("[0-9a-fA-F]{1,33}", 10)) {
            let words = words.join(" ");
            for line in [&line, &words] {
                let routes = [Route::ipv4(line), Route::ipv6(line)];
                routes.iter().flatten().for_each(|route| {
                    route.covers(Ipv4Addr::LOCALHOST.into());
                    route.covers(Ipv6Addr::LOCALHOST.into());
                });
            }
        }

        #[test]
        fn a_route_covers_what_has_its_prefix(own: u32, other: u32, prefix in 0_u8..=32) {
            let route = Route {
                destination: Ipv4Addr::from(own).into(),
                prefix,
                gateway: Ipv4Addr::UNSPECIFIED.into(),
                interface: String::new(),
            };
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);

            prop_assert_eq!(route.covers(Ipv4Addr::from(other).into()), own & mask == other & mask);
        }
    }
}
