//! What goes with serving as primary: the VIP, and the write probe.

use std::time::{Duration, Instant};

use tasuki_config::ServerConfig;
use tasuki_node_core::statements::Dialect;
use tasuki_schemas::observation::WriteProbe;
use tokio::sync::watch;

use crate::disk;
use crate::server::{ServerError, Session, options};
use crate::vip::Vip;

/// The core's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    /// The server serves clients as primary.
    pub on: bool,
    /// Tasuki may act: without it neither VIP nor probe table is touched.
    pub armed: bool,
    /// Counts how often the core changed its mind: two words with the same number are of one reign.
    pub turn: u64,
}

/// What the write probe found last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Its outcome; `None` where none is due.
    pub probe: Option<WriteProbe>,
    /// The disk takes no more writes: the server's words.
    pub disk: Option<String>,
}

/// Between two write probes.
const EVERY: Duration = Duration::from_millis(500);
/// A write that has not ended by then is told as hung.
const DEADLINE: Duration = Duration::from_secs(1);
/// So often it is told for how long one has hung.
const TELL: Duration = Duration::from_millis(100);
/// One that hangs is waited for so long, since another would hang beside it; then its connection may be what is broken.
const LONGEST: Duration = Duration::from_secs(10);
/// The VIP is looked after this often, so that one stripped by others comes back.
const SUPERVISE: Duration = Duration::from_secs(2);

/// Moves the VIP with the core's word, and keeps it where it belongs.
pub async fn move_vip(mut vip: Vip, mut serving: watch::Receiver<Serving>) {
    let mut held = false;
    loop {
        let word = *serving.borrow_and_update();
        let wanted = word.armed && word.on;
        let moved = match (wanted, vip.held().await) {
            (true, Ok(true)) if held => Ok(()),
            (true, _) => vip.take().await,
            (false, Ok(false)) => Ok(()),
            // Before the record says that Tasuki acts, an address is left where it is.
            (false, _) if held || word.armed => vip.release().await,
            (false, _) => Ok(()),
        };
        match moved {
            Ok(()) => held = wanted,
            Err(error) => tracing::error!(%error, "the VIP cannot be moved"),
        }
        tokio::select! {
            changed = serving.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(SUPERVISE), if word.on => {}
        }
    }
}

/// Commits into a local table outside the binlog while the server serves: on a hung disk everything else looks well.
pub async fn probe_writes(
    config: ServerConfig,
    dialect: Dialect,
    mut serving: watch::Receiver<Serving>,
    shown: watch::Sender<Writes>,
) {
    let mut session = Session::new(options(&config));
    let mut failing_since: Option<Instant> = None;
    loop {
        let word = *serving.borrow_and_update();
        if !(word.on && word.armed) {
            failing_since = None;
            shown.send_replace(Writes::default());
            if serving.changed().await.is_err() {
                return;
            }
            continue;
        }
        let began = Instant::now();
        let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let since = failing_since.unwrap_or(began);
        let hung = || {
            let probe = Some(WriteProbe::Hung { for_ms: millis(since.elapsed()) });
            shown.send_replace(Writes { probe, disk: None });
        };
        let written = tokio::select! {
            written = write(&mut session, dialect) => Some(written),
            () = tell(hung) => None,
            _ = serving.wait_for(|word| !(word.on && word.armed)) => None,
        };
        let Some(written) = written else {
            session.close();
            if serving.has_changed().is_err() {
                return;
            }
            continue;
        };
        failing_since = matches!(written, Err(ServerError::Silent(_))).then_some(since);
        let disk = match &written {
            Err(ServerError::Refused { code, text }) if disk::is_full(*code, text) => Some(text.clone()),
            Ok(()) | Err(_) => None,
        };
        let probe = match written {
            Ok(()) => WriteProbe::Written { took_ms: millis(began.elapsed()) },
            Err(ServerError::Silent(_)) => WriteProbe::Hung { for_ms: millis(since.elapsed()) },
            Err(error) => WriteProbe::Failed { text: error.to_string() },
        };
        shown.send_replace(Writes { probe: Some(probe), disk });
        tokio::time::sleep(EVERY).await;
    }
}

/// Tells again and again, beginning with the deadline.
async fn tell(hung: impl Fn()) {
    tokio::time::sleep(DEADLINE).await;
    loop {
        hung();
        tokio::time::sleep(TELL).await;
    }
}

async fn write(session: &mut Session, dialect: Dialect) -> Result<(), ServerError> {
    match session.run(&dialect.write_probe(), LONGEST).await {
        Err(error) if error.has_no_table() => {
            session.run(&dialect.make_probe_table(), LONGEST).await?;
            session.run(&dialect.write_probe(), LONGEST).await
        }
        other => other,
    }
}
