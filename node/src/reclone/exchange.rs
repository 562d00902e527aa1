//! The exchange: the server is closed and stopped, the directories change places, and it is started on the copy. What fails
//! is undone, so that it runs on its own data again.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tasuki_config::Commands;
use tasuki_schemas::gtid::{Flavour, GtidSet, Origin};
use tasuki_schemas::id::NodeId;
use tasuki_schemas::reclone::RecloneStage;

use super::copy::Behind;
use super::notes::{Note, Phase};
use super::places::Places;
use super::{Whole, command, finish, tell};
use crate::execute::{Failed, Hands, QUICK, SLOW, end_clients, is_gone, position, verified};
use crate::probe::lock;
use crate::server::{ServerError, Session, options};

/// Between two looks at a server that starts or stops.
const LOOK: Duration = Duration::from_millis(100);
/// A start that brought nobody is repeated after this: it may have met the former run's end.
const AGAIN: Duration = Duration::from_secs(20);

/// Closes the server and sees that it holds nothing that is nowhere else. `primary` is the origin of the living primary's
/// own transactions, which that server has.
pub(super) async fn close(
    hands: &Hands,
    session: &mut Session,
    known: &GtidSet,
    primary: &Origin,
) -> Result<(), Failed> {
    let let_in: BTreeSet<IpAddr> = BTreeSet::new();
    hands.cut.lock().await.close_clients(&let_in).await?;
    session.run(&hands.dialect.close(), QUICK).await?;
    end_clients(hands, session).await?;
    if hands.dialect.0 == Flavour::Mysql || crate::execute::channel(hands, session).await?.is_some() {
        session.run(&hands.dialect.stop_replication(), SLOW).await?;
    }
    verified(hands, session).await?;
    let held = position(hands, session).await?;
    let held = held.received.known().unwrap_or(&held.executed);
    let replicated = held.only(&BTreeSet::from([primary.clone()]));
    let known = known.union(&replicated).map_err(|error| Failed::Other(error.to_string()))?;
    match held.subtract(&known) {
        Ok(_) if known.contains(held) == Ok(true) => Ok(()),
        Ok(more) => Err(Failed::Other(format!("it holds {more}, which neither the primary nor an archive has"))),
        Err(error) => Err(Failed::Other(error.to_string())),
    }
}

/// The whole exchange.
pub(super) async fn carry_out(hands: &Hands, whole: Whole, donor: NodeId) {
    let Whole { places, behind, uuid } = whole;
    let note = |phase| Note::new(&places, &donor, phase);
    let stopped = match hands.reclone.notes.write(&note(Phase::exchanging(behind.as_ref(), uuid.as_ref()))) {
        Ok(()) => stop(hands).await,
        Err(error) => Err(error),
    };
    if let Err(reason) = stopped {
        return undo(hands, &places, &donor, reason).await;
    }
    go_on(hands, &places, &donor, behind.as_ref(), uuid.as_ref()).await;
}

/// A restarted node goes on where its former self was: behind the change it is finished, before it undone.
pub(super) async fn resume(hands: &Hands, note: Note) {
    let Phase::Exchanging { behind, uuid } = &note.phase else { return };
    if note.places.have_changed() {
        let behind =
            behind.as_ref().map(|(state, position)| Behind { state: state.clone(), position: position.clone() });
        return go_on(hands, &note.places, &note.donor, behind.as_ref(), uuid.as_ref()).await;
    }
    let reason = "its node was restarted before the directories changed places".to_owned();
    undo(hands, &note.places, &note.donor, reason).await;
}

/// The server is stopped: the copy takes its place.
async fn go_on(hands: &Hands, places: &Places, donor: &NodeId, behind: Option<&Behind>, uuid: Option<&String>) {
    let exchanged = async {
        places.change().map_err(|error| format!("the directories could not change places: {error}"))?;
        let step = "the server is being started on the copy".to_owned();
        tell(hands, donor, RecloneStage::Exchanging { step }).await;
        start(hands).await?;
        settle(hands, places, behind, uuid).await
    };
    if let Err(reason) = exchanged.await {
        let reason = match stop(hands).await {
            Ok(()) => reason,
            Err(error) => return finish(hands, stuck(places, donor, &format!("{reason}; {error}"))).await,
        };
        return undo(hands, places, donor, reason).await;
    }
    if let Err(error) = places.settle() {
        tracing::warn!(%error, "what is left of a re-clone could not be removed");
    }
    finish(hands, Note::new(places, donor, Phase::Done)).await;
}

/// The server runs on its own data again.
async fn undo(hands: &Hands, places: &Places, donor: &NodeId, reason: String) {
    let back = async {
        if places.have_changed() || is_down(hands).await {
            places.change_back().map_err(|error| error.to_string())?;
            return start(hands).await;
        }
        places.clear().map_err(|error| error.to_string())
    };
    let note = match back.await {
        Ok(()) => Note::new(places, donor, Phase::Failed { reason }),
        Err(error) => stuck(places, donor, &format!("{reason}; {error}")),
    };
    finish(hands, note).await;
}

/// People have to start the server; they must know what is where.
fn stuck(places: &Places, donor: &NodeId, reason: &str) -> Note {
    let data = if places.have_changed() { "the copy" } else { "its own data" };
    let aside =
        if places.aside.exists() { format!(", and its own data in {}", places.aside.display()) } else { String::new() };
    let reason =
        format!("{reason}; {data} is in {}{aside}; look at the server's log and start it", places.data.display());
    Note::new(places, donor, Phase::Failed { reason })
}

fn commands(hands: &Hands) -> Result<&Commands, String> {
    hands.reclone.commands.as_ref().ok_or_else(|| "stop_command and start_command are not set in node.toml".to_owned())
}

/// Stops the server and sees its process gone. It is closed, and nobody's commit waits in it.
async fn stop(hands: &Hands) -> Result<(), String> {
    let commands = commands(hands)?;
    let said = hands.state_dir.join("stop.log");
    command::run(&commands.stop, &said, commands.stop_within).await?;
    let began = Instant::now();
    // A run that this node never watched has nobody who could tell.
    let has_ended = || lock(&hands.shared).watch.is_none() || is_gone(hands);
    while !(has_ended() && is_down(hands).await) {
        if began.elapsed() > commands.stop_within {
            return Err(format!(
                "the server still runs {:?} after `{}` ended",
                commands.stop_within,
                commands.stop.join(" ")
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Whether nobody listens where the server did.
async fn is_down(hands: &Hands) -> bool {
    let mut session = Session::new(options(&hands.config));
    matches!(session.open(QUICK).await, Err(ServerError::Closed(_)))
}

/// Starts the server, unless it runs, and waits until it answers.
async fn start(hands: &Hands) -> Result<(), String> {
    let commands = commands(hands)?;
    let said = hands.state_dir.join("start.log");
    let (began, mut tried) = (Instant::now(), None::<Instant>);
    let mut failed = String::new();
    loop {
        let mut session = Session::new(options(&hands.config));
        let error = match session.run(hands.dialect.ping(), QUICK).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if matches!(error, ServerError::Closed(_)) && tried.is_none_or(|at| at.elapsed() > AGAIN) {
            tried = Some(Instant::now());
            failed = command::run(&commands.start, &said, commands.start_within).await.err().unwrap_or_default();
        }
        if began.elapsed() > commands.start_within {
            return Err(format!(
                "the server does not answer {:?} after its start: {error} {failed}",
                commands.start_within
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What came with the copy and is not this server's is forgotten; what it holds is told to it; all of that is verified.
async fn settle(hands: &Hands, places: &Places, behind: Option<&Behind>, uuid: Option<&String>) -> Result<(), String> {
    let settled = async {
        let mut session = Session::new(options(&hands.config));
        let row = session.row(&hands.dialect.places(), QUICK).await?;
        let told = |name: &str| row.get(name).cloned().unwrap_or_default();
        let failed = |what: String| Err(Failed::Other(what));
        if std::fs::canonicalize(told("datadir")).ok().as_ref() != Some(&places.data) {
            return failed(format!("it was started on {}", told("datadir")));
        }
        if told("read_only") != "1" {
            return failed("it was started open to writes; see boots_closed in node.toml".to_owned());
        }
        if uuid.is_some_and(|before| *before == told("server_uuid")) {
            return failed("the copy has the server_uuid of the data from before".to_owned());
        }
        session.run(hands.dialect.forget_sources(), SLOW).await?;
        if let Some(sql) = behind.and_then(|it| hands.dialect.continue_behind(&it.state, &it.position)) {
            session.run(&sql, SLOW).await?;
        }
        let held = position(hands, &mut session).await?.executed;
        let wanted = behind.map(|behind| GtidSet::parse(hands.dialect.0, &behind.state)).transpose();
        match wanted {
            Ok(Some(wanted)) if held != wanted => failed(format!("it holds {held} instead of {wanted}")),
            Ok(None) if held.is_empty() => failed("the copy holds no transaction".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => failed(error.to_string()),
        }
    };
    settled.await.map_err(|error: Failed| format!("the copy was started and is not what it should be: {error}"))
}
