//! The address that moves with the primary.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// `ip` takes some milliseconds; one call that takes longer than this failed.
const DEADLINE: Duration = Duration::from_millis(500);

/// Why the address did not move.
#[derive(Debug, thiserror::Error)]
pub enum VipError {
    /// The program does not run.
    #[error("{program} cannot be run: {error}; install iproute2 and iputils-arping")]
    Missing {
        /// Which program.
        program: &'static str,
        /// The system's word.
        error: std::io::Error,
    },
    /// The kernel refused.
    #[error("ip refused: {0}; the node needs CAP_NET_ADMIN")]
    Refused(String),
    /// No answer in time.
    #[error("ip did not answer within {DEADLINE:?}")]
    Late,
}

/// The address, as the cluster file names it.
#[derive(Clone, Debug)]
pub struct Vip {
    address: String,
    interface: String,
}

impl Vip {
    /// `address` has a prefix length.
    #[must_use]
    pub const fn new(address: String, interface: String) -> Self {
        Self { address, interface }
    }

    /// Adds the address and announces it; one that is held already is announced only if `anew`.
    ///
    /// # Errors
    /// [`VipError`]
    pub async fn take(&self, anew: bool) -> Result<(), VipError> {
        match self.ip(&["addr", "add", &self.address, "dev", &self.interface]).await {
            Err(VipError::Refused(text)) if text.contains("exists") && !anew => return Ok(()),
            Err(VipError::Refused(text)) if text.contains("exists") => {}
            other => other?,
        }
        self.announce();
        Ok(())
    }

    /// Removes the address. One that is not held is no error.
    ///
    /// # Errors
    /// [`VipError`]
    pub async fn release(&self) -> Result<(), VipError> {
        match self.ip(&["addr", "del", &self.address, "dev", &self.interface]).await {
            Err(VipError::Refused(text)) if text.contains("Cannot assign") => Ok(()),
            other => other,
        }
    }

    async fn ip(&self, arguments: &[&str]) -> Result<(), VipError> {
        let missing = |error| VipError::Missing { program: "ip", error };
        let run = Command::new("ip").args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
        let output = timeout(DEADLINE, run).await.map_err(|_| VipError::Late)?.map_err(missing)?;
        if output.status.success() {
            return Ok(());
        }
        Err(VipError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    /// Tells the neighbours, at once and again later: one announcement may be lost. `arping` blocks for a second, so
    /// it runs aside.
    fn announce(&self) {
        let (interface, address) =
            (self.interface.clone(), self.address.split('/').next().unwrap_or_default().to_owned());
        if address.contains(':') {
            return;
        }
        tokio::spawn(async move {
            for pause in [0, 1, 2] {
                tokio::time::sleep(Duration::from_secs(pause)).await;
                let run = Command::new("arping")
                    .args(["-U", "-c", "1", "-w", "1", "-I", &interface, &address])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .kill_on_drop(true)
                    .status();
                if let Ok(Err(error)) = timeout(Duration::from_secs(3), run).await {
                    tracing::error!(%error, "the address cannot be announced: install iputils-arping");
                }
            }
        });
    }
}
