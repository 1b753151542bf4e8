//! The machine itself, from `/proc` and `/sys`. What a machine lacks is left out.

use super::{Data, Error, read_text};
use std::fs;
use std::path::{Path, PathBuf};

/// What the type of a thermal zone contains that measures the processor, the best first. Boards name theirs as they like:
/// `cpu-thermal`, `cpu0_thermal`, `soc-thermal`, `bcm2835_thermal`, `imx_thermal_zone`; PCs `x86_pkg_temp`, `acpitz`.
const PROCESSOR: [&str; 8] = ["cpu", "soc", "pkg", "package", "core", "bcm2", "imx", "acpitz"];
/// What the type of one contains that measures something else: it is never taken for the processor.
const SOMETHING_ELSE: [&str; 6] = ["bat", "charg", "wifi", "wlan", "nvme", "modem"];
/// Where they are.
const THERMAL: &str = "sys/class/thermal";
/// Thermal zones that are looked at.
const ZONES: usize = 256;
/// Millidegrees that a processor may have; what drivers say without a sensor is far outside.
const PLAUSIBLE: std::ops::RangeInclusive<i32> = -60_000..=150_000;
/// The firmware's answer to `get_throttled` on a Raspberry Pi: what holds now, and what has held since boot.
/// Source: the firmware's documentation of `vcgencmd get_throttled`.
const THROTTLED: [(u32, &str); 8] = [
    (0, "under_voltage"),
    (1, "frequency_capped"),
    (2, "throttled"),
    (3, "temperature_limited"),
    (16, "under_voltage_since_boot"),
    (17, "frequency_capped_since_boot"),
    (18, "throttled_since_boot"),
    (19, "temperature_limited_since_boot"),
];

/// Reads the machine's state below a root folder.
#[derive(Debug)]
pub struct System {
    root: PathBuf,
    spool: PathBuf,
}

impl System {
    /// `root` is `/`, or in tests a folder that looks like it. `spool` is the folder whose disk is reported.
    pub fn new(root: &Path, spool: &Path) -> Self {
        Self { root: root.to_owned(), spool: spool.to_owned() }
    }

    /// A file's text; `None` where there is none that can be read.
    fn text(&self, path: &str) -> Option<String> {
        read_text(&self.root.join(path)).ok()
    }

    fn temperature(&self, data: &mut Data) {
        let mut zones = self.zones();
        zones.sort_unstable();
        let reading = |zone: &u32| {
            let text = self.text(&format!("{THERMAL}/thermal_zone{zone}/temp"))?;
            text.parse().ok().filter(|millidegrees| PLAUSIBLE.contains(millidegrees))
        };
        let reading: Option<i32> = zones.iter().find_map(|(_, zone)| reading(zone));
        if let Some(millidegrees) = reading {
            data.insert("cpu_temperature_celsius".to_owned(), (f64::from(millidegrees) / 1000.0).into());
        }
    }

    /// The zones that may measure the processor, as how well they do and their number. The numbers have gaps.
    fn zones(&self) -> Vec<(usize, u32)> {
        let entries = fs::read_dir(self.root.join(THERMAL)).into_iter().flatten().flatten();
        let numbers =
            entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("thermal_zone")?.parse().ok());
        let rank = |zone: u32| {
            let kind = self.text(&format!("{THERMAL}/thermal_zone{zone}/type")).unwrap_or_default().to_lowercase();
            let is_of = |words: &[&str]| words.iter().position(|word| kind.contains(word));
            let rank = is_of(&PROCESSOR).unwrap_or(PROCESSOR.len() + usize::from(kind.contains("gpu")));
            is_of(&SOMETHING_ELSE).is_none().then_some((rank, zone))
        };
        numbers.take(ZONES).filter_map(rank).collect()
    }

    fn load(&self, data: &mut Data) {
        let Some(text) = self.text("proc/loadavg") else { return };
        for (key, number) in ["load1", "load5", "load15"].into_iter().zip(text.split_whitespace()) {
            if let Some(load) = finite(number) {
                data.insert(key.to_owned(), load.into());
            }
        }
    }

    fn memory(&self, data: &mut Data) {
        let Some(text) = self.text("proc/meminfo") else { return };
        let keys = [
            ("MemTotal:", "memory_total_bytes"),
            ("MemAvailable:", "memory_available_bytes"),
            ("SwapTotal:", "swap_total_bytes"),
            ("SwapFree:", "swap_free_bytes"),
        ];
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(name), Some(kibibytes)) = (words.next(), words.next()) else { continue };
            let key = keys.iter().find(|(known, _)| *known == name);
            if let (Some((_, key)), Some(bytes)) = (key, kibibytes.parse().ok().and_then(|k: u64| k.checked_mul(1024)))
            {
                data.insert((*key).to_owned(), bytes.into());
            }
        }
    }

    /// The disk of the spool, or of the nearest folder above it while it is not there yet.
    fn disk(&self, data: &mut Data) {
        let Some(status) = self.spool.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok()) else { return };
        for (key, blocks) in [("disk_total_bytes", status.f_blocks), ("disk_available_bytes", status.f_bavail)] {
            if let Some(bytes) = blocks.checked_mul(status.f_frsize) {
                data.insert(key.to_owned(), bytes.into());
            }
        }
    }

    fn uptime(&self, data: &mut Data) {
        let uptime = self.text("proc/uptime");
        if let Some(seconds) = uptime.as_deref().and_then(|text| text.split_whitespace().next()).and_then(finite) {
            data.insert("uptime_seconds".to_owned(), seconds.into());
        }
    }

    /// The sum over all interfaces but the loopback.
    fn network(&self, data: &mut Data) {
        let Some(text) = self.text("proc/net/dev") else { return };
        let counts = text.lines().filter_map(|line| {
            let (name, numbers) = line.split_once(':')?;
            if name.trim() == "lo" {
                return None;
            }
            let mut numbers = numbers.split_whitespace().map(|number| number.parse::<u64>().ok());
            // Columns of proc(5): received bytes are the first of sixteen, transmitted bytes the ninth.
            Some((numbers.next()??, numbers.nth(7)??))
        });
        let sum = counts.reduce(|a, b| (a.0.saturating_add(b.0), a.1.saturating_add(b.1)));
        if let Some((received, transmitted)) = sum {
            data.insert("network_received_bytes".to_owned(), received.into());
            data.insert("network_transmitted_bytes".to_owned(), transmitted.into());
        }
    }

    fn throttling(&self, data: &mut Data) {
        let Some(text) = self.text("sys/devices/platform/soc/soc:firmware/get_throttled") else { return };
        if let Ok(flags) = u32::from_str_radix(text.trim_start_matches("0x"), 16) {
            data.extend(THROTTLED.map(|(bit, key)| (key.to_owned(), (flags >> bit & 1 == 1).into())));
        }
    }
}

impl super::Source for System {
    fn sample(&mut self) -> Result<Data, Error> {
        let mut data = Data::new();
        self.temperature(&mut data);
        self.load(&mut data);
        self.memory(&mut data);
        self.disk(&mut data);
        self.uptime(&mut data);
        self.network(&mut data);
        self.throttling(&mut data);
        if data.is_empty() { Err(Error::Nothing(self.root.clone())) } else { Ok(data) }
    }
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;
    use serde_json::{Value, json};
    use tempfile::TempDir;

    fn machine(files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    fn sample(root: &TempDir) -> Value {
        Value::Object(System::new(root.path(), Path::new("/")).sample().unwrap())
    }

    const DEV: &str = "Inter-|   Receive                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  999999 1 0 0 0 0 0 0  999999 1 0 0 0 0 0 0
  eth0:    1000 1 0 0 0 0 0 0     200 1 0 0 0 0 0 0
 wlan0:      30 1 0 0 0 0 0 0       4 1 0 0 0 0 0 0
";

    #[test]
    fn a_raspberry_pi_reports_everything() {
        let root = machine(&[
            ("sys/class/thermal/thermal_zone0/type", "gpu-thermal\n"),
            ("sys/class/thermal/thermal_zone0/temp", "99000\n"),
            ("sys/class/thermal/thermal_zone1/type", "cpu-thermal\n"),
            ("sys/class/thermal/thermal_zone1/temp", "48312\n"),
            ("proc/loadavg", "0.12 0.34 0.56 1/123 4567\n"),
            (
                "proc/meminfo",
                "MemTotal: 3884000 kB\nMemFree: 1 kB\nMemAvailable: 3000000 kB\nSwapTotal: 100 kB\nSwapFree: 99 kB\n",
            ),
            ("proc/uptime", "350735.47 234388.90\n"),
            ("proc/net/dev", DEV),
            ("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n"),
        ]);

        let mut data = sample(&root);

        let disk = data.as_object_mut().unwrap();
        assert!(
            disk.remove("disk_total_bytes").unwrap().as_u64() > disk.remove("disk_available_bytes").unwrap().as_u64()
        );
        let expected = json!({
            "cpu_temperature_celsius": 48.312,
            "load1": 0.12, "load5": 0.34, "load15": 0.56,
            "memory_total_bytes": 3_977_216_000_u64, "memory_available_bytes": 3_072_000_000_u64,
            "swap_total_bytes": 102_400, "swap_free_bytes": 101_376,
            "uptime_seconds": 350_735.47,
            "network_received_bytes": 1030, "network_transmitted_bytes": 204,
            "under_voltage": true, "frequency_capped": false, "throttled": true, "temperature_limited": false,
            "under_voltage_since_boot": true, "frequency_capped_since_boot": false, "throttled_since_boot": true,
            "temperature_limited_since_boot": false,
        });
        assert_eq!(data, expected);
    }

    /// The temperature of a machine with these zones: number, type, millidegrees.
    fn temperature(zones: &[(u32, &str, &str)]) -> Value {
        let root = machine(&[("proc/uptime", "1.0 1.0")]);
        for (number, kind, millidegrees) in zones {
            let zone = root.path().join(format!("{THERMAL}/thermal_zone{number}"));
            fs::create_dir_all(&zone).unwrap();
            fs::write(zone.join("type"), kind).unwrap();
            fs::write(zone.join("temp"), millidegrees).unwrap();
        }
        sample(&root)["cpu_temperature_celsius"].clone()
    }

    #[test]
    fn the_temperature_is_that_of_the_processor_whatever_the_zones_are_called_and_numbered() {
        for (zones, expected) in [
            (&[(1, "cpu-thermal\n", "41000\n")][..], json!(41.0)),
            (&[(0, "gpu-thermal", "50000"), (7, "soc-thermal", "42000")], json!(42.0)),
            (&[(0, "acpitz", "27800"), (12, "x86_pkg_temp", "43000")], json!(43.0)),
            (&[(3, "CPU-therm", "44000"), (40, "cpu1-thermal", "45000")], json!(44.0)),
            (&[(10, "center-thermal", "46000"), (9, "fancy_ts", "47000")], json!(47.0)),
            (&[(0, "gpu-thermal", "48000")], json!(48.0)),
            (&[(0, "cpu-thermal", "-274000"), (1, "soc-thermal", ""), (2, "board", "49000")], json!(49.0)),
            (&[(0, "battery", "30000"), (1, "iwlwifi_1", "31000")], Value::Null),
            (&[], Value::Null),
        ] {
            assert_eq!(temperature(zones), expected, "{zones:?}");
        }
    }

    #[test]
    fn what_a_machine_lacks_or_garbles_is_left_out() {
        let root = machine(&[
            ("sys/class/thermal/thermal_zone0/type", "battery"),
            ("sys/class/thermal/thermal_zone0/temp", "30000"),
            ("proc/loadavg", "nan high 0.56"),
            ("proc/meminfo", "MemTotal: many kB\nSwapFree:\nMemAvailable: 99999999999999999999 kB\n"),
            ("proc/uptime", ""),
            ("proc/net/dev", "eth0: 1 2\nbroken"),
            ("sys/devices/platform/soc/soc:firmware/get_throttled", "yes"),
        ]);

        let data = sample(&root);

        let keys: Vec<_> = data.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["load15", "disk_total_bytes", "disk_available_bytes"]);
    }

    #[test]
    fn a_machine_that_says_nothing_is_an_error() {
        let root = tempfile::tempdir().unwrap();

        let error = System::new(root.path(), Path::new("")).sample().unwrap_err();

        assert!(error.to_string().contains(&root.path().display().to_string()));
    }

    #[test]
    fn this_machine_reports_what_every_linux_has() {
        let data = System::new(Path::new("/"), Path::new("/not/there/yet")).sample().unwrap();

        for key in ["load1", "memory_total_bytes", "disk_total_bytes", "uptime_seconds"] {
            assert!(data[key].as_f64().unwrap() >= 0.0, "{key}");
        }
    }
}
