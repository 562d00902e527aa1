use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::*;

#[test]
fn a_host_tells_its_files_with_their_sizes_and_what_is_wrong_with_them() {
    let printed = b"list /var/lib/mysql/bin.index\nup 4711\nmissing /var/lib/mysql/bin.000001\n\
        refused /var/lib/mysql/bin.000002\nfile 1024 1790000000 /var/lib/my sql/bin.000003\nlisted\n";
    let listing = listing(printed).unwrap();
    assert_eq!((listing.list.as_str(), listing.up), ("/var/lib/mysql/bin.index", Duration::from_secs(4711)));
    let states: Vec<State> = listing.files.iter().map(|file| file.state.clone()).collect();
    let there = State::There { size: 1024, changed: "1790000000".to_owned() };
    assert_eq!(states, [State::Missing, State::Refused, there]);
    assert_eq!(listing.files[2].path, "/var/lib/my sql/bin.000003");
}

#[test]
fn what_a_host_prints_otherwise_is_not_believed() {
    for printed in
        ["", "list /a\nlisted\n", "list /a\nup x\nlisted\n", "list /a\nup 1\nfile 12\nlisted\n", "list /a\nwell\n"]
    {
        assert!(listing(printed.as_bytes()).is_none(), "{printed:?}");
    }
    assert!(listing(b"list /\xff\nup 1\nlisted\n").is_none());
}

/// A data directory with one binlog file, and what `list.sh` says of it as root. Others are refused at its beginning.
fn said(name: &str, change: impl FnOnce(&Path)) -> (PathBuf, Output) {
    let folder = std::env::temp_dir().join(format!("tasuki-list-{}-{name}", std::process::id()));
    fs::create_dir_all(folder.join("mysql")).unwrap();
    fs::write(folder.join("bin.000002"), b"\xfebin").unwrap();
    fs::write(folder.join("bin.index"), "./bin.000001\n./bin.000002\n").unwrap();
    fs::write(folder.join("db1-relay-bin.index"), "./db1-relay-bin.000001\n").unwrap();
    change(&folder);
    let output = Command::new("sh").args(["-c", LIST, "list"]).arg(&folder).args(["", "1"]).output().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    (folder, output)
}

#[test]
fn the_list_of_the_binlog_is_found_and_its_files_told() {
    let (folder, output) = said("sound", |_| {});
    if !rustix::process::geteuid().is_root() {
        assert!(last_words(&output.stdout).contains("log in as root"));
        return;
    }
    assert!(output.status.success() && last_words(&output.stdout) == "listed", "{output:?}");
    let listing = listing(&output.stdout).unwrap();
    assert_eq!(listing.list, folder.join("bin.index").display().to_string());
    assert!(listing.up > Duration::ZERO);
    let path = |name: &str| folder.join(name).display().to_string();
    assert_eq!(listing.files[0], Listed { path: path("bin.000001"), state: State::Missing });
    assert_eq!(listing.files[1].path, path("bin.000002"));
    assert!(matches!(listing.files[1].state, State::There { size: 4, .. }));
}

#[test]
fn a_list_that_nobody_can_tell_is_asked_for() {
    let without = said("without", |folder| fs::remove_file(folder.join("bin.index")).unwrap());
    let twice = said("twice", |folder| fs::write(folder.join("old.index"), "./old.000001\n").unwrap());
    for (_, output) in [without, twice] {
        let words = last_words(&output.stdout);
        let wanted = if rustix::process::geteuid().is_root() { "binlog_index" } else { "root" };
        assert!(!output.status.success() && words.contains(wanted), "{words}");
    }
}
