//! Files in PEM (RFC 7468): whether they hold what they should. What is in a block is for the TLS library to read.

use crate::named;
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
    let labels: Vec<&[u8]> = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.trim_ascii().strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----"))
        .collect();
    let certificate = labels.iter().any(|label| label.ends_with(b"CERTIFICATE"));
    let key = labels.iter().find(|label| label.ends_with(b"PRIVATE KEY"));
    if matches!(content, Content::Certificates | Content::Both) && !certificate {
        return Err("holds no certificate in PEM, which begins with `-----BEGIN CERTIFICATE-----`".to_owned());
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
            return Err("holds no private key in PEM, which begins with `-----BEGIN PRIVATE KEY-----`".to_owned());
        }
    }
    Ok(())
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
    fn what_is_missing_is_named() {
        assert!(check(KEY, Content::Certificates).unwrap_err().contains("no certificate"));
        assert!(check(CERTIFICATE, Content::Key).unwrap_err().contains("no private key"));
        assert!(check(CERTIFICATE, Content::Both).unwrap_err().contains("no private key"));
        assert!(check("\u{0}DER", Content::Certificates).unwrap_err().contains("no certificate"));
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
