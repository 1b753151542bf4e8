//! The report of a test: one page with everything in it, for a browser in light or dark, on a phone as well.

use super::charts;
use super::faults::Wanted;
use super::history::History;
use super::setup::Settings;
use super::verdict::{Judgement, Verdict};
use crate::clock::rfc3339;
use crate::config::Protocol;
use std::fmt::Write;
use std::time::Duration;

const HEAD: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>packhorse verify</title><style>
:root{--paper:#fff;--ink:#1b1b1b;--published:#2563c9;--received:#1a7f37;--waiting:#b35900;--fault:#c62828;--good:#1a7f37;--bad:#c62828}
@media (prefers-color-scheme:dark){:root{--paper:#16181c;--ink:#e6e6e6;--published:#7db0ff;--received:#5fd07f;--waiting:#ffb057;--fault:#ff7b72;--good:#5fd07f;--bad:#ff7b72}}
body{background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}
h1{font-size:1.3rem}h2{font-size:1.1rem;margin-top:2rem}svg{width:100%;max-width:48rem;height:auto;display:block}
.verdict{font-size:1.15rem;font-weight:600;border-left:.4rem solid;padding-left:.8rem}.good{border-color:var(--good)}.bad{border-color:var(--bad)}
table{border-collapse:collapse;width:100%;max-width:48rem}td{padding:.2rem .6rem .2rem 0;vertical-align:top;border-bottom:1px solid color-mix(in srgb,var(--ink) 20%,transparent);overflow-wrap:anywhere}
pre{white-space:pre-wrap;overflow-wrap:anywhere}.key span{margin-right:1rem;white-space:nowrap}.key b{display:inline-block;width:.8rem;height:.8rem;margin-right:.3rem}
"#;

/// The page.
#[must_use]
pub fn page(settings: &Settings, verdict: &Verdict, history: &History) -> String {
    let mut page = HEAD.to_owned();
    for (color, role) in charts::ROLES {
        let _ = write!(
            page,
            "svg [stroke=\"{color}\"]{{stroke:var(--{role})}}svg [fill=\"{color}\"]{{fill:var(--{role})}}.key .{role}{{background:var(--{role})}}"
        );
    }
    page += "svg rect[fill=\"#050505\"]{opacity:.25}</style></head><body>\n<h1>packhorse verify</h1>\n";
    let class = if verdict.judgement() == Judgement::Good { "good" } else { "bad" };
    let _ = writeln!(page, "<p class=\"verdict {class}\">{}</p>", escaped(&verdict.words()));
    let _ = writeln!(page, "<pre>{}</pre>", escaped(&verdict.figures()));
    page += "<h2>Over time</h2>\n<p class=\"key\">";
    for (role, what) in
        [("published", "published"), ("received", "received"), ("waiting", "waiting"), ("fault", "fault, or a kill")]
    {
        let _ = write!(page, "<span><b class=\"{role}\"></b>{what}</span>");
    }
    page += "</p>\n";
    page += &charts::progress(history).unwrap_or_default();
    page += "<h2>From the sample to the second connection</h2>\n";
    page += &charts::latencies(&verdict.balance.latencies).unwrap_or_else(|| "<p>Nothing arrived.</p>".to_owned());
    page += "<h2>Settings and versions</h2>\n<table>\n";
    for (name, value) in rows(settings) {
        let _ = writeln!(page, "<tr><td>{name}</td><td>{}</td></tr>", escaped(&value));
    }
    page + "</table>\n</body></html>\n"
}

fn rows(settings: &Settings) -> Vec<(&'static str, String)> {
    let system = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let broker = &settings.config.broker;
    let addresses: Vec<String> = broker.addresses.iter().map(ToString::to_string).collect();
    let protocol = if broker.protocol == Protocol::V5 { "5" } else { "3.1.1" };
    let time = |time: Option<Duration>| {
        time.map_or_else(|| "none".to_owned(), |time| humantime::format_duration(time).to_string())
    };
    let Wanted { cut_every, kill_every, outage } = settings.faults;
    vec![
        ("written", rfc3339(chrono::Utc::now().timestamp_millis())),
        ("packhorse", env!("CARGO_PKG_VERSION").to_owned()),
        ("system", format!("{} {} {}", text(system.sysname()), text(system.release()), text(system.machine()))),
        ("broker", addresses.join(", ")),
        ("MQTT", protocol.to_owned()),
        ("quality of service", (settings.qos as u8).to_string()),
        ("messages at most", settings.count.to_string()),
        ("in a second", settings.rate.to_string()),
        ("bytes of a payload at least", settings.size.to_string()),
        ("time at most", time(settings.time)),
        ("cut every", time(cut_every)),
        ("kill every", time(kill_every)),
        ("outage", time(outage)),
        ("window", settings.config.delivery.window.to_string()),
        ("folder", settings.directory.display().to_string()),
    ]
}

/// Text that is no markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_markup() {
        assert_eq!(escaped("<script a=\"&\">"), "&lt;script a=&quot;&amp;&quot;&gt;");
    }
}
