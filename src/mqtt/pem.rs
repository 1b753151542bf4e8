//! Files in PEM (RFC 7468): whether they hold what they should, and whether a certificate and a key belong together.

use crate::clock::rfc3339;
use crate::foreign;
use crate::named;
use paho_mqtt_sys::certificate::{self, Fault};
use std::path::Path;

/// Bytes of a file. The authorities of a distribution, all in one, have a fifth of this.
const SIZE_MAX: usize = 1024 * 1024;

/// What a file must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Certificates,
    Key,
    /// A certificate and its key.
    Both,
}

/// Looks whether a file holds what it should.
///
/// # Errors
/// The rest of a sentence that begins with the file's name. It never repeats what the file holds.
pub fn check(path: &Path, content: Content) -> Result<(), String> {
    let bytes = named::read(path, SIZE_MAX).map_err(|error| error.to_string())?;
    check_bytes(&bytes, content)
}

fn check_bytes(bytes: &[u8], content: Content) -> Result<(), String> {
    let text = named::text(bytes).map_err(|error| error.to_string())?;
    if let Some(why) = misshapen(bytes) {
        return Err(why.to_owned());
    }
    // OpenSSL reads the file itself, and passes over a first line that begins with a mark.
    if named::begins_with_mark(bytes) && text.starts_with(b"-----BEGIN ") {
        return Err(
            "begins with a byte order mark, which TLS does not take; save it in UTF-8 without one (\"BOM\")".to_owned()
        );
    }
    let labels: Vec<&[u8]> = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.trim_ascii().strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----"))
        .collect();
    let certificate = labels.iter().any(|label| label.ends_with(b"CERTIFICATE"));
    let key = labels.iter().find(|label| label.ends_with(b"PRIVATE KEY"));
    if matches!(content, Content::Certificates | Content::Both) && !certificate {
        return Err(format!("holds no certificate in PEM; {}", instead(bytes, &labels)));
    }
    if matches!(content, Content::Key | Content::Both) {
        // PKCS #8 says it in the label, older formats in a line below it.
        let encrypted = |label: &&[u8]| label.starts_with(b"ENCRYPTED");
        let old = bytes.windows(b"Proc-Type: 4,ENCRYPTED".len()).any(|window| window == b"Proc-Type: 4,ENCRYPTED");
        if key.is_some_and(encrypted) || old {
            return Err("holds a key that is encrypted, and nobody is there to type its password; \
                        `openssl pkey -in FILE -out NEW` writes it in the clear"
                .to_owned());
        }
        if key.is_none() {
            return Err(format!("holds no private key in PEM; {}", instead(bytes, &labels)));
        }
    }
    Ok(())
}

/// What is wrong with the lines of a file that has PEM in it, which TLS takes for no PEM.
fn misshapen(bytes: &[u8]) -> Option<&'static str> {
    let lines = || bytes.split(|byte| *byte == b'\n');
    let begins = |line: &&[u8]| line.trim_ascii_start().starts_with(b"-----BEGIN ");
    if lines().any(|line| begins(&line) && line.starts_with(b" ") || line.starts_with(b"\t") && begins(&line)) {
        return Some("is indented, which TLS does not take; delete the spaces before every line");
    }
    let goes_on =
        |line: &[u8]| !line.trim_ascii_end().ends_with(b"-----") || line.windows(9).any(|part| part == b"-----END ");
    if lines().any(|line| begins(&line) && goes_on(line)) {
        return Some(
            "has its lines joined into one, which TLS does not take; end the line behind the words between dashes, and \
             after every 64 characters",
        );
    }
    None
}

/// What a file holds instead of what it should, and how to get that. It never has the beginning of a PEM block in it, which
/// the log takes for a secret.
fn instead(bytes: &[u8], labels: &[&[u8]]) -> &'static str {
    let has = |end: &[u8]| labels.iter().any(|label| label.ends_with(end));
    match bytes {
        _ if has(b"OPENSSH PRIVATE KEY") => "it holds a key of SSH, which TLS cannot use",
        _ if has(b"PRIVATE KEY") => "it holds a private key alone",
        _ if has(b"CERTIFICATE REQUEST") => "it holds a request for one, which an authority has to sign",
        _ if has(b"PUBLIC KEY") => "it holds a public key alone",
        _ if has(b"CERTIFICATE") => "it holds certificates alone",
        _ if has(b"PKCS7") => "it holds PKCS #7; `openssl pkcs7 -print_certs -in FILE -out NEW` converts that",
        // SEQUENCE { INTEGER 3, ... }: RFC 7292, section 4.
        [0x30, 0x82, _, _, 2, 1, 3, ..] => "it holds PKCS #12; `openssl pkcs12 -nodes -in FILE -out NEW` converts that",
        // SEQUENCE { SEQUENCE { ... }, ... }: RFC 5280, section 4.1.
        [0x30, 0x82, _, _, 0x30, ..] => {
            "it looks like a certificate in DER; `openssl x509 -inform der -in FILE -out NEW` converts that"
        }
        // SEQUENCE { INTEGER, ... }: RFC 5958, section 2, and RFC 8017, appendix A.1.2.
        [0x30, 0x81 | 0x82, _, _, 2, ..] | [0x30, 0x81, _, 2, ..] | [0x30, _, 2, 1, ..] => {
            "it looks like a key in DER; `openssl pkey -inform der -in FILE -out NEW` converts that"
        }
        [] => "it is empty",
        _ => "such a file is text, with a line that says BEGIN between dashes",
    }
}

/// What is wrong with files that hold what they should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// TLS does not work with them.
    Useless(String),
    /// They work, but are probably not meant.
    Odd(String),
}

/// Looks whether TLS can use the certificates of authorities.
///
/// # Errors
/// A sentence that names the file.
pub fn check_authorities(file: &Path) -> Result<(), Unfit> {
    let bytes = read(file).map_err(Unfit::Useless)?;
    certificate::check(&bytes, None).map_err(|fault| words(&fault, file, file))
}

/// Looks whether a certificate and a key belong together; both may be in one file.
///
/// # Errors
/// A sentence that names the files.
pub fn check_pair(certificates: &Path, key: &Path) -> Result<(), Unfit> {
    let bytes = [certificates, key].map(read);
    let [Ok(certificate_bytes), Ok(key_bytes)] = &bytes else {
        return Err(Unfit::Useless(bytes.into_iter().find_map(Result::err).unwrap_or_default()));
    };
    certificate::check(certificate_bytes, Some(key_bytes)).map_err(|fault| words(&fault, certificates, key))
}

fn read(file: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    named::read(file, SIZE_MAX).map_err(|error| format!("`{}` {error}", foreign::path(file)))
}

fn words(fault: &Fault, certificates: &Path, key: &Path) -> Unfit {
    let [certificates, key] = [certificates, key].map(foreign::path);
    Unfit::Useless(match fault {
        Fault::Unreadable(number, why) => {
            format!("`{certificates}`: its certificate number {number} cannot be read ({why})")
        }
        Fault::KeyUnreadable(why) => format!("`{key}`: its private key cannot be read ({why})"),
        Fault::OtherKey => format!("the private key in `{key}` is not that of the certificate in `{certificates}`"),
        Fault::NotFirst(number) => format!(
            "`{certificates}` has its certificates in the wrong order: that of the key in `{key}` must be the first one, \
             and is number {number}"
        ),
        Fault::Refused(why) => {
            format!("TLS does not take the certificate in `{certificates}` and the key in `{key}` ({why})")
        }
        Fault::Disorder(number) => {
            return Unfit::Odd(format!(
                "`{certificates}` has its certificates in the wrong order: each must be followed by that of its issuer, \
                 and number {number} is of another one"
            ));
        }
        Fault::Expired(number, when) => {
            let which = numbered(*number, &certificates);
            return Unfit::Odd(format!(
                "{which} has expired on {when}, unless this device's clock is wrong: {}",
                time()
            ));
        }
        Fault::NotYetValid(number, when) => {
            let which = numbered(*number, &certificates);
            return Unfit::Odd(format!(
                "{which} is not valid before {when}; this device's clock is probably wrong: {}",
                time()
            ));
        }
        Fault::NotForClients => {
            return Unfit::Odd(format!(
                "the certificate in `{certificates}` is not for clients, and brokers refuse it; its extendedKeyUsage must \
                 have clientAuth"
            ));
        }
    })
}

fn numbered(number: usize, file: &str) -> String {
    let which = if number > 1 { format!(" number {number}") } else { String::new() };
    format!("the certificate{which} in `{file}`")
}

/// What this device's clock says.
fn time() -> String {
    rfc3339(chrono::Utc::now().timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "text before\r\n-----BEGIN CERTIFICATE-----\r\nMA==\r\n-----END CERTIFICATE-----\r\n";
    const KEY: &str = "-----BEGIN EC PRIVATE KEY-----\nMA==\n-----END EC PRIVATE KEY-----\n";

    fn check(text: &str, content: Content) -> Result<(), String> {
        check_bytes(text.as_bytes(), content)
    }

    #[test]
    fn what_should_be_there_is_found() {
        assert_eq!(check(CERTIFICATE, Content::Certificates), Ok(()));
        assert_eq!(check(KEY, Content::Key), Ok(()));
        assert_eq!(check(&format!("{KEY}{CERTIFICATE}"), Content::Both), Ok(()));
    }

    #[test]
    fn what_openssl_would_pass_over_is_named() {
        for text in [format!("\u{FEFF}{CERTIFICATE}"), format!("\u{FEFF}{KEY}")] {
            let content = if text.contains("KEY") { Content::Key } else { Content::Certificates };
            let (text, begins) = (text.replace("text before\r\n", ""), "begins with a byte order mark");
            assert!(check(&text, content).unwrap_err().starts_with(begins), "{text}");
        }
        // It is in a line that does not matter.
        assert_eq!(check(&format!("\u{FEFF}{CERTIFICATE}"), Content::Certificates), Ok(()));
        let wide: Vec<u8> = CERTIFICATE.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(check_bytes(&wide, Content::Certificates).unwrap_err().starts_with("is in UTF-16"));
    }

    #[test]
    fn lines_that_tls_does_not_take_are_named() {
        let indented = |text: &str, by: &str| text.lines().map(|line| format!("{by}{line}\n")).collect::<String>();
        for (text, content) in [(&CERTIFICATE[13..], Content::Certificates), (KEY, Content::Key)] {
            for by in ["  ", "\t"] {
                let why = check(&indented(text, by), content).unwrap_err();
                assert!(why.starts_with("is indented"), "{why}");
                assert_eq!(foreign::hide(&why), why);
            }
            for joined in [
                text.replace(['\r', '\n'], ""),
                text.replace("\r\n", " ").replace('\n', " "),
                text.replace('\n', "\\n"),
            ] {
                let why = check(&joined, content).unwrap_err();
                assert!(why.starts_with("has its lines joined into one"), "{joined}: {why}");
            }
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(check(KEY, Content::Certificates).unwrap_err().contains("no certificate"));
        assert!(check(CERTIFICATE, Content::Key).unwrap_err().contains("no private key"));
        assert!(check(CERTIFICATE, Content::Both).unwrap_err().contains("no private key"));
        assert!(check("\u{0}DER", Content::Certificates).unwrap_err().contains("no certificate"));
    }

    #[test]
    fn what_is_there_instead_is_named_and_the_log_shows_it() {
        let der = |head: &[u8]| [head, &[0; 600]].concat();
        let label = |label: &str| format!("-----BEGIN {label}-----\nMA==\n-----END {label}-----\n").into_bytes();
        for (bytes, words) in [
            (der(&[0x30, 0x82, 2, 0x58, 0x30, 0x82, 1, 0]), "a certificate in DER"),
            (der(&[0x30, 0x82, 2, 0x58, 2, 1, 3]), "PKCS #12"),
            (der(&[0x30, 0x82, 2, 0x58, 2, 1, 0]), "a key in DER"),
            (der(&[0x30, 0x77, 2, 1, 1]), "a key in DER"),
            (label("RSA PRIVATE KEY"), "a private key alone"),
            (label("OPENSSH PRIVATE KEY"), "a key of SSH"),
            (label("CERTIFICATE REQUEST"), "an authority has to sign"),
            (label("PUBLIC KEY"), "a public key alone"),
            (label("PKCS7"), "PKCS #7"),
            (Vec::new(), "it is empty"),
            (b"hello".to_vec(), "such a file is text"),
        ] {
            let why = check_bytes(&bytes, Content::Certificates).unwrap_err();

            assert!(why.contains(words), "{words}: {why}");
            assert_eq!(foreign::hide(&why), why);
        }
        let why = check(CERTIFICATE, Content::Key).unwrap_err();
        assert!(why.ends_with("it holds certificates alone"), "{why}");
    }

    #[test]
    fn an_encrypted_key_is_refused() {
        for text in [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMA==\n",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMA==\n",
        ] {
            assert!(check(text, Content::Key).unwrap_err().contains("encrypted"), "{text}");
        }
    }
}
