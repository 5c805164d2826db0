//! Certificates: a private CA per cluster, and one certificate per node, whose subject is the node's name.
//!
//! All node certificates carry the same DNS name, [`SERVER_NAME`], so that the standard verifier of rustls is used as it
//! is; which node a peer is says its subject, which is compared with what it says in its hello. TLS 1.3 only, both sides
//! show a certificate, and nothing is resumed: every session proves itself anew.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, version::TLS13};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::core::NodeName;

/// The DNS name in every node's certificate.
pub const SERVER_NAME: &str = "node.ordu";
/// What both sides say in the TLS handshake: the protocol and its version.
pub const ALPN: &[u8] = b"ordu/1";

const CA_SUBJECT: &str = "ordu private CA";
const CA_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca.key";
const CERT_FILE: &str = "node.pem";
const KEY_FILE: &str = "node.key";

/// Why certificates cannot be used, made or kept. Every one is a sentence that names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {file}: {error}")]
    Read {
        /// Which.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// A file cannot be written; one that exists is never overwritten.
    #[error("cannot write {file}: {error}")]
    Write {
        /// Which.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// A file holds something else.
    #[error("{file} holds no usable {what}: {error}")]
    Malformed {
        /// Which.
        file: String,
        /// What it should hold.
        what: &'static str,
        /// Why it does not.
        error: String,
    },
    /// The certificate is of another node.
    #[error("{file} is the certificate of node {found}, not of {expected}: issue one for {expected}")]
    Name {
        /// Which file.
        file: String,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: NodeName,
    },
    /// The certificate is not of this CA.
    #[error("{file} is not issued by {ca}: {error}")]
    Issuer {
        /// Which file.
        file: String,
        /// The CA's file.
        ca: String,
        /// What the verifier says.
        error: String,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(String),
}

/// A private CA. Whoever has its key can let nodes into the cluster.
pub struct CertificateAuthority {
    cert_pem: String,
    key: KeyPair,
}

impl CertificateAuthority {
    /// Makes a new one.
    pub fn generate() -> Result<Self, TlsError> {
        let key = KeyPair::generate().map_err(make)?;
        let cert = ca_params().self_signed(&key).map_err(make)?;
        Ok(Self { cert_pem: cert.pem(), key })
    }

    /// Reads `ca.pem` and `ca.key` of a directory.
    pub fn load(dir: &Path) -> Result<Self, TlsError> {
        let cert_pem = read(&dir.join(CA_FILE))?;
        let file = dir.join(CA_KEY_FILE);
        let key = KeyPair::from_pem(&read(&file)?).map_err(|error| malformed(&file.display(), "private key", error))?;
        Ok(Self { cert_pem, key })
    }

    /// Writes `ca.pem` and `ca.key` into a directory, which is made if it is not there. The key is readable by its owner
    /// only. Files that exist are left as they are, and it is an error.
    pub fn save(&self, dir: &Path) -> Result<(), TlsError> {
        write_new(dir, CA_FILE, &self.cert_pem, 0o644)?;
        write_new(dir, CA_KEY_FILE, &self.key.serialize_pem(), 0o600)
    }

    /// Issues a certificate for a node.
    pub fn issue(&self, name: &NodeName) -> Result<TlsMaterial, TlsError> {
        let key = KeyPair::generate().map_err(make)?;
        let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()]).map_err(make)?;
        params.distinguished_name = subject(name.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2120, 1, 1));
        let cert = params.signed_by(&key, &Issuer::new(ca_params(), &self.key)).map_err(make)?;
        let material = TlsMaterial {
            ca: self.cert_pem.clone(),
            cert: cert.pem(),
            key: key.serialize_pem(),
            origin: "(just issued)".to_owned(),
        };
        // A CA that we did not make, or a key of another CA: better found out here than by the node.
        material.load_for(name)?;
        Ok(material)
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority").finish_non_exhaustive()
    }
}

/// What a node needs to take part: the CA's certificate, its own and its key, all as PEM.
#[derive(Clone)]
pub struct TlsMaterial {
    ca: String,
    cert: String,
    key: String,
    /// Where it comes from, for errors.
    origin: String,
}

impl TlsMaterial {
    /// Takes PEM texts; `origin` is what errors call their place.
    pub fn from_pem(ca: String, cert: String, key: String, origin: &str) -> Self {
        Self { ca, cert, key, origin: origin.to_owned() }
    }

    /// Reads `ca.pem`, `node.pem` and `node.key` of a directory.
    pub fn load(dir: &Path) -> Result<Self, TlsError> {
        let text = |name: &str| read(&dir.join(name));
        let origin = dir.display().to_string();
        Ok(Self { ca: text(CA_FILE)?, cert: text(CERT_FILE)?, key: text(KEY_FILE)?, origin })
    }

    /// Writes them into a directory, as [`CertificateAuthority::save`] does.
    pub fn save(&self, dir: &Path) -> Result<(), TlsError> {
        write_new(dir, CA_FILE, &self.ca, 0o644)?;
        write_new(dir, CERT_FILE, &self.cert, 0o644)?;
        write_new(dir, KEY_FILE, &self.key, 0o600)
    }

    /// Checks that it is whole and is of this node and this CA, without starting anything.
    pub fn check(&self, name: &NodeName) -> Result<(), TlsError> {
        self.load_for(name).map(drop)
    }

    fn file(&self, name: &str) -> String {
        Path::new(&self.origin).join(name).display().to_string()
    }

    fn certificates(&self, name: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        match found {
            Ok(found) if found.is_empty() => Err(malformed(&self.file(name), "certificate", "there is none in it")),
            Ok(found) => Ok(found),
            Err(error) => Err(malformed(&self.file(name), "certificate", error)),
        }
    }

    fn load_for(&self, name: &NodeName) -> Result<Loaded, TlsError> {
        let mut roots = RootCertStore::empty();
        for ca in self.certificates(CA_FILE, &self.ca)? {
            roots.add(ca).map_err(|error| malformed(&self.file(CA_FILE), "CA certificate", error))?;
        }
        let chain = self.certificates(CERT_FILE, &self.cert)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|error| malformed(&self.file(KEY_FILE), "private key", error))?;
        let found = peer_name(&chain[0]).map_err(|error| malformed(&self.file(CERT_FILE), "certificate", error))?;
        if found != *name {
            let (file, found) = (self.file(CERT_FILE), found.to_string());
            return Err(TlsError::Name { file, found, expected: name.clone() });
        }
        let loaded = Loaded { roots: Arc::new(roots), chain, key };
        loaded.verify_own().map_err(|error| TlsError::Issuer {
            file: self.file(CERT_FILE),
            ca: self.file(CA_FILE),
            error,
        })?;
        Ok(loaded)
    }

    /// The configurations of both sides of a session. Fails as [`TlsMaterial::check`] does.
    pub(crate) fn quic(&self, name: &NodeName) -> Result<(QuicServerConfig, QuicClientConfig), TlsError> {
        let loaded = self.load_for(name)?;
        let key_file = |error: &dyn fmt::Display| malformed(&self.file(KEY_FILE), "private key", error);
        let server = loaded.server().map_err(|error| key_file(&error))?;
        let client = loaded.client().map_err(|error| key_file(&error))?;
        let server = QuicServerConfig::try_from(server).map_err(make)?;
        let client = QuicClientConfig::try_from(client).map_err(make)?;
        Ok((server, client))
    }
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMaterial").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// What the PEM texts hold.
struct Loaded {
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Loaded {
    fn verify_own(&self) -> Result<(), String> {
        let verifier = WebPkiServerVerifier::builder_with_provider(self.roots.clone(), provider())
            .build()
            .map_err(|error| error.to_string())?;
        let name = ServerName::try_from(SERVER_NAME).map_err(|error| error.to_string())?;
        verifier
            .verify_server_cert(&self.chain[0], &self.chain[1..], &name, &[], UnixTime::now())
            .map(drop)
            .map_err(|error| error.to_string())
    }

    fn server(&self) -> Result<ServerConfig, rustls::Error> {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(config)
    }

    fn client(&self) -> Result<ClientConfig, rustls::Error> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(self.roots.clone())
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// The name of the node that a certificate belongs to: its only common name. Says why if it has none.
pub(crate) fn peer_name(certificate: &CertificateDer<'_>) -> Result<NodeName, String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).map_err(|error| error.to_string())?;
    let mut names = certificate.subject().iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err("its subject does not have exactly one common name".to_owned());
    };
    let name = name.as_str().map_err(|error| error.to_string())?;
    NodeName::new(name).map_err(|error| format!("its common name is no node name: {error}"))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn subject(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(CA_SUBJECT);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2120, 1, 1));
    params
}

fn make(error: impl fmt::Display) -> TlsError {
    TlsError::Make(error.to_string())
}

fn malformed(file: &dyn fmt::Display, what: &'static str, error: impl fmt::Display) -> TlsError {
    TlsError::Malformed { file: file.to_string(), what, error: error.to_string() }
}

fn read(file: &Path) -> Result<String, TlsError> {
    fs::read_to_string(file).map_err(|error| TlsError::Read { file: file.display().to_string(), error })
}

fn write_new(dir: &Path, name: &str, text: &str, mode: u32) -> Result<(), TlsError> {
    let file = dir.join(name);
    let write = || {
        fs::create_dir_all(dir)?;
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        options.open(&file)?.write_all(text.as_bytes())
    };
    write().map_err(|error| TlsError::Write { file: file.display().to_string(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::new(text).expect("a valid name")
    }

    #[test]
    fn issued_material_is_good_for_its_node_only() {
        let ca = CertificateAuthority::generate().expect("a CA");
        let longest = name(&"n".repeat(200));
        ca.issue(&longest).expect("a certificate").check(&longest).expect("it is good");
        let material = ca.issue(&name("n1")).expect("a certificate");
        assert!(material.quic(&name("n1")).is_ok());
        let error = material.check(&name("n2")).expect_err("of another node").to_string();
        assert!(error.contains("certificate of node n1, not of n2"), "{error}");
    }

    #[test]
    fn material_of_two_cas_does_not_mix() {
        let [one, other] = [(); 2].map(|()| CertificateAuthority::generate().expect("a CA"));
        let mut material = one.issue(&name("n1")).expect("a certificate");
        material.ca = other.cert_pem;
        let error = material.check(&name("n1")).expect_err("of another CA").to_string();
        assert!(error.contains("node.pem is not issued by"), "{error}");
    }

    #[test]
    fn files_return_and_errors_name_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let ca = CertificateAuthority::generate().expect("a CA");
        ca.save(dir.path()).expect("saved");
        assert!(matches!(ca.save(dir.path()), Err(TlsError::Write { file, .. }) if file.ends_with("ca.pem")));
        let ca = CertificateAuthority::load(dir.path()).expect("loaded");
        let node = dir.path().join("n1");
        ca.issue(&name("n1")).expect("a certificate").save(&node).expect("saved");
        TlsMaterial::load(&node).expect("loaded").check(&name("n1")).expect("it is good");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(node.join("node.key")).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(node.join("node.key"), "nothing").expect("written");
        let error = TlsMaterial::load(&node).expect("loaded").check(&name("n1")).expect_err("no key").to_string();
        assert!(error.contains("node.key holds no usable private key"), "{error}");
        fs::remove_file(node.join("node.pem")).expect("removed");
        let error = TlsMaterial::load(&node).expect_err("no certificate").to_string();
        assert!(error.starts_with("cannot read ") && error.contains("node.pem"), "{error}");
    }
}
