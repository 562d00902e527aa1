//! The systemd units: systemd itself reads them, and finds nothing to say.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tasuki_tests::lab::tools;

/// Copies of the units in a folder of their own; their programs are anything that is there.
fn verified(units: &[(&str, &str)], drop_in: Option<(&str, &str)>) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("units-{}", units.first().unwrap().0));
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).unwrap();
    let program = tools::program("true").unwrap();
    for name in ["tasuki-node", "tasuki-coordinator", "mariadbd"] {
        symlink(&program, folder.join(name)).unwrap();
    }
    let here = |text: &str| text.replace("/usr/bin/", &format!("{}/", folder.display()));
    for (name, text) in units {
        let text = if text.contains('\n') { (*text).to_owned() } else { fs::read_to_string(root.join(text)).unwrap() };
        fs::write(folder.join(name), here(&text)).unwrap();
    }
    if let Some((unit, file)) = drop_in {
        let place = folder.join(format!("{unit}.d"));
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("hand-over.conf"), here(&fs::read_to_string(root.join(file)).unwrap())).unwrap();
    }
    let output = Command::new(tools::program("systemd-analyze").unwrap())
        .args(["verify", "--man=no"])
        .args(units.iter().map(|(name, _)| folder.join(name)))
        .output()
        .unwrap();
    // Of an unknown setting it only warns.
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { said } else { format!("{}: {said}", output.status) }
}

#[test]
fn systemd_has_nothing_to_say_against_the_units() {
    assert_eq!(verified(&[("tasuki-node.service", "node/systemd/tasuki-node.service")], None), "");
    assert_eq!(verified(&[("tasuki-coordinator.service", "coordinator/systemd/tasuki-coordinator.service")], None), "");
}

#[test]
fn a_database_server_hands_over_before_its_unit_stops_it() {
    let server = "[Unit]\nDescription=MariaDB\n[Service]\nType=simple\nExecStart=/usr/bin/mariadbd\n";
    let units = [("mariadb.service", server), ("tasuki-node.service", "node/systemd/tasuki-node.service")];
    assert_eq!(verified(&units, Some(("mariadb.service", "node/systemd/hand-over.conf"))), "");
    let wrong = format!("{server}ExecStopp=/usr/bin/mariadbd\n");
    assert!(verified(&[("wrong.service", &wrong)], None).contains("ExecStopp"), "nothing is looked at");
}
