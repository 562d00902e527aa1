//! Asking a node's health port, as a load balancer or a person would.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// The longest answer that is read.
const MAX_BYTES: u64 = 1 << 20;

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The code, e.g. 200.
    pub code: u16,
    /// What follows the headers.
    pub body: String,
}

/// GET over plain HTTP.
///
/// # Errors
/// When nobody answers in time, or not in HTTP.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let talk = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_BYTES).read_to_end(&mut answer).await?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let text = timeout(PATIENCE, talk).await.with_context(|| format!("no answer from {address}{path}"))??;
    let (head, body) = text.split_once("\r\n\r\n").context("no HTTP answer")?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no HTTP code")?;
    Ok(Answer { code, body: body.to_owned() })
}

/// The page `/health` of a node.
///
/// # Errors
/// As [`get`], or when it is no JSON.
pub async fn page(address: SocketAddr) -> Result<Value> {
    let answer = get(address, "/health").await?;
    serde_json::from_str(&answer.body).with_context(|| format!("no JSON from {address}/health: {}", answer.body))
}
