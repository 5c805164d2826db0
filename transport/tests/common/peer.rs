//! A peer with a certificate and no node behind it, which says what it likes.

use std::net::SocketAddr;
use std::sync::Arc;

use ordu_transport::TlsMaterial;
use ordu_transport::core::codec::{Kind, decode, encode};
use ordu_transport::core::message::Hello;
use ordu_transport::core::{Hlc, NodeId};
use ordu_transport::tls::SERVER_NAME;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Files of a certificate, as an attacker has them.
fn pem(material: &TlsMaterial) -> (Vec<CertificateDer<'static>>, CertificateDer<'static>, PrivateKeyDer<'static>) {
    let dir = tempfile::tempdir().expect("a directory");
    material.save(dir.path()).expect("saved");
    let file = |name: &str| dir.path().join(name);
    let chain = CertificateDer::pem_file_iter(file("node.pem")).expect("read").map(|c| c.expect("PEM")).collect();
    let ca = CertificateDer::from_pem_file(file("ca.pem")).expect("PEM");
    (chain, ca, PrivateKeyDer::from_pem_file(file("node.key")).expect("PEM"))
}

/// A client with this certificate, which trusts the CA `trusted`.
pub fn client(own: Option<&TlsMaterial>, trusted: &TlsMaterial, alpn: &[u8]) -> Endpoint {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pem(trusted).1).expect("a CA");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots);
    let mut config = match own {
        Some(own) => {
            let (chain, _, key) = pem(own);
            builder.with_client_auth_cert(chain, key).expect("a certificate")
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().expect("an address")).expect("an endpoint");
    let config = QuicClientConfig::try_from(config).expect("a QUIC configuration");
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
    endpoint
}

fn hello(id: &NodeId) -> Hello {
    let started = Hlc::from_wall_ms(1_000_000_000_000);
    Hello { cluster: "test".into(), id: id.clone(), addr: "127.0.0.1:9".into(), started }
}

async fn say(send: &mut quinn::SendStream, bytes: &[u8]) -> Option<()> {
    let len = u32::try_from(bytes.len()).expect("short").to_be_bytes();
    send.write_all(&[&len, bytes].concat()).await.ok()
}

async fn hear(recv: &mut quinn::RecvStream) -> Option<Vec<u8>> {
    let mut len = [0; 4];
    recv.read_exact(&mut len).await.ok()?;
    let mut bytes = vec![0; u32::from_be_bytes(len) as usize];
    recv.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

/// A session with a node, as one that has a good certificate can make it. `None` if it is refused.
pub async fn greet(endpoint: &Endpoint, addr: SocketAddr, id: &NodeId) -> Option<(Connection, quinn::SendStream)> {
    let connection = endpoint.connect(addr, SERVER_NAME).expect("dialled").await.ok()?;
    let (mut send, mut recv) = connection.open_bi().await.ok()?;
    say(&mut send, &encode(Kind::Hello, &hello(id))).await?;
    decode::<Hello>(Kind::Hello, &hear(&mut recv).await?).expect("a hello");
    say(&mut send, &[1]).await?;
    Some((connection, send))
}
