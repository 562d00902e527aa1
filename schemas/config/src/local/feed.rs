//! `[feed]`: where viewers connect, and who may.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::{readable, text_of, unreadable};
use crate::findings::{Findings, Reader, Section};
use crate::tokens::TokenFile;

/// The feed of a coordinator.
#[derive(Clone, Debug)]
pub struct FeedConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// PEM: certificate and chain.
    pub certificate: PathBuf,
    /// PEM: its key.
    pub private_key: PathBuf,
    /// Where tokens are kept. It is read again when it changes.
    pub token_file: PathBuf,
    /// What viewers may show, as the file is now.
    pub tokens: TokenFile,
    /// Pages of which origins may watch, besides those of the own host.
    pub allowed_origins: Vec<String>,
    /// Whether a token may stand in the query, as clients of 2.x need it.
    pub query_tokens: bool,
    /// The address that viewers reach it at, if it is another than `listen`.
    pub public_url: Option<String>,
    /// Where a proxy on this host connects that ends TLS, if there is one.
    pub plain: Option<Plain>,
    /// How many connections there may be.
    pub limits: Limits,
}

/// Where a proxy on this host connects without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plain {
    /// A port of the loopback interface.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Altogether.
    pub whole: usize,
    /// From one address.
    pub per_address: usize,
}

pub(super) const KNOWN: [&str; 10] = [
    "listen",
    "certificate",
    "private_key",
    "token_file",
    "allowed_origins",
    "query_tokens",
    "public_url",
    "plain",
    "max_connections",
    "max_connections_per_address",
];

const FIRST: &str = "make a token: `tasuki-coordinator token NAME --role viewer --clusters '*'` prints it, and adds its \
                     line here";

pub(super) fn feed<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>) -> Option<FeedConfig> {
    let listen = reader.needed::<SocketAddr>(section, "listen");
    let certificate = readable(reader, section, "certificate");
    let private_key = readable(reader, section, "private_key");
    let token_file = reader.needed::<PathBuf>(section, "token_file");
    let tokens = token_file.as_ref().and_then(|path| tokens(reader, path));
    let allowed_origins = reader.optional::<Vec<Spanned<String>>>(section, "allowed_origins");
    let allowed_origins = allowed_origins.map_or_else(Vec::new, Spanned::into_inner);
    for origin in allowed_origins.iter().filter(|origin| !is_origin(origin.get_ref())) {
        let what =
            format!("{:?} is no origin; write e.g. \"https://status.example.org\", without a path", origin.get_ref());
        reader.note(Some(origin.span()), what);
    }
    let query_tokens = reader.optional::<bool>(section, "query_tokens").is_none_or(Spanned::into_inner);
    let public_url = reader.optional::<String>(section, "public_url");
    for url in public_url.iter().filter(|url| !is_origin(url.get_ref())) {
        let what =
            format!("{:?} is no address of a coordinator; write e.g. \"https://co1.example.org:3000\"", url.get_ref());
        reader.note(Some(url.span()), what);
    }
    let plain = reader.optional::<String>(section, "plain").and_then(|text| plain(reader, &text));
    let limits = Limits {
        whole: limit(reader, section, "max_connections", 20_000),
        per_address: limit(reader, section, "max_connections_per_address", 1000),
    };
    Some(FeedConfig {
        plain,
        limits,
        listen: listen?.into_inner(),
        certificate: certificate?,
        private_key: private_key?,
        token_file: token_file?.into_inner(),
        tokens: tokens?,
        allowed_origins: allowed_origins.into_iter().map(Spanned::into_inner).collect(),
        query_tokens,
        public_url: public_url.map(Spanned::into_inner),
    })
}

/// Without TLS nobody else may listen in: a port of the loopback interface, or a Unix socket by its whole path.
fn plain(reader: &mut Reader<'_>, text: &Spanned<String>) -> Option<Plain> {
    let place = text.get_ref();
    match place.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => return Some(Plain::Tcp(address)),
        Err(_) if place.starts_with('/') => return Some(Plain::Unix(place.into())),
        Ok(_) | Err(_) => {}
    }
    reader.note(
        Some(text.span()),
        "`plain` is for a proxy on this host alone; write e.g. \"127.0.0.1:3001\" or \"/run/tasuki/feed.sock\"",
    );
    None
}

fn limit<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>, field: &str, usual: usize) -> usize {
    let Some(limit) = reader.optional::<usize>(section, field) else { return usual };
    if *limit.get_ref() == 0 {
        reader.note(Some(limit.span()), format!("`{field}` must be at least 1; leave it out for {usual}"));
    }
    limit.into_inner()
}

/// As browsers send it: scheme and host, perhaps a port, and nothing behind.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:[]".contains(c);
    !host.is_empty() && host.chars().all(plain)
}

fn tokens(reader: &mut Reader<'_>, path: &Spanned<PathBuf>) -> Option<TokenFile> {
    let text = match fs::read_to_string(path.get_ref()) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            reader.note(Some(path.span()), format!("{} does not exist; {FIRST}", path.get_ref().display()));
            return None;
        }
        Err(error) => {
            unreadable(reader, path, &error);
            return None;
        }
    };
    let (tokens, findings) = TokenFile::read(path.get_ref(), &text);
    if tokens.is_empty() && findings.0.is_empty() {
        reader.note(Some(path.span()), format!("the token file is empty; {FIRST}"));
    }
    reader.findings.extend(findings.0);
    Some(tokens)
}

impl FeedConfig {
    /// Where a coordinator's file says that tokens are kept. Nothing else of it need be right yet.
    ///
    /// # Errors
    /// That the file does not say it.
    pub fn token_file_of(path: &Path) -> Result<PathBuf, Findings> {
        let text = text_of(path)?;
        let mut reader = Reader::new(path, &text);
        let file = reader.table().and_then(|table| {
            let every: Vec<String> = table.keys().map(|key| key.get_ref().to_string()).collect();
            let root = reader.root(&table, &every.iter().map(String::as_str).collect::<Vec<_>>());
            let section = reader.needed_section(&root, "feed", &KNOWN)?;
            reader.needed::<PathBuf>(&section, "token_file")
        });
        reader.finish(file.map(Spanned::into_inner))
    }
}
