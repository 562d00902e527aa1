//! The files as they are typed, before their meaning is checked.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) name: Spanned<String>,
    pub(crate) address: Spanned<String>,
    pub(crate) mesh: Spanned<String>,
    pub(crate) key: Spanned<String>,
    pub(crate) promotion: Option<crate::Promotion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Witness {
    pub(crate) name: Spanned<String>,
    pub(crate) mesh: Spanned<String>,
    pub(crate) key: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Coordinator {
    pub(crate) name: Spanned<String>,
    pub(crate) key: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redis {
    pub(crate) urls: Spanned<Vec<String>>,
    pub(crate) ca_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replication {
    pub(crate) user: String,
    pub(crate) password_file: Spanned<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vip {
    pub(crate) address: Spanned<String>,
    pub(crate) interface: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    pub(crate) mode: Option<crate::cluster::ModeWish>,
    pub(crate) heartbeat_ms: Option<Spanned<u64>>,
    pub(crate) silence_ms: Option<Spanned<u64>>,
    pub(crate) tail_patience_ms: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LocalServer {
    pub(crate) socket: Option<PathBuf>,
    pub(crate) address: Option<Spanned<SocketAddr>>,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) user: String,
    pub(crate) password_file: Option<Spanned<PathBuf>>,
    pub(crate) cut: crate::local::Cut,
    #[serde(default)]
    pub(crate) boots_closed: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Feed {
    pub(crate) listen: SocketAddr,
    pub(crate) certificate: PathBuf,
    pub(crate) private_key: PathBuf,
    pub(crate) token_file: Spanned<PathBuf>,
}
