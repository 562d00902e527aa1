//! TLS 1.3 with raw public keys (RFC 7250): no certificate, no authority, nothing expires.
//!
//! Each side shows the key that also signs its messages. Whoever holds no key of the cluster file is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use ed25519_dalek::{SigningKey, VerifyingKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
};
use tasuki_schemas::id::ProgramId;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::counters::{Reason, Tally};

/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The protocol of connections that carry bulk; the frames of the mesh have no name.
const BULK: &[u8] = b"tasuki-bulk/1";

/// Both ends of the mesh's TLS for one program.
pub(crate) struct Tls {
    pub(crate) connector: TlsConnector,
    /// For a connection that carries bulk: both ends agree on that while they greet.
    pub(crate) bulk_connector: TlsConnector,
    pub(crate) acceptor: TlsAcceptor,
    keys: Arc<Keys>,
}

impl Tls {
    /// `keys` are those of the programs that may connect.
    pub(crate) fn new(
        key: &SigningKey,
        keys: impl Iterator<Item = (ProgramId, VerifyingKey)>,
        tally: Arc<Tally>,
    ) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let programs = keys.map(|(program, key)| (key.to_bytes(), program)).collect();
        let keys = Arc::new(Keys { programs, algorithms: provider.signature_verification_algorithms, tally });
        let own = Arc::new(own_key(key, &provider)?);

        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&keys) as Arc<dyn ServerCertVerifier>)
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&own))));
        // A resumed session would outlive a key that was taken out of the cluster file.
        client.resumption = Resumption::disabled();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::clone(&keys) as Arc<dyn ClientCertVerifier>)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(own)));
        server.send_tls13_tickets = 0;
        server.alpn_protocols = vec![BULK.to_vec()];
        let mut bulk = client.clone();
        bulk.alpn_protocols = vec![BULK.to_vec()];
        Ok(Self {
            connector: Arc::new(client).into(),
            bulk_connector: Arc::new(bulk).into(),
            acceptor: Arc::new(server).into(),
            keys,
        })
    }

    /// Whether a connection carries bulk.
    pub(crate) fn is_bulk<S>(stream: &TlsStream<S>) -> bool {
        let (_, connection) = stream.get_ref();
        connection.alpn_protocol() == Some(BULK)
    }

    /// Who is at the other end of a connection.
    pub(crate) fn peer_of<S>(&self, stream: &TlsStream<S>) -> Option<ProgramId> {
        let (_, connection) = stream.get_ref();
        connection.peer_certificates()?.first().and_then(|spki| self.keys.owner(spki)).cloned()
    }
}

fn own_key(key: &SigningKey, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
    let der = key.to_pkcs8_der().map_err(|error| Error::General(error.to_string()))?;
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(der.as_bytes().to_vec()));
    let signing = provider.key_provider.load_private_key(private)?;
    let spki = [SPKI_PREFIX.as_slice(), key.verifying_key().as_bytes()].concat();
    Ok(CertifiedKey::new(vec![CertificateDer::from(spki)], signing))
}

/// The keys of the cluster file, as rustls asks for them.
struct Keys {
    programs: BTreeMap<[u8; 32], ProgramId>,
    algorithms: WebPkiSupportedAlgorithms,
    tally: Arc<Tally>,
}

impl Keys {
    fn owner(&self, spki: &[u8]) -> Option<&ProgramId> {
        self.programs.get(spki.strip_prefix(&SPKI_PREFIX)?)
    }

    fn verify_key(&self, spki: &CertificateDer<'_>) -> Result<(), Error> {
        if self.owner(spki).is_some() {
            return Ok(());
        }
        tracing::warn!("a key that the cluster file does not name was refused on the mesh");
        self.tally.dropped(Reason::UnknownKey);
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_signature(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(spki.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, signature, &self.algorithms)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.programs.values()).finish()
    }
}

fn too_old<T>() -> Result<T, Error> {
    Err(Error::General("the mesh speaks TLS 1.3 only".to_owned()))
}

impl ServerCertVerifier for Keys {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify_key(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        too_old()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Keys {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify_key(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        too_old()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
