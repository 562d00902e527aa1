//! The certificate, read again when its files change: new connections get the new one, and open ones stay.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use tokio::fs;

/// How often the files are looked at. What is found twice counts: two files are not changed in one moment.
const LOOK: Duration = Duration::from_secs(1);

type Pair = (Vec<u8>, Vec<u8>);

async fn read(certificate: &Path, key: &Path) -> io::Result<Pair> {
    Ok((fs::read(certificate).await?, fs::read(key).await?))
}

/// Reads certificate and key again when they change, for ever. A pair that cannot be used changes nothing, and is told.
pub(super) async fn follow(tls: RustlsConfig, certificate: PathBuf, key: PathBuf) {
    let mut counted = read(&certificate, &key).await.ok();
    let mut before = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let Ok(pair) = read(&certificate, &key).await else { continue };
        if counted.as_ref() == Some(&pair) || before.as_ref() != Some(&pair) {
            before = Some(pair);
            continue;
        }
        let (chain, secret) = pair.clone();
        match tls.reload_from_pem(chain, secret).await {
            Ok(()) => tracing::info!(certificate = %certificate.display(), "the feed has a new certificate"),
            Err(error) => tracing::error!(
                certificate = %certificate.display(), key = %key.display(), %error,
                "the changed certificate cannot be used, and the one before stays; both must be PEM, and belong together"
            ),
        }
        counted = Some(pair);
    }
}
