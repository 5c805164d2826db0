//! `ordu ca`: a private CA's directory, and in it one directory for each node that it lets into the cluster.
//!
//! Who holds a certificate of the CA is of the cluster, and the certificate says as whom. The certificates themselves are
//! [`ordu_transport::tls`]'s; here it is only seen to that nothing is overwritten and nothing is left half done.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ordu_transport::core::NodeName;
use ordu_transport::{CertificateAuthority, TlsError};

/// The CA's certificate.
pub const CA_CERTIFICATE: &str = "ca.pem";
/// The CA's key; it stays where it was made.
pub const CA_KEY: &str = "ca.key";

/// Why a certificate authority could not be made or used. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// There is one already.
    #[error("{0} exists already; it is left as it is")]
    Exists(PathBuf),
    /// The directory holds none.
    #[error("there is no CA in {0}; `ordu ca init {0}` makes one")]
    Missing(PathBuf),
    /// A file or directory cannot be written.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// A name that no node can have.
    #[error("{0:?} cannot be a node's name: {1}")]
    Name(String, ordu_transport::core::InvalidName),
    /// The CA is not usable, or a certificate cannot be made.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Makes a CA: `directory/ca.pem` and `directory/ca.key`.
pub fn init(directory: &Path) -> Result<(), CaError> {
    let (certificate, key) = (directory.join(CA_CERTIFICATE), directory.join(CA_KEY));
    if let Some(exists) = [&certificate, &key].into_iter().find(|path| path.exists()) {
        return Err(CaError::Exists(exists.clone()));
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| CaError::File(directory.to_owned(), error))?;
    let draft = draft_in(directory)?;
    CertificateAuthority::generate()?.save(draft.path())?;
    // The key first: a CA without its key would look whole.
    for (name, target) in [(CA_KEY, &key), (CA_CERTIFICATE, &certificate)] {
        // Unlike a rename, a link does not replace what somebody put there meanwhile.
        fs::hard_link(draft.path().join(name), target).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => CaError::Exists(target.clone()),
            _ => CaError::File(target.clone(), error),
        })?;
    }
    Ok(())
}

/// Issues a node's certificate: `directory/NAME/{ca.pem,node.pem,node.key}`, all or nothing. Returns that directory.
pub fn issue(directory: &Path, name: &str) -> Result<PathBuf, CaError> {
    let node = NodeName::new(name).map_err(|error| CaError::Name(name.to_owned(), error))?;
    let target = directory.join(name);
    if target.exists() {
        return Err(CaError::Exists(target));
    }
    if !directory.join(CA_CERTIFICATE).exists() {
        return Err(CaError::Missing(directory.to_owned()));
    }
    let material = CertificateAuthority::load(directory)?.issue(&node)?;
    let draft = draft_in(directory)?;
    material.save(draft.path())?;
    // Fails if somebody made that directory meanwhile and put something in it.
    fs::rename(draft.path(), &target).map_err(|error| CaError::File(target.clone(), error))?;
    let _ = draft.keep();
    Ok(target)
}

fn draft_in(directory: &Path) -> Result<tempfile::TempDir, CaError> {
    let draft = tempfile::Builder::new().prefix(".draft-").tempdir_in(directory);
    draft.map_err(|error| CaError::File(directory.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ordu_transport::TlsMaterial;

    use super::*;

    #[test]
    fn a_ca_issues_what_a_node_needs() {
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca");
        init(&ca).unwrap();
        let issued = issue(&ca, "n1").unwrap();
        assert_eq!(issued, ca.join("n1"));
        TlsMaterial::load(&issued).unwrap().check(&NodeName::new("n1").unwrap()).unwrap();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(ca.join(CA_KEY)), 0o600);
        assert_eq!(mode(issued.join("node.key")), 0o600);
        assert_eq!(fs::read(ca.join(CA_CERTIFICATE)).unwrap(), fs::read(issued.join(CA_CERTIFICATE)).unwrap());
        let mut names: Vec<_> = fs::read_dir(&ca).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["ca.key", "ca.pem", "n1"], "no draft is left");
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
            assert!(issue(ca, bad).is_err(), "{bad:?}");
        }
        fs::write(ca.join(CA_KEY), "nonsense").unwrap();
        assert!(matches!(issue(ca, "n2"), Err(CaError::Tls(_))));
        assert_eq!(fs::read_dir(ca).unwrap().count(), 3, "neither a certificate nor a draft");
        assert!(matches!(init(Path::new("/proc/no/ca")), Err(CaError::File(..))));
    }
}
