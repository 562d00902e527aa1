//! An effect that takes long tells how far it is: as long as that changes it is waited for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tasuki_node_core::{EffectId, Input, Progress};
use tasuki_schemas::gtid::GtidSet;

use super::Hands;
use super::steps::{Failed, until_applied};
use crate::server::Session;

/// How often it is told that it goes on.
pub(super) const TELL: Duration = Duration::from_millis(500);
/// A backlog that takes longer than this is told at once.
pub(super) const BRIEF: Duration = Duration::from_millis(10);
/// A server that has work left and applies nothing is waited for so long.
const STANDS: Duration = Duration::from_secs(20);

/// Tells what an effect is busy with.
pub(super) struct Telling<'a> {
    pub(super) hands: &'a Hands,
    pub(super) id: EffectId,
}

impl Telling<'_> {
    /// Does the work, and meanwhile tells `step`: first after so long, then again and again.
    pub(super) async fn during<T>(
        &self,
        first: Duration,
        step: impl Fn() -> String,
        backlog: bool,
        work: impl Future<Output = T>,
    ) -> Result<T, Failed> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.tell(first, step, backlog) => Err(Failed::Other("the node ends".to_owned())),
        }
    }

    /// Ends only with the node.
    async fn tell(&self, first: Duration, step: impl Fn() -> String, backlog: bool) {
        let mut pause = first;
        loop {
            tokio::time::sleep(pause).await;
            pause = TELL;
            let going = Progress::Going { step: step(), backlog };
            if self.hands.inputs.send(Input::Progressed(self.id, going)).await.is_err() {
                return;
            }
        }
    }

    /// What the server had received itself, or the goal, is applied first, however long that takes.
    pub(super) async fn backlog(&self, session: &mut Session, goal: Option<&GtidSet>) -> Result<(), Failed> {
        let left = AtomicU64::new(0);
        let step = || format!("{} received transactions are left to apply", left.load(Ordering::Relaxed));
        self.during(BRIEF, step, true, until_applied(self.hands, session, goal, STANDS, &left)).await?
    }
}
