//! Scheduled events move with the primary. Servers disable on a replica every event that comes by replication, whether it ran
//! on the source or not. So the primary's node records in a replicated table which ones are enabled there, and whether the
//! scheduler runs; the next primary's node enables exactly those.

use std::collections::BTreeSet;
use std::time::Duration;

use mysql_async::Opts;
use tasuki_node_core::statements::Dialect;
use tasuki_node_core::statements::events::Scheduled;
use tokio::sync::watch;

use crate::server::{ServerError, Session};
use crate::serving::Serving;

/// Between two looks while the server serves.
const EVERY: Duration = Duration::from_secs(2);
/// A look must be answered within this.
const LOOK: Duration = Duration::from_secs(1);
/// What is written waits for acknowledgements as clients' writes do.
const WRITE: Duration = Duration::from_secs(60);

/// Names of an event: its database and its own.
type Names = (String, String);

/// Why a round ended early.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Halted {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("the list in tasuki.events cannot be read ({0}); set it right, or delete its row")]
    Unreadable(String),
}

/// What runs on a primary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Running {
    scheduler: bool,
    enabled: BTreeSet<Names>,
}

/// What the server shows.
#[derive(Debug)]
struct Shown {
    scheduler: String,
    enabled: BTreeSet<Names>,
    asleep: Vec<Scheduled>,
}

/// Enables what is recorded when its server begins to serve, and records what is enabled while it does.
pub async fn keep(options: Opts, dialect: Dialect, mut serving: watch::Receiver<Serving>) {
    let mut told = None;
    let mut restored = None;
    loop {
        let word = *serving.borrow_and_update();
        if word.on && word.armed {
            let ended = tokio::select! {
                ended = round(&options, dialect, restored != Some(word.turn)) => ended,
                changed = serving.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            };
            let failed = match ended {
                Ok(()) => {
                    restored = Some(word.turn);
                    None
                }
                Err(error) => Some(error),
            };
            if let Some(error) = failed.as_ref().filter(|error| told.as_ref() != Some(*error)) {
                tracing::warn!(%error, "scheduled events are neither recorded nor enabled; this is tried again");
            }
            told = failed;
        }
        tokio::select! {
            changed = serving.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(EVERY), if word.on => {}
        }
    }
}

async fn round(options: &Opts, dialect: Dialect, restore: bool) -> Result<(), Halted> {
    let mut session = Session::new(options.clone());
    let mut shown = look(&mut session, dialect).await?;
    let before = recorded(&mut session, dialect).await?;
    if restore && let Some(before) = &before {
        wake(options, dialect, before, &shown).await?;
        shown = look(&mut session, dialect).await?;
    } else if restore && !shown.asleep.is_empty() {
        tracing::warn!(
            events = shown.asleep.len(),
            "events are disabled here, and which of them ran on the primary before was not recorded; enable those that should run"
        );
    }
    let asleep = shown.asleep.iter().map(|event| (event.database.clone(), event.name.clone()));
    let asleep: BTreeSet<Names> = asleep.collect();
    let before = before.unwrap_or_default();
    // What could not be enabled stays on the list.
    let enabled = shown.enabled.into_iter().chain(before.enabled.intersection(&asleep).cloned()).collect();
    let now = Running { scheduler: shown.scheduler == "ON", enabled };
    // A scheduler without events is not worth a row.
    if now == before || (now.enabled.is_empty() && before == Running::default()) {
        return Ok(());
    }
    let list = serde_json::to_string(&now.enabled).map_err(|error| Halted::Unreadable(error.to_string()))?;
    let record = dialect.record_events(now.scheduler, &list);
    if let Err(error) = session.run_to_the_end(&record, WRITE).await {
        if !error.has_no_table() {
            return Err(error.into());
        }
        session.run_to_the_end(&dialect.make_events_table(), WRITE).await?;
        session.run_to_the_end(&record, WRITE).await?;
    }
    Ok(())
}

async fn look(session: &mut Session, dialect: Dialect) -> Result<Shown, ServerError> {
    let tables = session.tables(dialect.events(), LOOK).await?;
    let scheduler = tables.first().and_then(|table| table.first()?.get("scheduler").cloned()).unwrap_or_default();
    let (mut enabled, mut asleep) = (BTreeSet::new(), Vec::new());
    for row in tables.get(1).into_iter().flatten() {
        let field = |name: &str| row.get(name).cloned().unwrap_or_default();
        let event = Scheduled {
            database: field("db"),
            name: field("name"),
            definer: field("definer"),
            sql_mode: field("sql_mode"),
            time_zone: field("time_zone"),
            client: field("client"),
            collation: field("collation"),
        };
        // The other word differs between versions.
        match field("status").as_str() {
            "ENABLED" => drop(enabled.insert((event.database, event.name))),
            _ => asleep.push(event),
        }
    }
    Ok(Shown { scheduler, enabled, asleep })
}

/// The record; `None` where there never was one.
async fn recorded(session: &mut Session, dialect: Dialect) -> Result<Option<Running>, Halted> {
    let row = match session.tables(dialect.recorded_events(), LOOK).await {
        Ok(tables) => tables.into_iter().flatten().next(),
        Err(error) if error.has_no_table() => None,
        Err(error) => return Err(error.into()),
    };
    let Some(row) = row else { return Ok(None) };
    let list = row.get("enabled").map_or("", String::as_str);
    let enabled = serde_json::from_str(list).map_err(|error| Halted::Unreadable(error.to_string()))?;
    Ok(Some(Running { scheduler: row.get("scheduler").is_some_and(|word| word == "1"), enabled }))
}

/// Enables what is recorded and asleep here, each in a session of its own settings; then starts the scheduler.
async fn wake(options: &Opts, dialect: Dialect, before: &Running, shown: &Shown) -> Result<(), ServerError> {
    let (mut session, mut woken) = (Session::new(options.clone()), 0_usize);
    for event in &shown.asleep {
        if !before.enabled.contains(&(event.database.clone(), event.name.clone())) {
            continue;
        }
        let refused = match event.is_sayable() {
            false => "its name cannot be said in its own character set".to_owned(),
            true => match session.run_to_the_end(&dialect.enable_event(event), WRITE).await {
                Ok(()) => {
                    woken += 1;
                    continue;
                }
                Err(ServerError::Refused { code, text }) => format!("error {code}: {text}"),
                Err(error @ (ServerError::Closed(_) | ServerError::Silent(_) | ServerError::Broken(_))) => {
                    return Err(error);
                }
            },
        };
        let Scheduled { database, name, .. } = event;
        tracing::warn!(
            database,
            name,
            refused,
            "an event that ran on the primary before stays disabled here; enable it"
        );
    }
    if woken > 0 {
        tracing::info!(events = woken, "events that ran on the primary before were enabled");
    }
    if !before.scheduler || shown.scheduler == "ON" {
        return Ok(());
    }
    match session.run(dialect.start_scheduler(), LOOK).await {
        Err(error @ ServerError::Refused { .. }) => {
            tracing::warn!(%error, "the event scheduler ran on the primary before and cannot be started here; start it");
            Ok(())
        }
        other => other,
    }
}
