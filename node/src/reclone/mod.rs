//! Re-cloning this node's server: a copy of another server's data is made beside its own, then takes its place.
//!
//! What goes on for long has a thread and a runtime of its own. It is begun by an order and told in the node's reports; no
//! ballot ends it, since until the exchange it changes nothing on the server. Where it stands is noted on the disk before
//! each step that a crash must not leave in doubt.

mod check;
mod command;
mod copy;
mod donor;
mod exchange;
mod notes;
mod places;
mod wire;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tasuki_bus::BulkDialler;
use tasuki_config::Commands;
use tasuki_node_core::{Ended, Input};
use tasuki_schemas::command::RecloneStep;
use tasuki_schemas::gtid::{GtidSet, Origin};
use tasuki_schemas::id::NodeId;
use tasuki_schemas::reclone::{RecloneStage, Recloning};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::check::Ground;
use self::copy::{Behind, Meter};
use self::notes::{Note, Notes, Phase};
use self::places::Places;
use crate::execute::{Failed, Hands};
use crate::server::Session;

pub use donor::serve;

/// How often progress is told.
const TELL: Duration = Duration::from_secs(1);

/// The re-clone of one server.
pub struct Recloner {
    /// Reaches the donor's node.
    pub dialler: BulkDialler,
    /// How the server is stopped and started; without that it is never re-cloned.
    pub commands: Option<Commands>,
    notes: Notes,
    job: Mutex<Job>,
}

/// The one under way, or what came of the last.
#[derive(Default)]
struct Job {
    told: Option<Recloning>,
    cancel: Option<CancellationToken>,
    /// What the exchange needs, once the copy is whole.
    whole: Option<Whole>,
}

/// A copy that is whole.
#[derive(Clone)]
struct Whole {
    places: Places,
    behind: Option<Behind>,
    /// What the server was called before; MySQL's copy must have another name.
    uuid: Option<String>,
}

impl Recloner {
    /// Nothing is under way. Notes are kept in the state directory.
    #[must_use]
    pub fn new(dialler: BulkDialler, commands: Option<Commands>, state_dir: &std::path::Path) -> Self {
        Self { dialler, commands, notes: Notes::new(state_dir), job: Mutex::default() }
    }

    fn job(&self) -> MutexGuard<'_, Job> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_under_way(&self) -> bool {
        self.job().told.as_ref().is_some_and(|told| told.stage.is_under_way())
    }

    /// The server is needed as it is.
    pub fn abandon(&self) {
        if let Some(cancel) = &self.job().cancel {
            cancel.cancel();
        }
    }
}

/// Carries out one step of a re-clone.
pub(crate) async fn step(
    hands: &Arc<Hands>,
    session: &mut Session,
    step: RecloneStep,
    address: SocketAddr,
    primary: Origin,
) -> Ended {
    let done = match step {
        RecloneStep::Check { donor } => check::look(hands, session, &donor).await.map(|ground| ground.told(&donor)),
        RecloneStep::Copy { donor } => begin(hands, session, donor, address).await,
        RecloneStep::Exchange { known } => begin_exchange(hands, session, &known, &primary).await,
    };
    match done {
        Ok(told) => Ended::Kept(told),
        Err(error) => Ended::Failed(error.to_string()),
    }
}

async fn tell(hands: &Hands, donor: &NodeId, stage: RecloneStage) {
    let told = Recloning { donor: donor.clone(), stage };
    hands.reclone.job().told = Some(told.clone());
    let _ = hands.inputs.send(Input::Recloning(told)).await;
}

/// Begins to copy.
async fn begin(
    hands: &Arc<Hands>,
    session: &mut Session,
    donor: NodeId,
    address: SocketAddr,
) -> Result<String, Failed> {
    if hands.reclone.is_under_way() {
        return Err(Failed::Other("a re-clone of it is under way already".to_owned()));
    }
    let ground = check::look(hands, session, &donor).await?;
    let told = ground.told(&donor);
    let cancel = CancellationToken::new();
    hands.reclone.job().cancel = Some(cancel.clone());
    tell(hands, &donor, RecloneStage::Copying { bytes: 0, expected: ground.offer.bytes }).await;
    let hands = Arc::clone(hands);
    drop(aside("reclone", async move { make(&hands, ground, donor, address, cancel).await }));
    Ok(told)
}

/// Makes the copy, and tells how it goes.
async fn make(hands: &Hands, ground: Ground, donor: NodeId, address: SocketAddr, cancel: CancellationToken) {
    let (places, expected) = (ground.places.clone(), ground.offer.bytes);
    let meter = Meter::default();
    let note = |phase| Note::new(&places, &donor, phase);
    let copied = async {
        hands.reclone.notes.write(&note(Phase::Copying))?;
        places.prepare().map_err(|error| format!("{}: {error}", places.workshop.display()))?;
        let behind = copy::copy(hands, &places, &donor, address, &meter).await?;
        places.complete().map_err(|error| format!("{}: {error}", places.fresh.display()))?;
        Ok::<_, String>(behind)
    };
    let behind = tokio::select! {
        copied = copied => copied,
        () = cancel.cancelled() => Err("the server is needed as it is".to_owned()),
        () = tell_progress(hands, &donor, &meter, expected) => Err("its progress is not told".to_owned()),
    };
    let behind = match behind {
        Ok(behind) => ground.checked(behind.as_ref()).map(|()| behind),
        Err(reason) => Err(reason),
    };
    match behind {
        Ok(behind) => {
            hands.reclone.job().whole = Some(Whole { places, behind, uuid: ground.uuid });
            tell(hands, &donor, RecloneStage::Copied).await;
            // From now on only a promotion ends it.
            cancel.cancelled().await;
            if hands.reclone.job().whole.take().is_some() {
                give_up(hands, &ground.places, &donor, "the server is needed as it is".to_owned()).await;
            }
        }
        Err(reason) => give_up(hands, &places, &donor, reason).await,
    }
}

async fn tell_progress(hands: &Hands, donor: &NodeId, meter: &Meter, expected: u64) {
    let mut before = None;
    loop {
        tokio::time::sleep(TELL).await;
        let stage = if meter.preparing.load(Ordering::Relaxed) {
            RecloneStage::Preparing
        } else {
            RecloneStage::Copying { bytes: meter.bytes.load(Ordering::Relaxed), expected }
        };
        if before.as_ref() != Some(&stage) {
            before = Some(stage.clone());
            tell(hands, donor, stage).await;
        }
    }
}

/// Removes what was copied: the server's own data was never touched.
async fn give_up(hands: &Hands, places: &Places, donor: &NodeId, reason: String) {
    let ended = copy::end_clones(hands).await;
    let cleared =
        places.clear().map_err(|error| format!("{} could not be removed: {error}", places.workshop.display()));
    let rest: Vec<String> = [ended, cleared].into_iter().filter_map(Result::err).collect();
    let reason = [vec![reason], rest].concat().join("; ");
    finish(hands, Note::new(places, donor, Phase::Failed { reason })).await;
}

/// Notes and tells the end.
async fn finish(hands: &Hands, note: Note) {
    if let Err(error) = hands.reclone.notes.write(&note) {
        tracing::error!(error, "the end of a re-clone could not be noted");
    }
    if let Some(told) = note.told() {
        tracing::info!(stage = ?told.stage, "a re-clone ended");
        tell(hands, &told.donor, told.stage).await;
    }
}

async fn begin_exchange(
    hands: &Arc<Hands>,
    session: &mut Session,
    known: &GtidSet,
    primary: &Origin,
) -> Result<String, Failed> {
    let donor = hands.reclone.job().told.as_ref().map(|told| told.donor.clone());
    let (Some(donor), true) = (donor, hands.reclone.job().whole.is_some()) else {
        return Err(Failed::Other("there is no whole copy".to_owned()));
    };
    exchange::close(hands, session, known, primary).await?;
    let Some(whole) = hands.reclone.job().whole.take() else {
        return Err(Failed::Other("the copy was given up".to_owned()));
    };
    let told = format!("the copy takes the place of {}", whole.places.data.display());
    tell(hands, &donor, RecloneStage::Exchanging { step: "the server is being stopped".to_owned() }).await;
    let hands = Arc::clone(hands);
    drop(aside("exchange", async move { exchange::carry_out(&hands, whole, donor).await }));
    Ok(told)
}

/// A node that starts goes on with what its former self left behind. When this returns the core has been told.
pub async fn recover(hands: Arc<Hands>) {
    let note = match hands.reclone.notes.read() {
        Ok(Some(note)) => note,
        Ok(None) => return,
        Err(error) => return tracing::error!(error, "what an earlier run noted of a re-clone cannot be read"),
    };
    if let Some(told) = note.told() {
        return tell(&hands, &told.donor, told.stage).await;
    }
    let step = "a restarted node looks how far it was".to_owned();
    let donor = note.donor.clone();
    match note.phase {
        Phase::Copying => {
            tell(&hands, &donor, RecloneStage::Preparing).await;
            let reason = "its node was restarted before the copy was whole".to_owned();
            drop(aside("reclone", async move { give_up(&hands, &note.places, &donor, reason).await }));
        }
        Phase::Exchanging { .. } => {
            tell(&hands, &donor, RecloneStage::Exchanging { step }).await;
            drop(aside("exchange", async move { exchange::resume(&hands, note).await }));
        }
        Phase::Done | Phase::Failed { .. } => {}
    }
}

/// Runs something on a thread and a runtime of its own; its result can be waited for.
fn aside<T: Send + 'static>(name: &str, what: impl Future<Output = T> + Send + 'static) -> oneshot::Receiver<T> {
    let (result, awaited) = oneshot::channel();
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => drop(result.send(runtime.block_on(what))),
            Err(error) => tracing::error!(%error, "a runtime of its own does not start"),
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "a thread of its own does not start");
    }
    awaited
}
