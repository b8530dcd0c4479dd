//! TLS for the emulator: a certificate made for this run, for this machine's names, that nobody else knows.

use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// Who it is made out to.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate and what answers with it. The key is nowhere but here.
pub(super) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    /// The certificate, for those who are to trust it.
    pub(super) pem: String,
}

/// Makes a certificate that signs itself.
pub(super) fn new() -> Result<Tls, Box<dyn std::error::Error + Send + Sync>> {
    let names = NAMES.map(str::to_owned);
    let CertifiedKey { cert, signing_key }: CertifiedKey<KeyPair> =
        rcgen::generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        pem: cert.pem(),
    })
}
