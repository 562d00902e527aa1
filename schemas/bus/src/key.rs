//! Key files. One Ed25519 key is a program's whole identity: PKCS#8 PEM, readable by its owner alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use ed25519_dalek::{SigningKey, VerifyingKey};

/// The largest file that is read as a key.
const MAX_FILE_BYTES: u64 = 4096;

/// Why there is no key. Each text names the fix.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("the key file {path} cannot be read: {error}")]
    Unreadable {
        /// The key file.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// Somebody else than its owner could use the key.
    #[error("the key file {path} has mode {mode:04o}, only its owner may read it: chmod 0600 {path}")]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Something else than a key.
    #[error("{path} holds no Ed25519 key in PKCS#8 PEM: openssl genpkey -algorithm ed25519 -out {path}")]
    Malformed {
        /// The key file.
        path: PathBuf,
    },
    /// A new key cannot be kept; an existing file is never overwritten.
    #[error("a new key cannot be written to {path}: {error}")]
    Unwritable {
        /// The key file.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// A public key in the cluster file is none.
    #[error("{text:?} is no public key: 32 bytes in base64 are expected, as a key file's owner prints them")]
    NotPublic {
        /// What was found.
        text: String,
    },
}

/// Reads a private key.
///
/// # Errors
/// [`KeyError::Unreadable`], [`KeyError::Exposed`] for any mode but 0600 and 0400, [`KeyError::Malformed`].
pub fn load(path: &Path) -> Result<SigningKey, KeyError> {
    let unreadable = |error| KeyError::Unreadable { path: path.to_owned(), error };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode != 0o600 && mode != 0o400 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    SigningKey::from_pkcs8_pem(&text).map_err(|_| KeyError::Malformed { path: path.to_owned() })
}

/// Makes a new private key and keeps it in a new file of mode 0600.
///
/// # Errors
/// [`KeyError::Unwritable`], also when the file exists: a key is never overwritten.
pub fn create(path: &Path) -> Result<SigningKey, KeyError> {
    let unwritable = |error| KeyError::Unwritable { path: path.to_owned(), error };
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| unwritable(io::Error::other(error.to_string())))?;
    let key = SigningKey::from_bytes(&seed);
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|error| unwritable(io::Error::other(error.to_string())))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(unwritable)?;
    file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(unwritable)?;
    Ok(key)
}

/// The public key as the cluster file names it.
#[must_use]
pub fn public_base64(key: &VerifyingKey) -> String {
    STANDARD.encode(key.as_bytes())
}

/// Reads a public key of the cluster file.
///
/// # Errors
/// [`KeyError::NotPublic`].
pub fn parse_public(text: &str) -> Result<VerifyingKey, KeyError> {
    STANDARD
        .decode(text.trim())
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok())
        .filter(|key| !key.is_weak())
        .ok_or_else(|| KeyError::NotPublic { text: text.to_owned() })
}
