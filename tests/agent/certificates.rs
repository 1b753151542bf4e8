//! Certificates and keys that do not fit: `check` finds them, and an attempt to connect names the files.

use crate::support::{Authority, Certificate, Gateway, Settings};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What is in a configuration's files, and what becomes of it.
struct Files {
    authority: Authority,
}

impl Files {
    /// A file of these pieces.
    fn join(&self, name: &str, pieces: &[&Path]) -> PathBuf {
        let path = self.authority.folder().join(name);
        fs::write(&path, pieces.iter().map(|piece| fs::read(piece).unwrap()).collect::<Vec<_>>().concat()).unwrap();
        path
    }

    fn gateway(&self, ca: &Path, certificate: &Path, key: Option<&Path>) -> Gateway {
        let key = key.map_or(String::new(), |key| format!(", key_file: {}", key.display()));
        let tls = format!("tls: {{ca_file: {}, cert_file: {}{key}}}", ca.display(), certificate.display());
        let gateway = Gateway::new("mqtts://localhost:1", &Settings::default());
        gateway.edit("keep_alive: 5s", &format!("keep_alive: 5s, {tls}"));
        gateway
    }
}

fn check(gateway: &Gateway) -> (Option<i32>, String) {
    let check =
        Command::new(env!("CARGO_BIN_EXE_packhorse")).arg("check").arg("--config").arg(gateway.config()).output();
    let Output { status, stderr, .. } = check.unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn what_does_not_fit_is_a_problem_and_no_connection_is_tried_with_it() {
    let files = Files { authority: Authority::new() };
    let authority = &files.authority;
    let (ca, [one, other]) = (authority.file(), ["one", "other"].map(|name| authority.sign(name, &[])));
    let wrong_order = files.join("wrong-order.pem", &[&ca, &one.certificate]);
    let both = files.join("both.pem", &[&other.key, &one.certificate]);
    let broken = files.authority.folder().join("broken.pem");
    fs::write(&broken, "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n").unwrap();
    let broken_key = files.authority.folder().join("broken.key");
    fs::write(&broken_key, "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n").unwrap();
    let shown = |path: &Path| format!("`{}`", path.display());
    for (ca_file, certificate, key, words) in [
        (
            &ca,
            &one.certificate,
            Some(&other.key),
            vec![shown(&other.key), "is not that of the certificate in".to_owned(), shown(&one.certificate)],
        ),
        (&ca, &both, None, vec!["is not that of the certificate in".to_owned(), shown(&both)]),
        (
            &ca,
            &wrong_order,
            Some(&one.key),
            vec![shown(&wrong_order), "in the wrong order".to_owned(), shown(&one.key), "is number 2".to_owned()],
        ),
        (&ca, &broken, Some(&one.key), vec![shown(&broken), "number 1 cannot be read".to_owned()]),
        (&ca, &one.certificate, Some(&broken_key), vec![shown(&broken_key), "cannot be read".to_owned()]),
        (&broken, &one.certificate, Some(&one.key), vec!["tls.ca_file".to_owned(), shown(&broken)]),
    ] {
        let gateway = files.gateway(ca_file, certificate, key.map(PathBuf::as_path));

        let (code, found) = check(&gateway);
        let agent = gateway.start();
        agent.wait_for_output("asking again in");
        let output = agent.output();
        assert_eq!(agent.stop().code(), Some(0));

        assert_eq!(code, Some(78), "{found}");
        assert!(output.contains("no connection to mqtts://localhost:1: broker.tls."), "{output}");
        for word in words {
            assert!(found.contains(&word) && output.contains(&word), "{word}: {found}{output}");
        }
    }
}

#[test]
fn what_works_and_is_odd_is_a_warning() {
    let files = Files { authority: Authority::new() };
    let authority = &files.authority;
    let Certificate { certificate, key } = authority.sign("one", &[]);
    let expired = authority.sign_for("old", &[], -9, -2);
    let future = authority.sign_for("new", &[], 2, 9);
    let server = authority.sign_for_use("server", &[], "serverAuth");
    let client = authority.sign_for_use("client", &[], "clientAuth");
    let chain = files.join("chain.pem", &[&certificate, &authority.file()]);
    let disorder = files.join("disorder.pem", &[&certificate, &authority.sign("two", &[]).certificate]);
    for (certificate, key, warning) in [
        (&certificate, &key, ""),
        (&chain, &key, ""),
        (&disorder, &key, "in the wrong order"),
        (&expired.certificate, &expired.key, "has expired on 20"),
        (&future.certificate, &future.key, "is not valid before 20"),
        (&server.certificate, &server.key, "is not for clients"),
        (&client.certificate, &client.key, ""),
    ] {
        let (code, found) = check(&files.gateway(&authority.file(), certificate, Some(key)));

        let odd = ["in the wrong order", "has expired", "is not valid before", "is not for clients"];
        let odd = odd.iter().any(|words| found.contains(words));
        assert_eq!((code, odd), (Some(0), !warning.is_empty()), "{found}");
        assert!(found.contains(warning), "{found}");
    }
}

#[test]
fn an_authority_out_of_its_time_is_a_warning_with_its_file_and_the_time() {
    for (from, until, words) in [(-9, -2, "has expired on 20"), (2, 9, "is not valid before 20")] {
        let files = Files { authority: Authority::valid(from, until) };
        let good = Authority::new();
        let Certificate { certificate, key } = good.sign("one", &[]);
        let both = files.join("both.pem", &[&good.file(), &files.authority.file()]);
        for (ca, number) in [(files.authority.file(), ""), (both, " number 2")] {
            let (code, found) = check(&files.gateway(&ca, &certificate, Some(&key)));

            assert_eq!(code, Some(0), "{found}");
            let warning = format!("ca_file: warning: the certificate{number} in `{}` {words}", ca.display());
            assert!(found.contains(&warning) && found.contains("clock"), "{found}");
        }
    }
}
