//! Which set-ups are left alone, and what is said of each.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;

use tasuki_node::support::{anonymous, elects_itself, other_manager, too_old, unsupported};
use tasuki_schemas::gtid::{Flavour, Origin};
use tasuki_schemas::observation::Identity;

fn row(columns: &[(&str, &str)]) -> BTreeMap<String, String> {
    columns.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn identity(flavour: Flavour, version: &str) -> Identity {
    Identity { flavour, version: version.to_owned(), origin: Origin::Mariadb(1), server_id: 1, binlog_index: None }
}

#[test]
fn versions_before_the_oldest_are_refused_with_the_oldest() {
    let refused = |flavour, version| too_old(&identity(flavour, version));
    for version in ["10.5.0-MariaDB", "10.11.19-MariaDB-log", "11.4.2-MariaDB-1:11.4.2+maria~deb12", "12.0.1-MariaDB"] {
        assert_eq!(refused(Flavour::Mariadb, version), None, "{version}");
    }
    for version in ["8.0.36", "8.4.3-PS", "9.7.4"] {
        assert_eq!(refused(Flavour::Mysql, version), None, "{version}");
    }
    let told = refused(Flavour::Mariadb, "10.4.34-MariaDB").unwrap();
    assert_eq!(told, "its version is 10.4.34-MariaDB; mariadb 10.5 or newer is needed, upgrade it");
    assert!(refused(Flavour::Mysql, "5.7.44-log").unwrap().contains("8.0"));
    assert!(refused(Flavour::Mysql, "garbage").unwrap().contains("not understood"));
}

#[test]
fn what_elects_for_itself_or_has_several_sources_is_refused() {
    assert!(elects_itself(&row(&[("wsrep_on", "ON")]), 0).unwrap().contains("Galera"));
    assert_eq!(elects_itself(&row(&[("wsrep_on", "OFF"), ("group_replication_group_name", "")]), 1), None);
    assert!(elects_itself(&row(&[("group_replication_group_name", "aaaa")]), 1).unwrap().contains("Group Replication"));
    assert_eq!(elects_itself(&row(&[]), 2).unwrap(), "it follows 2 sources; one is supported");
}

#[test]
fn transactions_that_may_have_no_gtid_are_refused_with_the_way_out() {
    let refused = |flavour, mode| anonymous(&identity(flavour, "8.4.3"), &row(&[("gtid_mode", mode)]));
    assert_eq!(refused(Flavour::Mysql, "ON"), None);
    assert_eq!(refused(Flavour::Mariadb, "OFF"), None);
    for mode in ["OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE"] {
        let told = refused(Flavour::Mysql, mode).unwrap();
        assert!(told.contains(&format!("gtid_mode = {mode})")) && told.contains("no restart"), "{told}");
    }
    let variables = row(&[("gtid_mode", "OFF")]);
    assert!(unsupported(&identity(Flavour::Mysql, "8.4.3"), &variables, 1, &[], "root").is_some());
}

#[test]
fn another_manager_is_told_by_account_program_or_lock() {
    let named = |names: &[&str]| names.iter().map(|name| row(&[("name", name)])).collect::<Vec<_>>();
    let nobody = [named(&["root", "app", "repl", "maxscale", "proxysql"]), named(&["mariadb"]), vec![row(&[])]];
    assert_eq!(other_manager(&nobody, "root"), None, "a proxy's account is no manager");
    assert_eq!(other_manager(&[], "root"), None, "an account without the right to look sees nobody");
    let said = |tables: &[Vec<BTreeMap<String, String>>]| other_manager(tables, "root").unwrap();
    let found = said(&[named(&["app", "orchestrator"]), Vec::new(), Vec::new()]);
    assert_eq!(found, "orchestrator manages it too (a connection with the account orchestrator); stop it there first");
    assert_eq!(other_manager(&[named(&["mha"])], "mha"), None, "the node's own account");
    assert!(said(&[named(&["mha"]), Vec::new(), Vec::new()]).starts_with("MHA"));
    assert!(
        said(&[Vec::new(), named(&["/usr/bin/replication-manager"]), Vec::new()]).starts_with("replication-manager")
    );
    assert!(said(&[Vec::new(), Vec::new(), vec![row(&[("mha", "17")])]]).contains("it holds its lock"));
    assert!(said(&[Vec::new(), Vec::new(), vec![row(&[("maxscale", "17")])]]).starts_with("MaxScale"));
}

#[test]
fn the_version_weighs_most() {
    let reason = unsupported(&identity(Flavour::Mysql, "5.7.44"), &row(&[("wsrep_on", "ON")]), 2, &[], "root");
    assert!(reason.unwrap().contains("5.7.44"));
}
