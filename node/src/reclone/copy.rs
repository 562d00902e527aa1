//! The recipient's side: a copy of the donor's data, made whole in the workshop. The server itself is left as it is.

use std::io;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tasuki_bus::BulkStream;
use tasuki_schemas::gtid::{Flavour, GtidSet, mariadb};
use tasuki_schemas::id::{NodeId, ProgramId};
use tasuki_schemas::reclone::{DonorAsk, DonorEnd, DonorOffer};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::donor::BACKUP;
use super::places::Places;
use super::{command, wire};
use crate::execute::{Hands, QUICK};
use crate::server::{Session, options};

/// The program that unpacks MariaDB's stream.
pub(super) const UNPACK: &str = "mbstream";
/// The longest that a copy may take.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// MySQL's clone must get on within this.
const STALLED: Duration = Duration::from_secs(600);
/// Making MariaDB's copy consistent reads the log that was written meanwhile.
const PREPARE: Duration = Duration::from_secs(6 * 3600);
/// What was given up goes away within this.
const ENDS: Duration = Duration::from_secs(60);

/// How far a copy is, for whoever tells it.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) bytes: AtomicU64,
    pub(super) preparing: std::sync::atomic::AtomicBool,
}

/// Asks the donor's node what there is.
pub(super) async fn ask_offer(hands: &Hands, donor: &NodeId) -> Result<DonorOffer, String> {
    ask(hands, donor, DonorAsk::Offer).await.map(|(offer, _)| offer)
}

async fn ask(hands: &Hands, donor: &NodeId, what: DonorAsk) -> Result<(DonorOffer, BulkStream), String> {
    let failed = |error: io::Error| format!("the node of {donor} gives no copy: {error}");
    let mut stream = hands.reclone.dialler.dial(&ProgramId::from(donor)).await.map_err(failed)?;
    wire::say(&mut stream, &what).await.map_err(failed)?;
    let offer: DonorOffer = wire::hear(&mut stream).await.map_err(failed)?;
    match offer.refusal {
        Some(reason) => Err(format!("{donor} gives no copy: {reason}")),
        None => Ok((offer, stream)),
    }
}

/// Makes the copy. What MariaDB's holds comes back: its binlog state, which no file of the copy has whole.
pub(super) async fn copy(
    hands: &Hands,
    places: &Places,
    donor: &NodeId,
    address: SocketAddr,
    meter: &Meter,
) -> Result<Option<Behind>, String> {
    match hands.dialect.0 {
        Flavour::Mysql => clone(hands, places, address, meter).await.map(|()| None),
        Flavour::Mariadb => backup(hands, places, donor, meter).await.map(Some),
    }
}

/// Where MariaDB's copy goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Behind {
    /// For `gtid_binlog_state`: of each domain the newest last, as the server wants it.
    pub(super) state: String,
    /// For `gtid_slave_pos`.
    pub(super) position: String,
}

async fn backup(hands: &Hands, places: &Places, donor: &NodeId, meter: &Meter) -> Result<Behind, String> {
    let named = |error: io::Error| format!("{}: {error}", places.fresh.display());
    std::fs::create_dir(&places.fresh).map_err(named)?;
    let (offer, mut stream) = ask(hands, donor, DonorAsk::Backup).await?;
    let said = hands.state_dir.join("reclone.log");
    let unpack = command::find(UNPACK).ok_or_else(|| format!("{UNPACK} is not installed"))?;
    let failed = |error: io::Error| format!("{UNPACK}: {error}");
    let mut child = command::quiet(&unpack, &said)
        .map_err(failed)?
        .args(["-x", "-C"])
        .arg(&places.fresh)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut into = child.stdin.take().ok_or("its input is not to be had")?;
    let lost = |error: io::Error| format!("the stream from {donor} was cut: {error}");
    loop {
        let piece = wire::piece(&mut stream).await.map_err(lost)?;
        if piece.is_empty() {
            break;
        }
        let written = timeout(STALLED, into.write_all(&piece)).await.map_err(|_| format!("{UNPACK} takes nothing"))?;
        written.map_err(|error| format!("{UNPACK}: {error}: {}", command::end_of(&said)))?;
        meter.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
    let end: DonorEnd = wire::hear(&mut stream).await.map_err(lost)?;
    drop(into);
    if let Some(failure) = end.failure {
        return Err(format!("the backup on {donor} failed: {failure}"));
    }
    let status = timeout(STALLED, child.wait()).await.map_err(|_| format!("{UNPACK} does not end"))?.map_err(failed)?;
    if !status.success() {
        return Err(format!("{UNPACK} ended with {status}: {}", command::end_of(&said)));
    }
    meter.preparing.store(true, Ordering::Relaxed);
    let program = command::find(BACKUP).ok_or_else(|| format!("{BACKUP} is not installed"))?;
    let words =
        [program.display().to_string(), "--prepare".to_owned(), format!("--target-dir={}", places.fresh.display())];
    command::run(&words, &said, PREPARE).await?;
    behind(places, &offer.executed, &end.executed)
}

/// The backup tells its last transaction of each domain; what the donor held before and after tells the other servers' of
/// the same domain, which were all written before that one if their sequences are lower.
fn behind(places: &Places, before: &GtidSet, after: &GtidSet) -> Result<Behind, String> {
    let names = ["mariadb_backup_binlog_info", "xtrabackup_binlog_info"];
    let text = names.iter().find_map(|name| std::fs::read_to_string(places.fresh.join(name)).ok());
    let text = text.ok_or("the backup does not tell its position: does its server write a binlog?")?;
    let position = text.split_whitespace().nth(2).unwrap_or_default().to_owned();
    merged(&position, before, after)
}

fn merged(position: &str, before: &GtidSet, after: &GtidSet) -> Result<Behind, String> {
    let last = mariadb::GtidSet::parse(position).map_err(|error| error.to_string())?;
    let (GtidSet::Mariadb(before), GtidSet::Mariadb(after)) = (before, after) else {
        return Err("the donor is no MariaDB".to_owned());
    };
    let newest = |domain: u32| last.iter().filter(|(stream, _)| stream.domain == domain).map(|(_, at)| at).max();
    let mut state = last.clone();
    for (stream, at) in before.iter().chain(after.iter()) {
        if newest(stream.domain).is_some_and(|newest| at <= newest) {
            state.insert(stream.domain, stream.server, at);
        }
    }
    let mut streams: Vec<_> = state.iter().collect();
    streams.sort_by_key(|(stream, at)| (stream.domain, *at));
    let streams = streams.into_iter().map(|(stream, at)| format!("{}-{}-{at}", stream.domain, stream.server));
    Ok(Behind { state: streams.collect::<Vec<_>>().join(","), position: last.to_string() })
}

/// MySQL's own clone, in a session of its own, watched by another one.
async fn clone(hands: &Hands, places: &Places, address: SocketAddr, meter: &Meter) -> Result<(), String> {
    let dialect = hands.dialect;
    let mut session = Session::new(options(&hands.config));
    session.run(&dialect.allow_donor(address), QUICK).await.map_err(|error| error.to_string())?;
    let sql = dialect.clone_from(hands.source(address), &places.fresh.display().to_string());
    tokio::select! {
        cloned = session.run(&sql, LONGEST) => cloned.map_err(|error| {
            format!("{error}; the replication account needs BACKUP_ADMIN on {address}, and the node's own CLONE_ADMIN here")
        }),
        stalled = watch(hands, meter) => Err(stalled),
    }
}

/// Ends only when the clone does not get on.
async fn watch(hands: &Hands, meter: &Meter) -> String {
    let mut session = Session::new(options(&hands.config));
    let (mut seen, mut since) = (String::new(), Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if let Ok(tables) = session.tables(hands.dialect.clone_progress(), QUICK).await {
            let number = |text: Option<&String>| text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
            let copied = tables.iter().flatten().map(|row| number(row.get("data"))).sum::<u64>();
            meter.bytes.store(copied, Ordering::Relaxed);
            let now = format!("{tables:?}");
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        if since.elapsed() > STALLED {
            return format!("the clone did not get on for {STALLED:?}");
        }
    }
}

/// A clone whose session was given up goes on in the server: it is ended and seen gone. Nothing to do on MariaDB, whose
/// programs end with the node.
pub(super) async fn end_clones(hands: &Hands) -> Result<(), String> {
    if hands.dialect.0 == Flavour::Mariadb {
        return Ok(());
    }
    let began = Instant::now();
    let mut session = Session::new(options(&hands.config));
    loop {
        let tables = match session.tables(hands.dialect.clones(), QUICK).await {
            Ok(tables) => tables,
            // With its server a clone is gone.
            Err(crate::server::ServerError::Closed(_)) => return Ok(()),
            Err(error) if began.elapsed() > ENDS => return Err(error.to_string()),
            Err(_) => Vec::new(),
        };
        let ids: Vec<u64> = tables.iter().flatten().filter_map(|row| row.get("id")?.parse().ok()).collect();
        if ids.is_empty() && session.is_open() {
            return Ok(());
        }
        for id in ids {
            // One that ended meanwhile is an error of no consequence.
            let _ = session.run(&hands.dialect.kill(id), QUICK).await;
        }
        if began.elapsed() > ENDS {
            return Err(
                "a clone that was given up does not end; its connection in the server has to be killed".to_owned()
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> GtidSet {
        GtidSet::parse(Flavour::Mariadb, text).unwrap()
    }

    #[test]
    fn a_copy_holds_what_other_servers_wrote_before_its_last_transaction() {
        let behind = merged("0-2-150", &set("0-1-100,0-2-140"), &set("0-1-100,0-2-170")).unwrap();
        assert_eq!(behind, Behind { state: "0-1-100,0-2-150".to_owned(), position: "0-2-150".to_owned() });
    }

    #[test]
    fn what_was_written_after_the_copy_is_not_in_it() {
        // Server 1 wrote on behind the copy, and domain 5 began behind it.
        let behind = merged("0-2-150", &set("0-1-100,0-2-140"), &set("0-1-160,0-2-155,5-1-1")).unwrap();
        assert_eq!(behind.state, "0-1-100,0-2-150");
        // A failover before the copy's end, seen only afterwards.
        let behind = merged("0-3-150,4-1-9", &set("0-2-140,4-1-8"), &set("0-2-145,0-3-160,4-1-9")).unwrap();
        assert_eq!(behind.state, "0-2-145,0-3-150,4-1-9");
    }

    #[test]
    fn the_newest_of_a_domain_comes_last() {
        assert_eq!(merged("0-1-4", &set("0-7-3"), &set("0-7-3,0-1-4")).unwrap().state, "0-7-3,0-1-4");
    }
}
