//! Certificates of the test's own, good and bad.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const DAY: i64 = 24 * 3600;

/// Signs certificates. Its files go when it is dropped.
pub struct Authority {
    folder: TempDir,
    key: PKey<Private>,
    certificate: X509,
}

/// The files of a certificate and its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Self {
        Self::valid(-1, 30)
    }

    /// One that is valid from so many days from now until so many days from now.
    pub fn valid(from: i64, until: i64) -> Self {
        let key = key();
        // Each has a name of its own: where two had the same one, a stranger's signature would look damaged.
        let subject = format!("authority {:08x}", fastrand::u32(..));
        let mut builder = builder(&subject, &key, from, until);
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        builder.set_issuer_name(&name(&subject)).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        let certificate = builder.build();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), certificate.to_pem().unwrap()).unwrap();
        Self { folder, key, certificate }
    }

    /// The authority's own certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A certificate for these names and addresses, valid now.
    pub fn sign(&self, file: &str, names: &[&str]) -> Certificate {
        self.sign_for(file, names, -1, 30)
    }

    /// A certificate for one use alone, `serverAuth` or `clientAuth`.
    pub fn sign_for_use(&self, file: &str, names: &[&str], usage: &str) -> Certificate {
        self.issue(file, names, (-1, 30), Some(usage))
    }

    /// A certificate that is valid from so many days from now until so many days from now.
    pub fn sign_for(&self, file: &str, names: &[&str], from: i64, until: i64) -> Certificate {
        self.issue(file, names, (from, until), None)
    }

    fn issue(&self, file: &str, names: &[&str], (from, until): (i64, i64), usage: Option<&str>) -> Certificate {
        let key = key();
        let mut builder = builder(file, &key, from, until);
        builder.set_issuer_name(self.certificate.subject_name()).unwrap();
        if let Some(usage) = usage {
            builder.append_extension(ExtendedKeyUsage::new().other(usage).build().unwrap()).unwrap();
        }
        if !names.is_empty() {
            let mut alternatives = SubjectAlternativeName::new();
            for name in names {
                match name.parse::<std::net::IpAddr>() {
                    Ok(_) => alternatives.ip(name),
                    // Also an address may stand there as if it were a name.
                    Err(_) => alternatives.dns(name.trim_start_matches("dns:")),
                };
            }
            let extension = alternatives.build(&builder.x509v3_context(Some(&self.certificate), None)).unwrap();
            builder.append_extension(extension).unwrap();
        }
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        let files = Certificate {
            certificate: self.folder.path().join(format!("{file}.pem")),
            key: self.folder.path().join(format!("{file}.key")),
        };
        fs::write(&files.certificate, builder.build().to_pem().unwrap()).unwrap();
        fs::write(&files.key, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        files
    }
}

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn name(text: &str) -> openssl::x509::X509Name {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, text).unwrap();
    name.build()
}

fn builder(subject: &str, key: &PKey<Private>, from: i64, until: i64) -> X509Builder {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let time = |days: i64| Asn1Time::from_unix(now + days * DAY).unwrap();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(fastrand::u32(1..)).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name(subject)).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&time(from)).unwrap();
    builder.set_not_after(&time(until)).unwrap();
    builder
}
