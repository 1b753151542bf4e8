//! Notices that the network has come back: a route, an address or an interface that was not there before. A back-off
//! of hours ends then.
//!
//! What fails beyond the machine's own interfaces cannot be seen here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often to look while waiting for the next attempt: promises a connection within 5 s of the network's return.
const EVERY: Duration = Duration::from_secs(2);
/// The route is usable (linux/route.h).
const RTF_UP: u32 = 1;

/// The state of the machine's network.
#[derive(Debug)]
pub struct Network {
    root: PathBuf,
    /// What there was when it was looked at last.
    known: BTreeSet<String>,
    next_look: Instant,
}

impl Network {
    /// `root` is `/`, or in tests a folder that looks like it.
    pub fn new(root: &Path, now: Instant) -> Self {
        let mut network = Self { root: root.to_owned(), known: BTreeSet::new(), next_look: now + EVERY };
        network.known = network.present();
        network
    }

    /// When to look next.
    pub fn next_look(&self) -> Instant {
        self.next_look
    }

    /// Looks, when it is time to; what has come, if anything has.
    pub fn look(&mut self, now: Instant) -> Option<String> {
        if now < self.next_look {
            return None;
        }
        self.next_look = now + EVERY;
        let present = self.present();
        let come = present.difference(&self.known).next().cloned();
        self.known = present;
        come
    }

    fn present(&self) -> BTreeSet<String> {
        let text = |path: &str| fs::read_to_string(self.root.join(path)).unwrap_or_default();
        let mut present = BTreeSet::new();
        // Interface, destination, gateway, flags, … (proc(5)).
        for line in text("proc/net/route").lines().skip(1) {
            let mut words = line.split_whitespace();
            if let (Some(interface), Some(destination), Some(gateway), Some(flags)) =
                (words.next(), words.next(), words.next(), words.next())
                && u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & RTF_UP != 0)
            {
                present.insert(format!("route {destination} by {gateway} on {interface}"));
            }
        }
        // Address, index, length of prefix, scope, flags, interface (proc(5)).
        for line in text("proc/net/if_inet6").lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [address, .., interface] = words[..] {
                present.insert(format!("address {address} on {interface}"));
            }
        }
        for entry in fs::read_dir(self.root.join("sys/class/net")).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if text(&format!("sys/class/net/{name}/operstate")).trim() == "up" {
                present.insert(format!("interface {name}"));
            }
        }
        present
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
    const ROUTE: &str = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n";

    fn write(root: &Path, path: &str, text: &str) {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    #[test]
    fn what_comes_is_noticed_and_what_goes_is_not() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(root, "proc/net/route", HEADER);
        write(root, "sys/class/net/eth0/operstate", "down\n");
        let start = Instant::now();
        let mut network = Network::new(root, start);
        let mut seconds = 0;
        let mut look = || {
            seconds += 2;
            network.look(start + Duration::from_secs(seconds))
        };

        let nothing = look();
        write(root, "sys/class/net/eth0/operstate", "up\n");
        let interface = look();
        write(root, "proc/net/route", &format!("{HEADER}{ROUTE}"));
        let route = look();
        write(root, "proc/net/if_inet6", "fe80000000000000000000000000001 02 40 20 80     eth0\n");
        let address = look();
        write(root, "proc/net/route", HEADER);
        let gone = look();

        assert_eq!(nothing, None);
        assert_eq!(interface.as_deref(), Some("interface eth0"));
        assert_eq!(route.as_deref(), Some("route 00000000 by 0101A8C0 on eth0"));
        assert_eq!(address.as_deref(), Some("address fe80000000000000000000000000001 on eth0"));
        assert_eq!(gone, None);
    }

    #[test]
    fn a_route_that_is_down_and_lines_without_sense_are_no_network() {
        let root = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let mut network = Network::new(root.path(), start);

        write(root.path(), "proc/net/route", &format!("{HEADER}{}\nx\n\ny z 1 q\n", ROUTE.replace("0003", "0002")));
        write(root.path(), "proc/net/if_inet6", "\n\nx\n");

        assert_eq!(network.look(start + EVERY), None);
    }
}
