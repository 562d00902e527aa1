//! Stop receiving, so that the received set can be believed: from the cut on this server acknowledges nothing.

use std::net::SocketAddr;
use std::time::Duration;

use tasuki_schemas::answer::Holdings;
use tasuki_schemas::observation::Thread;

use super::steps::{Failed, holdings, until_receiver};
use super::{Hands, SLOW};
use crate::server::Session;

/// A dead source's socket is read to its end within this: the receiver then tries to reconnect.
const DRAIN: Duration = Duration::from_millis(30);

pub(super) async fn stop(
    hands: &Hands,
    session: &mut Session,
    source: Option<SocketAddr>,
    drain: bool,
) -> Result<Holdings, Failed> {
    if drain {
        // What the source had sent is still in the socket; stopping in the middle of it would leave half a transaction.
        until_receiver(hands, session, DRAIN, |state| state != Thread::Running).await?;
    } else if let Some(source) = source {
        // Without the reset MariaDB's STOP waits two seconds for a silent source.
        hands.cut.lock().await.refuse_source(source).await?;
    }
    session.run(&hands.dialect.stop_receiver(), SLOW).await?;
    if !until_receiver(hands, session, Duration::from_millis(500), |state| state == Thread::Stopped).await? {
        return Err(Failed::Other("the receiver does not stop".to_owned()));
    }
    holdings(hands, session).await
}
