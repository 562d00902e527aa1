//! Why Tasuki must not manage a server: it is observed then, and never acted on.

use std::collections::BTreeMap;

use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::observation::Identity;

use crate::server::Table;

type Row = BTreeMap<String, String>;

/// The oldest version of each flavour whose statements and semi-sync Tasuki knows.
const fn oldest(flavour: Flavour) -> (u32, u32) {
    match flavour {
        Flavour::Mariadb => (10, 5),
        Flavour::Mysql => (8, 0),
    }
}

/// Accounts and program names that other managers connect with, by their own documentation, and the manager's name. A
/// proxy's account (`MaxScale`, `ProxySQL`) is none: such a proxy may well follow `read_only` beside Tasuki.
const MANAGERS: [(&str, &str); 8] = [
    ("orchestrator", "orchestrator"),
    ("orc_client_user", "orchestrator"),
    ("vtorc", "VTOrc"),
    ("mha", "MHA"),
    ("replication-manager", "replication-manager"),
    ("replication_manager", "replication-manager"),
    ("repman", "replication-manager"),
    ("mmm_agent", "MMM"),
];

/// Versions before the oldest that is supported, or that cannot be read.
#[must_use]
pub fn too_old(identity: &Identity) -> Option<String> {
    let (least_major, least_minor) = oldest(identity.flavour);
    let mut numbers = identity.version.split(['.', '-']).map(|part| part.parse::<u32>().ok());
    let version = numbers.next().flatten().zip(numbers.next().flatten());
    let flavour = identity.flavour;
    match version {
        Some(version) if version >= (least_major, least_minor) => None,
        Some(_) => Some(format!(
            "its version is {}; {flavour} {least_major}.{least_minor} or newer is needed, upgrade it",
            identity.version
        )),
        None => Some(format!("its version {:?} is not understood", identity.version)),
    }
}

/// A MySQL whose transactions may have no GTID: its sets would not show them, and what is not shown would be lost. MariaDB's
/// transactions have one however its replicas follow.
#[must_use]
pub fn anonymous(identity: &Identity, variables: &Row) -> Option<String> {
    let mode = variables.get("gtid_mode").filter(|_| identity.flavour == Flavour::Mysql)?;
    (!mode.eq_ignore_ascii_case("ON")).then(|| {
        format!(
            "its transactions may have no GTID (gtid_mode = {mode}), so that nobody could show what was acknowledged; set \
             enforce_gtid_consistency = ON, then gtid_mode to OFF_PERMISSIVE, ON_PERMISSIVE and ON on all servers in turn, which \
             needs no restart"
        )
    })
}

/// What elects for itself, or has more than one source.
#[must_use]
pub fn elects_itself(variables: &Row, channels: usize) -> Option<String> {
    let on = |name: &str| variables.get(name).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("on"));
    if on("wsrep_on") {
        return Some("it is a Galera node (wsrep_on), whose cluster elects for itself".to_owned());
    }
    if variables.get("group_replication_group_name").is_some_and(|name| !name.is_empty()) {
        return Some("it is a member of Group Replication, which elects for itself".to_owned());
    }
    (channels > 1).then(|| format!("it follows {channels} sources; one is supported"))
}

/// Another manager that is connected: by account, by program name, or by the lock that it holds. The tables are those of
/// the statement `managers`; `own` is the node's own account, which may be one that a former manager had.
#[must_use]
pub fn other_manager(tables: &[Table], own: &str) -> Option<String> {
    let told = |name: &str, by: String| format!("{name} manages it too ({by}); stop it there first");
    let rows = |at: usize| tables.get(at).map(Vec::as_slice).unwrap_or_default();
    for (table, what) in [(0, "account"), (1, "program")] {
        for row in rows(table) {
            let Some(found) = row.get("name").filter(|name| *name != own).map(|name| name.to_ascii_lowercase()) else {
                continue;
            };
            let file = found.rsplit('/').next().unwrap_or_default();
            if let Some((_, manager)) = MANAGERS.iter().find(|(name, _)| *name == file) {
                return Some(told(manager, format!("a connection with the {what} {found}")));
            }
        }
    }
    let locks = rows(2).first()?;
    let holder = [("mha", "MHA"), ("maxscale", "MaxScale's monitor")];
    let (_, manager) = holder.iter().find(|(column, _)| locks.contains_key(*column))?;
    Some(told(manager, "it holds its lock".to_owned()))
}

/// Every reason in the order of weight; the first is told.
#[must_use]
pub fn unsupported(
    identity: &Identity,
    variables: &Row,
    channels: usize,
    managers: &[Table],
    own: &str,
) -> Option<String> {
    too_old(identity)
        .or_else(|| elects_itself(variables, channels))
        .or_else(|| anonymous(identity, variables))
        .or_else(|| other_manager(managers, own))
}
