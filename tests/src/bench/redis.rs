//! A Redis server of the bench's own.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::net::TcpStream;

use crate::lab::process::bound;
use crate::lab::tools;

/// The longest that it may take to listen.
const START: Duration = Duration::from_secs(10);

/// The server, until it is dropped.
pub(super) struct Redis {
    process: Child,
    folder: PathBuf,
    url: String,
}

impl Redis {
    pub(super) async fn start() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("tasuki-bench-redis-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        // Debian's client package carries the whole server: the name that it is called by decides.
        let program = folder.join("redis-server");
        drop(fs::remove_file(&program));
        symlink(tools::program("redis-check-rdb")?, &program)?;
        let address: SocketAddr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = bound(&program)
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", "", "--appendonly", "no"])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .spawn()?;
        let redis = Self { process, folder, url: format!("redis://{address}") };
        let began = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            ensure!(began.elapsed() < START, "Redis does not listen on {address}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(redis)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}
