//! The session as the library sees it through its store, and as the publisher asks it.

use super::*;
use crossbeam_channel::{Receiver, unbounded};
use paho_mqtt::ClientPersistence;
use tempfile::TempDir;

const NAME: u32 = 7;
const MESSAGE: Publish = Publish::Message(Seq(1));
const OTHER: Publish = Publish::Message(Seq(2));

/// A session with the connection that it has at present.
struct Fixture {
    session: Session,
    store: Store,
    news: Receiver<News>,
    _folder: TempDir,
}

impl Fixture {
    /// A session that the broker has just begun.
    fn established() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let session = Session::new(Exchanges::of_session(folder.path(), NAME), Protocol::V5);
        let (store, news) = connection(&session);
        session.establish();
        Self { session, store, news, _folder: folder }
    }

    /// Begins the next connection, which resumes what is asked for; how, and the packets that the library finds.
    fn connect(&mut self, resumes: impl Fn(Publish) -> bool) -> (Beginning, Vec<String>) {
        let beginning = self.session.prepare(NAME, |seq, _| Some(outgoing(seq)), resumes);
        (self.store, self.news) = store(&self.session);
        let mut keys = self.store.keys().unwrap();
        keys.sort();
        self.session.client_is_made();
        (beginning, keys)
    }

    /// Hands something to the library.
    fn expect(&self, what: Publish, qos: Qos) {
        let payload = Expected::sum(payload(what).as_bytes());
        self.session.expect(Expected { what, qos, dated: true, payload });
    }

    /// Hands something to the library, which sends it under this packet identifier.
    fn publish(&mut self, id: u16, what: Publish, qos: Qos) {
        self.expect(what, qos);
        self.put(id, what, qos, 0);
    }

    /// The library sends a PUBLISH.
    fn put(&mut self, id: u16, what: Publish, qos: Qos, flags: u8) {
        let head = [0x30 | (qos as u8) << 1 | flags];
        let payload = payload(what);
        self.store.put(&format!("s5-{id}"), vec![&head, b"\0\x01", b"t", payload.as_bytes()]).unwrap();
    }

    fn put_pubrel(&mut self, id: u16) {
        self.store.put(&format!("sc5-{id}"), vec![&[0x62]]).unwrap();
    }

    /// The library removes all keys of a packet identifier.
    fn finish(&mut self, id: u16) {
        for stem in ["s5", "sc5", "s", "sc"] {
            self.store.remove(&format!("{stem}-{id}")).unwrap();
        }
    }

    fn is_free(&mut self, id: u16) -> bool {
        // The crate's answers are the wrong way round.
        self.store.contains_key(&format!("s5-{id}"))
    }

    fn news(&self) -> Vec<News> {
        self.news.try_iter().collect()
    }

    fn under_way(&self) -> Vec<(Publish, bool)> {
        self.session.under_way().into_iter().map(|UnderWay { what, confirmed }| (what, confirmed)).collect()
    }

    /// Asserts that the session is given up, once, and that the next connection begins a new one.
    fn assert_invalid(&mut self) {
        assert!(matches!(self.news()[..], [News::Invalid(_)]));
        assert_eq!(self.connect(|_| true), (Beginning::New, vec![]));
        assert_eq!(self.under_way(), []);
    }
}

fn payload(what: Publish) -> String {
    format!("{what:?}")
}

fn outgoing(seq: Seq) -> Outgoing {
    Outgoing {
        topic: "t".to_owned(),
        payload: payload(Publish::Message(seq)).into_bytes(),
        qos: Qos::ExactlyOnce,
        retain: false,
        content_type: "text/plain",
        expiry: None,
        user_properties: vec![],
        dated: true,
    }
}

fn store(session: &Session) -> (Store, Receiver<News>) {
    let (sender, news) = unbounded();
    (session.store(move |told| sender.send(told).unwrap()), news)
}

fn connection(session: &Session) -> (Store, Receiver<News>) {
    session.prepare(NAME, |_, _| None, |_| true);
    session.client_is_made();
    store(session)
}

#[test]
fn what_is_in_flight_at_qos_1_is_resumed_under_its_packet_identifier() {
    for what in [Publish::Status, Publish::Bypass(Seq(1)), MESSAGE] {
        let mut fixture = Fixture::established();
        fixture.publish(3, what, Qos::AtLeastOnce);

        assert_eq!(fixture.connect(|_| true), (Beginning::Resume, vec!["s5-3".to_owned()]));
        let packet = fixture.store.get("s5-3").unwrap();
        let under_way = fixture.under_way();
        fixture.finish(3);

        assert_eq!(packet, [&[0x32][..], b"\0\x01t", payload(what).as_bytes()].concat());
        assert_eq!(under_way, [(what, false)]);
        assert_eq!((fixture.news(), fixture.under_way()), (vec![News::Completed(what)], vec![]));
    }
}

#[test]
fn what_is_acknowledged_at_qos_1_is_not_resumed() {
    let mut fixture = Fixture::established();
    fixture.publish(3, Publish::Status, Qos::AtLeastOnce);

    fixture.finish(3);

    assert_eq!((fixture.news(), fixture.under_way(), fixture.is_free(3)), (vec![], vec![], true));
    assert_eq!(fixture.connect(|_| true), (Beginning::Resume, vec![]));
}

#[test]
fn both_qualities_of_service_are_resumed_and_only_qos_2_can_be_confirmed() {
    let mut fixture = Fixture::established();
    fixture.publish(1, MESSAGE, Qos::ExactlyOnce);
    fixture.publish(2, Publish::Status, Qos::AtLeastOnce);
    fixture.publish(3, OTHER, Qos::ExactlyOnce);
    fixture.put_pubrel(3);

    let (_, keys) = fixture.connect(|_| true);

    assert_eq!(keys, ["s5-1", "s5-2", "s5-3"]);
    assert_eq!(fixture.under_way(), [(MESSAGE, false), (OTHER, true), (Publish::Status, false)]);
    assert_eq!([MESSAGE, OTHER].map(|what| fixture.under_way().contains(&(what, true))), [false, true]);
    // What was confirmed is resumed by its PUBREL.
    assert_eq!([1, 2, 3].map(|id| !fixture.store.contains_key(&format!("sc5-{id}"))), [false, false, true]);
}

#[test]
fn what_is_left_out_stays_under_way_and_keeps_its_packet_identifier() {
    for (what, qos) in [(MESSAGE, Qos::ExactlyOnce), (MESSAGE, Qos::AtLeastOnce), (Publish::Status, Qos::AtLeastOnce)] {
        let mut fixture = Fixture::established();
        fixture.publish(3, what, qos);

        assert_eq!(fixture.connect(|_| false), (Beginning::Resume, vec![]));
        assert_eq!((fixture.under_way(), fixture.is_free(3)), (vec![(what, false)], false));

        assert_eq!(fixture.connect(|_| true).1, ["s5-3"]);
    }
}

#[test]
fn a_session_that_ended_or_was_forgotten_holds_nothing() {
    let ends: [fn(&Fixture); 2] = [|fixture| assert!(fixture.session.establish()), |fixture| fixture.session.forget()];
    for end in ends {
        let mut fixture = Fixture::established();
        fixture.publish(1, MESSAGE, Qos::ExactlyOnce);
        fixture.publish(2, Publish::Status, Qos::AtLeastOnce);

        end(&fixture);

        assert_eq!(fixture.under_way(), []);
        assert_eq!([1, 2].map(|id| fixture.is_free(id)), [true, true]);
    }
}

#[test]
fn what_was_ended_or_abandoned_is_not_under_way_any_more() {
    let ends: [fn(&Session, Publish); 2] = [Session::end, Session::abandon];
    for end in ends {
        let mut fixture = Fixture::established();
        fixture.publish(1, MESSAGE, Qos::ExactlyOnce);
        fixture.publish(2, Publish::Status, Qos::AtLeastOnce);

        end(&fixture.session, MESSAGE);
        end(&fixture.session, Publish::Status);

        assert_eq!(fixture.under_way(), []);
    }
}

#[test]
fn an_exchange_that_is_ended_and_forgotten_is_followed_by_a_new_session() {
    let mut fixture = Fixture::established();
    fixture.publish(1, MESSAGE, Qos::ExactlyOnce);
    fixture.put_pubrel(1);

    fixture.session.end(MESSAGE);
    fixture.session.forget();

    assert_eq!(fixture.connect(|_| true), (Beginning::New, vec![]));
}

#[test]
fn what_is_under_way_elsewhere_waits_until_the_other_broker_has_answered() {
    let mut fixture = Fixture::established();
    fixture.publish(1, MESSAGE, Qos::ExactlyOnce);
    fixture.publish(2, Publish::Status, Qos::AtLeastOnce);
    let elsewhere = |fixture: &Fixture| fixture.session.prepare(NAME + 1, |seq, _| Some(outgoing(seq)), |_| true);

    assert_eq!(elsewhere(&fixture), Beginning::New);
    assert_eq!(fixture.under_way().len(), 2);
    assert_eq!(fixture.connect(|_| true), (Beginning::Resume, vec!["s5-1".to_owned(), "s5-2".to_owned()]));

    elsewhere(&fixture);
    fixture.session.establish();
    assert_eq!(fixture.under_way(), []);
}

#[test]
fn another_packet_than_expected_invalidates_the_session() {
    let sends: [fn(&mut Fixture); 4] = [
        // One that was not given, one of another QoS, another message, and one of two out of order.
        |fixture| fixture.put(1, MESSAGE, Qos::ExactlyOnce, 0),
        |fixture| {
            fixture.expect(MESSAGE, Qos::ExactlyOnce);
            fixture.put(1, MESSAGE, Qos::AtLeastOnce, 0);
        },
        |fixture| {
            fixture.expect(MESSAGE, Qos::ExactlyOnce);
            fixture.put(1, OTHER, Qos::ExactlyOnce, 0);
        },
        |fixture| {
            fixture.expect(MESSAGE, Qos::AtLeastOnce);
            fixture.expect(OTHER, Qos::AtLeastOnce);
            fixture.put(1, OTHER, Qos::AtLeastOnce, 0);
        },
    ];
    for send in sends {
        let mut fixture = Fixture::established();

        send(&mut fixture);

        fixture.assert_invalid();
    }
}

#[test]
fn a_packet_identifier_that_is_under_way_must_not_be_used_for_another_message() {
    for (qos, other_qos) in [
        (Qos::ExactlyOnce, Qos::ExactlyOnce),
        (Qos::ExactlyOnce, Qos::AtLeastOnce),
        (Qos::AtLeastOnce, Qos::ExactlyOnce),
        (Qos::AtLeastOnce, Qos::AtLeastOnce),
    ] {
        for reconnects in [false, true] {
            let mut fixture = Fixture::established();
            fixture.publish(1, MESSAGE, qos);
            if reconnects {
                fixture.connect(|_| false);
            }

            fixture.publish(1, OTHER, other_qos);

            fixture.assert_invalid();
        }
    }
}

#[test]
fn what_the_library_repeats_acknowledges_or_finishes_must_be_under_way() {
    let acts: [fn(&mut Fixture); 4] = [
        |fixture| fixture.put(1, MESSAGE, Qos::ExactlyOnce, 1 << 3),
        |fixture| fixture.put_pubrel(1),
        |fixture| {
            fixture.publish(1, MESSAGE, Qos::AtLeastOnce);
            fixture.put_pubrel(1);
        },
        |fixture| fixture.finish(1),
    ];
    for act in acts {
        let mut fixture = Fixture::established();

        act(&mut fixture);

        fixture.assert_invalid();
    }
}

#[test]
fn an_exchange_in_order_leaves_the_session_valid() {
    let mut fixture = Fixture::established();
    for id in [1, 2, 1] {
        fixture.publish(id, MESSAGE, Qos::ExactlyOnce);
        fixture.put_pubrel(id);
        fixture.finish(id);
        fixture.session.end(MESSAGE);
    }
    fixture.publish(2, MESSAGE, Qos::ExactlyOnce);

    fixture.connect(|_| true);
    fixture.put(2, MESSAGE, Qos::ExactlyOnce, 1 << 3);
    fixture.put_pubrel(2);
    fixture.finish(2);

    assert_eq!(fixture.news(), [News::Completed(MESSAGE)]);
}

#[test]
fn the_store_of_a_former_connection_does_nothing() {
    let mut fixture = Fixture::established();
    fixture.publish(1, Publish::Status, Qos::AtLeastOnce);
    let (mut former, news) = store(&fixture.session);
    fixture.connect(|_| true);

    assert!(former.put("s5-2", vec![&[0x32]]).is_err() && former.remove("s5-1").is_err());
    assert!(former.keys().is_err() && former.get("s5-1").is_err() && former.clear().is_err());

    assert_eq!(news.try_iter().count(), 0);
    assert_eq!(fixture.under_way(), [(Publish::Status, false)]);
    fixture.finish(1);
    assert_eq!(fixture.news(), [News::Completed(Publish::Status)]);
}
