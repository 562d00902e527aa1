//! Stop receiving, so that the received set can be believed: from the cut on this server acknowledges nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tasuki_schemas::answer::Holdings;
use tasuki_schemas::observation::Thread;

use super::steps::{Failed, SOON, arrivals, holdings, until_receiver};
use super::{Hands, SLOW, unread};
use crate::server::Session;

/// A dead source's socket is read to its end within this.
const DRAIN: Duration = Duration::from_millis(30);
/// So many looks in a row without an arrival: what the source had sent was read.
const AT_REST: u32 = 3;

pub(super) async fn stop(
    hands: &Hands,
    session: &mut Session,
    source: Option<SocketAddr>,
    drain: bool,
) -> Result<Holdings, Failed> {
    super::relay::end(hands, session).await?;
    if drain {
        drain_socket(hands, session).await?;
    } else if let Some(source) = source {
        // Without the reset MariaDB's STOP waits two seconds for a silent source.
        hands.cut.lock().await.refuse_source(source).await?;
    }
    session.run(&hands.dialect.stop_receiver(), SLOW).await?;
    if !until_receiver(hands, session, Duration::from_millis(500), |state| state == Thread::Stopped).await? {
        return Err(Failed::Other("the receiver does not stop".to_owned()));
    }
    let holdings = holdings(hands, session).await?;
    match source {
        Some(source) if holdings.received.known().is_none() => {
            Ok(unread::settle(hands, session, source).await.unwrap_or(holdings))
        }
        Some(_) | None => Ok(holdings),
    }
}

/// What the source had sent is still in the socket; stopping in the middle of it would leave half a transaction. The end
/// of the stream comes only after a large server's memory was given back, so that arrivals come to rest is enough.
async fn drain_socket(hands: &Hands, session: &mut Session) -> Result<(), Failed> {
    let began = Instant::now();
    let (mut last, mut rest) = (String::new(), 0);
    while rest < AT_REST && began.elapsed() < DRAIN {
        let (state, mark) = arrivals(hands, session).await?;
        if state != Thread::Running {
            return Ok(());
        }
        rest = if mark == last { rest + 1 } else { 0 };
        last = mark;
        tokio::time::sleep(SOON).await;
    }
    Ok(())
}
