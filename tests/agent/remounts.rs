//! A spool's disk that comes back as something else than what was left, while the machine stays up: nothing that was
//! accepted is lost at QoS 2, although the broker's session has moved on.

use crate::support::{Gateway, Judgement, Script, Scripted, Settings, SmallDisk, scale, seeded, wait_until};
use std::collections::BTreeSet;
use std::time::Duration;

const WINDOW: u16 = 20;

/// A device whose spool is on a disk of its own. Its broker takes a while to answer, so that the window is full, and takes
/// whatever has a packet identifier that it waits for to have released for what it has.
fn device() -> Option<(SmallDisk, Scripted, Gateway)> {
    let disk = SmallDisk::mount(32)?;
    let broker = Scripted::start(Script { acknowledge_after: Some(Duration::from_millis(10)), ..Script::default() });
    let settings = Settings { qos: 2, window: WINDOW, interval: "1ms", ..Settings::default() };
    let gateway = Gateway::new(&broker.url(), &settings);
    gateway.edit(&gateway.spool().display().to_string(), &disk.path().join("spool").display().to_string());
    Some((disk, broker, gateway))
}

/// Runs an agent for so many milliseconds from its connection on, and kills it.
fn run_for(gateway: &Gateway, milliseconds: u64) {
    let agent = gateway.launch();
    agent.wait_for_output("connected to");
    std::thread::sleep(Duration::from_millis(milliseconds));
    agent.kill();
}

#[test]
fn a_disk_that_was_pulled_out_and_mounted_again_loses_nothing() {
    let Some((disk, broker, gateway)) = device() else { return };
    let (mut random, cuts) = (seeded(), scale(2, 40));

    for _ in 0..cuts {
        // The first has a session noted on the medium by the second, which goes so far that the journal is flushed and
        // the notes are not. The next first one then comes to the packet identifiers that the broker still knows.
        run_for(&gateway, random.u64(1800..2000));
        run_for(&gateway, random.u64(1200..1400));
        // What the system holds and has not written back is gone.
        let left = disk.snapshot();
        disk.restore(&left);
    }

    let judgement = Judgement::of_the_scripted_rest(&gateway, &broker);
    println!("{cuts} cuts: {} duplicates", judgement.duplicates);
    assert!(judgement.seqs.len() > cuts * 10, "too few messages to prove anything");
}

#[test]
fn a_snapshot_that_is_restored_loses_nothing_that_is_accepted_then() {
    let Some((disk, broker, gateway)) = device() else { return };
    let mut random = seeded();

    for _ in 0..scale(3, 30) {
        run_for(&gateway, random.u64(100..200));
        rustix::fs::syncfs(std::fs::File::open(disk.path()).unwrap()).unwrap();
        let earlier = disk.snapshot();
        run_for(&gateway, random.u64(100..200));
        disk.restore(&earlier);
        let (said, arrived) = (gateway.accepted().len(), broker.arrivals().len());

        let agent = gateway.start();
        // As many as it takes to come to the packet identifiers that the broker still knows.
        wait_until("messages are accepted", || gateway.accepted().len() > said + 600);
        agent.stop();
        let accepted: BTreeSet<u64> = gateway.accepted()[said..].iter().cloned().flatten().collect();

        let agent = gateway.start();
        wait_until("all that was accepted has arrived", || {
            let arrivals = broker.arrivals();
            let seqs: BTreeSet<u64> = arrivals[arrived..].iter().map(|arrival| arrival.identity().1).collect();
            accepted.is_subset(&seqs)
        });
        agent.stop();
    }
}

#[test]
fn a_disk_that_was_unmounted_in_order_repeats_nothing() {
    let Some((disk, broker, gateway)) = device() else { return };
    let (mut random, rounds) = (seeded(), scale(4, 30));

    for _ in 0..rounds {
        run_for(&gateway, random.u64(100..300));
        disk.remount();
    }

    Judgement::of_the_scripted_rest(&gateway, &broker).assert_no_duplicates();
}
