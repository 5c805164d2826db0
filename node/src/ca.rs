//! A private certificate authority: who holds a certificate of it is of the cluster, and the certificate says as whom.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ordu_transport::core::NodeName;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// The CA's certificate.
pub const CA_CERTIFICATE: &str = "ca.pem";
/// The CA's key; it stays where it was made.
pub const CA_KEY: &str = "ca.key";
/// A node's certificate.
pub const NODE_CERTIFICATE: &str = "node.pem";
/// A node's key.
pub const NODE_KEY: &str = "node.key";
/// Certificates are valid from a day ago, for clocks that are behind, and for about this many years.
const VALID_YEARS: i32 = 10;

/// Why a certificate authority could not be made or used. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// There is one already.
    #[error("{0} exists already; it is left as it is")]
    Exists(PathBuf),
    /// The directory holds none.
    #[error("there is no CA in {0}; `ordu ca init {0}` makes one")]
    Missing(PathBuf),
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// A file does not hold what its name says.
    #[error("{0} does not hold what it should: {1}")]
    Content(PathBuf, String),
    /// A name that no node can have.
    #[error("{0:?} cannot be a node's name: {1}")]
    Name(String, ordu_transport::core::InvalidName),
    /// A certificate cannot be made.
    #[error("the certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// Makes a CA: `directory/ca.pem` and `directory/ca.key`.
pub fn init(directory: &Path) -> Result<(), CaError> {
    let (certificate, key) = (directory.join(CA_CERTIFICATE), directory.join(CA_KEY));
    if let Some(exists) = [&certificate, &key].into_iter().find(|path| path.exists()) {
        return Err(CaError::Exists(exists.clone()));
    }
    let mut params = params("Ordu private CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let pair = KeyPair::generate()?;
    let made = params.self_signed(&pair)?;
    make_directory(directory)?;
    // The key first: a CA without its key would look whole.
    write_new(&key, pair.serialize_pem().as_bytes(), 0o600)?;
    write_new(&certificate, made.pem().as_bytes(), 0o644)
}

/// Issues a node's certificate: `directory/NAME/{ca.pem,node.pem,node.key}`, all or nothing. Returns that directory.
pub fn issue(directory: &Path, name: &str) -> Result<PathBuf, CaError> {
    NodeName::new(name).map_err(|error| CaError::Name(name.to_owned(), error))?;
    let target = directory.join(name);
    if target.exists() {
        return Err(CaError::Exists(target));
    }
    let certificate_file = directory.join(CA_CERTIFICATE);
    if !certificate_file.exists() {
        return Err(CaError::Missing(directory.to_owned()));
    }
    let ca_pem = read(&certificate_file)?;
    let key_file = directory.join(CA_KEY);
    let ca_pair =
        KeyPair::from_pem(&read(&key_file)?).map_err(|error| CaError::Content(key_file, error.to_string()))?;
    let issuer = Issuer::from_ca_cert_pem(&ca_pem, ca_pair)
        .map_err(|error| CaError::Content(certificate_file, error.to_string()))?;
    let mut params = params(name);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let pair = KeyPair::generate()?;
    let made = params.signed_by(&pair, &issuer)?;

    let draft = tempfile::Builder::new().prefix(".issue-").tempdir_in(directory);
    let draft = draft.map_err(|error| CaError::File(directory.to_owned(), error))?;
    write_new(&draft.path().join(CA_CERTIFICATE), ca_pem.as_bytes(), 0o644)?;
    write_new(&draft.path().join(NODE_CERTIFICATE), made.pem().as_bytes(), 0o644)?;
    write_new(&draft.path().join(NODE_KEY), pair.serialize_pem().as_bytes(), 0o600)?;
    // A rename onto a directory that somebody made meanwhile fails unless that is empty.
    fs::rename(draft.path(), &target).map_err(|error| CaError::File(target.clone(), error))?;
    let _ = draft.keep();
    Ok(target)
}

/// The node name in a PEM certificate: its subject's common name.
pub fn subject(certificate: &Path) -> Result<String, CaError> {
    let content = |what: String| CaError::Content(certificate.to_owned(), what);
    let text = read(certificate)?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes()).map_err(|error| content(error.to_string()))?;
    let parsed = pem.parse_x509().map_err(|error| content(error.to_string()))?;
    let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).map(str::to_owned);
    name.ok_or_else(|| content("its subject has no common name".into()))
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let today = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).date();
    let date = |date: jiff::civil::Date| {
        let (month, day) = (u8::try_from(date.month()).unwrap_or(1), u8::try_from(date.day()).unwrap_or(1));
        rcgen::date_time_ymd(i32::from(date.year()), month, day)
    };
    params.not_before = date(today.yesterday().unwrap_or(today));
    params.not_after = date(today.saturating_add(jiff::Span::new().years(VALID_YEARS)));
    params
}

fn make_directory(path: &Path) -> Result<(), CaError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| CaError::File(path.to_owned(), error))
}

fn read(path: &Path) -> Result<String, CaError> {
    fs::read_to_string(path).map_err(|error| CaError::File(path.to_owned(), error))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CaError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => CaError::Exists(path.to_owned()),
        _ => CaError::File(path.to_owned(), error),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_ca_issues_certificates_with_the_nodes_name() {
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca");
        init(&ca).unwrap();
        let issued = issue(&ca, "n1").unwrap();
        assert_eq!(issued, ca.join("n1"));
        assert_eq!(subject(&issued.join(NODE_CERTIFICATE)).unwrap(), "n1");
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(ca.join(CA_KEY)), 0o600);
        assert_eq!(mode(issued.join(NODE_KEY)), 0o600);
        assert_eq!(fs::read(ca.join(CA_CERTIFICATE)).unwrap(), fs::read(issued.join(CA_CERTIFICATE)).unwrap());
        let mut names: Vec<_> = fs::read_dir(&ca).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["ca.key", "ca.pem", "n1"], "no draft is left");
    }

    #[test]
    fn an_issued_certificate_is_signed_by_its_ca() {
        let directory = tempfile::tempdir().unwrap();
        init(directory.path()).unwrap();
        let issued = issue(directory.path(), "a.b:c_d-1").unwrap();
        let (ca, node) = (read(&issued.join(CA_CERTIFICATE)).unwrap(), read(&issued.join(NODE_CERTIFICATE)).unwrap());
        let (_, ca) = x509_parser::pem::parse_x509_pem(ca.as_bytes()).unwrap();
        let (_, node) = x509_parser::pem::parse_x509_pem(node.as_bytes()).unwrap();
        let (ca, node) = (ca.parse_x509().unwrap(), node.parse_x509().unwrap());
        assert!(ca.is_ca() && !node.is_ca());
        assert_eq!(node.issuer(), ca.subject());
        assert!(node.validity().is_valid());
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_half_done() {
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path();
        assert!(matches!(issue(ca, "n1"), Err(CaError::Missing(_))));
        init(ca).unwrap();
        let before = fs::read(ca.join(CA_KEY)).unwrap();
        assert!(matches!(init(ca), Err(CaError::Exists(_))));
        assert_eq!(fs::read(ca.join(CA_KEY)).unwrap(), before);
        issue(ca, "n1").unwrap();
        assert!(matches!(issue(ca, "n1"), Err(CaError::Exists(_))));
        assert!(matches!(issue(ca, "ca.pem"), Err(CaError::Exists(_))));
        for bad in ["", "..", ".", "a/b", "a\nb", "a b"] {
            let refused = issue(ca, bad);
            assert!(refused.is_err(), "{bad:?}");
        }
        fs::write(ca.join(CA_KEY), "nonsense").unwrap();
        assert!(matches!(issue(ca, "n2"), Err(CaError::Content(..))));
        assert!(!ca.join("n2").exists());
        assert!(matches!(init(Path::new("/proc/no/ca")), Err(CaError::File(..))));
    }
}
