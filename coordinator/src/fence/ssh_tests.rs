use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Instant;

use super::*;

/// A program that is called like a server and works in a folder like one.
fn server(folder: &Path, name: &str) -> Child {
    let program = folder.join(name);
    if !program.exists() {
        fs::copy("/bin/sleep", &program).unwrap();
    }
    Command::new(program).arg("600").current_dir(folder).spawn().unwrap()
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("tasuki-kill-{}-{name}", std::process::id()));
    fs::create_dir_all(folder.join("mysql")).unwrap();
    folder
}

fn run(folder: &Path, pattern: &str) -> Output {
    Command::new("sh").args(["-c", SCRIPT, "fence"]).arg(folder).args(["2", pattern]).output().unwrap()
}

/// Only root may end other people's processes, and only as root can this be tried.
#[test]
fn the_server_of_one_folder_is_ended_and_kept_from_starting_and_no_other_is() {
    let (ours, other) = (folder("ours"), folder("other"));
    let nobody = listening("127.0.0.1:1".parse().unwrap());
    let (mut one, mut another, mut beside) =
        (server(&ours, "mariadbd"), server(&ours, "mysqld"), server(&other, "mysqld"));
    let output = run(&ours, &nobody);
    let said = last_words(&output.stdout);
    if rustix::process::geteuid().is_root() {
        assert_eq!((output.status.success(), said.as_str()), (true, "gone"));
        assert!(one.wait().unwrap().code().is_none() && another.wait().unwrap().code().is_none());
        let began = Instant::now();
        assert!(server(&ours, "mysqld").wait().unwrap().code().is_none(), "it was started again");
        assert!(began.elapsed() < Duration::from_secs(1));
    } else {
        assert!(!output.status.success() && said.contains("root"), "{said}");
        one.kill().unwrap();
        another.kill().unwrap();
    }
    assert!(beside.try_wait().unwrap().is_none(), "another server was ended");
    beside.kill().unwrap();
    for child in [&mut one, &mut another, &mut beside] {
        child.wait().unwrap();
    }
    fs::remove_dir_all(ours).unwrap();
    fs::remove_dir_all(other).unwrap();
}

/// Where nobody accepts a loss, a server is ended only if what it holds can be read.
#[test]
fn a_server_whose_binlog_is_not_there_to_be_read_is_left_alone() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let ours = folder("unreadable");
    let mut child = server(&ours, "mysqld");
    let nobody = listening("127.0.0.1:1".parse().unwrap());
    let fence = || {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "fence"]).arg(&ours).args(["1", &nobody, "readable", ""]);
        last_words(&command.output().unwrap().stdout)
    };
    let none = fence();
    assert!(none.contains("binlog_index"), "{none}");
    fs::write(ours.join("bin.index"), "./bin.000001\n").unwrap();
    let missing = fence();
    assert!(missing.contains("bin.000001 cannot be read") && missing.contains("was not ended"), "{missing}");
    fs::write(ours.join("bin.000001"), b"\xfdbin and more").unwrap();
    let encrypted = fence();
    assert!(encrypted.contains("encrypted") && child.try_wait().unwrap().is_none(), "{encrypted}");
    fs::write(ours.join("bin.000001"), b"\xfebin and more").unwrap();
    assert_eq!(fence(), "gone");
    child.wait().unwrap();
    fs::remove_dir_all(ours).unwrap();
}

#[test]
fn what_is_no_data_directory_or_still_listened_at_is_not_gone() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let pattern = listening(listener.local_addr().unwrap());
    let empty = std::env::temp_dir().join(format!("tasuki-empty-{}", std::process::id()));
    fs::create_dir_all(&empty).unwrap();
    let ours = folder("listened");
    let cases =
        [(empty.clone(), "no data directory"), (empty.join("none"), "no folder"), (ours.clone(), "is data_dir right?")];
    for (folder, words) in cases {
        let output = run(&folder, &pattern);
        let said = last_words(&output.stdout);
        let words = if rustix::process::geteuid().is_root() { words } else { "root" };
        assert!(!output.status.success() && said.contains(words), "{said}");
    }
    drop(listener);
    fs::remove_dir_all(empty).unwrap();
    fs::remove_dir_all(ours).unwrap();
}

#[test]
fn a_listener_is_known_by_its_line_of_the_kernel() {
    let matches = |address: &str, line: &str| {
        let pattern = listening(address.parse().unwrap());
        let found = Command::new("grep").args(["-qE", &pattern]).stdin(std::process::Stdio::piped()).spawn();
        let mut grep = found.unwrap();
        std::io::Write::write_all(grep.stdin.as_mut().unwrap(), line.as_bytes()).unwrap();
        drop(grep.stdin.take());
        grep.wait().unwrap().success()
    };
    let line = |local: &str| format!("   0: {local} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n");
    for local in ["0100000A:0CEA", "00000000:0CEA", "00000000000000000000000000000000:0CEA"] {
        assert!(matches("10.0.0.1:3306", &line(local)), "{local}");
    }
    for local in ["0200000A:0CEA", "0100000A:0CEB"] {
        assert!(!matches("10.0.0.1:3306", &line(local)), "{local}");
    }
    assert!(matches("[fd00::2]:3306", &line("000000FD000000000000000002000000:0CEA")));
}
