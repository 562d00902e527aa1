//! An own look at another server: does it greet?

use std::net::SocketAddr;
use std::time::Duration;

use tasuki_schemas::answer::Look;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A living server greets within this.
const PATIENCE: Duration = Duration::from_millis(100);

/// Connects and waits for the first byte of the greeting. An accepted connection alone is no sign of life: the kernel
/// accepts for a server that hangs.
pub async fn look(address: SocketAddr) -> Look {
    let greeting = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let mut first = [0_u8; 5];
        stream.read_exact(&mut first).await.ok()
    };
    match timeout(PATIENCE, greeting).await {
        Ok(Some(_)) => Look::Greeted,
        Ok(None) | Err(_) => Look::NoGreeting,
    }
}
