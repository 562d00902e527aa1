//! What can be known to fail is refused before anything is copied, each with its fix.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::statvfs;
use tasuki_bus::clock;
use tasuki_schemas::gtid::{Flavour, GtidSet};
use tasuki_schemas::id::NodeId;
use tasuki_schemas::reclone::DonorOffer;
use tokio::time::timeout;

use super::command;
use super::copy::{Behind, UNPACK, ask_offer};
use super::donor::{BACKUP, NO_PLUGIN};
use super::places::Places;
use crate::execute::{Failed, Hands, QUICK, position};
use crate::server::Session;

/// Beyond the donor's data: its log while it is copied, and what a server needs to start.
const SPARE: u64 = 256 << 20;
/// The donor's node walks through its data directory.
const OFFER: Duration = Duration::from_secs(30);

/// Everything that was found.
pub(super) struct Ground {
    pub(super) places: Places,
    pub(super) offer: DonorOffer,
    pub(super) uuid: Option<String>,
    flavour: Flavour,
    server_id: u32,
    /// What the server executed before.
    own: GtidSet,
}

impl Ground {
    /// What would be done, for people.
    pub(super) fn told(&self, donor: &NodeId) -> String {
        let megabytes = self.offer.bytes.div_ceil(1 << 20);
        format!("about {megabytes} MB of {donor} are copied beside {}", self.places.data.display())
    }

    /// Whether what the copy holds lets the server write again one day.
    pub(super) fn checked(&self, behind: Option<&Behind>) -> Result<(), String> {
        let Some(behind) = behind else { return Ok(()) };
        let state = GtidSet::parse(self.flavour, &behind.state).map_err(|error| error.to_string())?;
        repeats(&self.own, self.server_id, &state)
    }
}

/// Looks at the server, its host and its donor.
pub(super) async fn look(hands: &Hands, session: &mut Session, donor: &NodeId) -> Result<Ground, Failed> {
    let other = Failed::Other;
    if hands.reclone.commands.is_none() {
        let fix =
            "its node cannot stop and start it: set stop_command and start_command under [server] in its node.toml";
        return Err(other(fix.to_owned()));
    }
    let dialect = hands.dialect;
    if dialect.0 == Flavour::Mariadb
        && let Some(lacking) = [BACKUP, UNPACK].into_iter().find(|program| command::find(program).is_none())
    {
        return Err(other(format!("{lacking} is not installed on its host; install the package mariadb-backup")));
    }
    let row = session.row(&dialect.places(), QUICK).await?;
    let told = |name: &str| row.get(name).cloned().unwrap_or_default();
    if told("read_only") != "1" {
        return Err(other("it is open to writes".to_owned()));
    }
    if dialect.0 == Flavour::Mysql && told("clone_plugin") != "ACTIVE" {
        return Err(other(NO_PLUGIN.to_owned()));
    }
    let datadir = PathBuf::from(told("datadir"));
    let places = Places::beside(&datadir, clock::wall_ms() / 1000).map_err(other)?;
    for name in LOGS.into_iter().chain(DIRECTORIES) {
        inside(&places.data, name, &told(name)).map_err(other)?;
    }
    let own = position(hands, session).await?.executed;
    let offer = timeout(OFFER, ask_offer(hands, donor)).await;
    let offer = offer
        .map_err(|_| other(format!("the node of {donor} does not answer in time")))
        .and_then(|offer| offer.map_err(other))?;
    if dialect.0 == Flavour::Mysql && offer.version != told("version") {
        let (here, there) = (told("version"), offer.version);
        return Err(other(format!("MySQL clones between equal versions alone: here runs {here}, on {donor} {there}")));
    }
    let server_id = told("server_id");
    let server_id = server_id
        .parse()
        .map_err(|_| other(format!("its server_id {server_id:?} is no number that can be compared")))?;
    if dialect.0 == Flavour::Mariadb {
        repeats(&own, server_id, &offer.executed).map_err(other)?;
    }
    room(&places, offer.bytes).map_err(other)?;
    let uuid = row.get("server_uuid").cloned();
    Ok(Ground { places, offer, uuid, flavour: dialect.0, server_id, own })
}

const LOGS: [&str; 2] = ["log_bin_basename", "relay_log_basename"];
const DIRECTORIES: [&str; 3] = ["innodb_data_home_dir", "innodb_log_group_home_dir", "innodb_undo_directory"];

/// Whatever lies elsewhere would be taken for the copy's own.
fn inside(data: &Path, setting: &str, value: &str) -> Result<(), String> {
    let path = data.join(value);
    let folder = if LOGS.contains(&setting) { path.parent().unwrap_or(data) } else { &path };
    let real = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    if real.starts_with(data) {
        return Ok(());
    }
    Err(format!(
        "its {setting} lies at {value}, outside of its data directory {}, and would meet the copy's data; set it to a name inside",
        data.display()
    ))
}

/// A server that writes again continues the sequence of its domain. Where the copy is not beyond what it wrote before, its
/// next writes would have the names of others that were quarantined. MySQL's copies have names of their own.
fn repeats(own: &GtidSet, server_id: u32, copy: &GtidSet) -> Result<(), String> {
    let (GtidSet::Mariadb(own), GtidSet::Mariadb(copy)) = (own, copy) else { return Ok(()) };
    let reached = |domain: u32| copy.iter().filter(|(stream, _)| stream.domain == domain).map(|(_, at)| at).max();
    let short = own.iter().filter(|(stream, _)| stream.server == server_id).find_map(|(stream, wrote)| {
        let reached = reached(stream.domain).unwrap_or(0);
        (reached < wrote).then_some((stream.domain, wrote, reached))
    });
    match short {
        None => Ok(()),
        Some((domain, wrote, reached)) => Err(format!(
            "under its server_id {server_id} it wrote up to {domain}-{server_id}-{wrote}, and the donor's domain {domain} has come to {reached} only: its next writes would repeat GTIDs; wait until more was written, or give it another server_id"
        )),
    }
}

/// Both the copy and the data from before need their place.
fn room(places: &Places, bytes: u64) -> Result<(), String> {
    let parent = places.data.parent().unwrap_or(&places.data);
    let found = statvfs(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let needed = bytes.saturating_add(bytes / 10).saturating_add(SPARE);
    if free >= needed {
        return Ok(());
    }
    let [free, needed] = [free, needed].map(|bytes| bytes >> 20);
    let before = before(places);
    let fix = if before.is_empty() { String::new() } else { format!("; {before} of earlier re-clones may be deleted") };
    Err(format!("{} has {free} MB free, and {needed} MB are needed{fix}", parent.display()))
}

/// Directories that earlier re-clones put aside.
fn before(places: &Places) -> String {
    let (Some(parent), Some(name)) = (places.data.parent(), places.data.file_name()) else { return String::new() };
    let prefix = format!("{}.before-reclone-", name.to_string_lossy());
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let names = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    names.map(|entry| entry.path().display().to_string()).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> GtidSet {
        GtidSet::parse(Flavour::Mariadb, text).unwrap()
    }

    #[test]
    fn a_server_never_writes_the_names_of_its_quarantined_transactions_again() {
        // It wrote 101 and 102 that nobody has; the others went on from 100.
        let own = set("0-1-102");
        let short = repeats(&own, 1, &set("0-1-100,0-2-101")).unwrap_err();
        assert!(short.contains("0-1-102") && short.contains("another server_id"), "{short}");
        assert_eq!(repeats(&own, 1, &set("0-1-100,0-2-102")), Ok(()));
        assert_eq!(repeats(&own, 5, &set("0-1-100")), Ok(()));
        assert!(repeats(&set("3-1-7"), 1, &set("0-2-102")).is_err());
    }

    #[test]
    fn logs_and_tablespaces_outside_the_data_directory_are_refused_with_their_setting() {
        let data = std::env::temp_dir().canonicalize().unwrap();
        for (setting, value) in
            [("innodb_data_home_dir", ""), ("innodb_undo_directory", "./"), ("log_bin_basename", "bin")]
        {
            assert_eq!(inside(&data, setting, value), Ok(()), "{setting}");
        }
        let far = inside(&data, "log_bin_basename", "/var/log/mysql/bin").unwrap_err();
        assert!(far.contains("log_bin_basename lies at /var/log/mysql/bin"), "{far}");
        assert!(inside(&data, "innodb_undo_directory", "/var/undo").is_err());
    }
}
