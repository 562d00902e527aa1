//! What only a dead primary's binlog holds is brought to the new one, however much it is.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "helpers of tests are tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tasuki_schemas::event::{EventBody, StageName};
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::server::{Extra, Server};
use tasuki_tests::lab::tail::{TABLE, UNSYNCED, load, rows, until_alone};
use tasuki_tests::lab::tools::{self, Daemon};
use tasuki_tests::lab::waiting::until_slowly;
use tasuki_tests::lab::writer::Writers;
use tasuki_tests::lab::{Lab, Options, Outside, drill};

/// Enough to be read, delivered and applied for seconds; `make faults ROW=rescued` takes fifty thousand.
const TRANSACTIONS: u64 = 15_000;
/// What a rescue may take besides applying: on a machine of its own less than three seconds (seen: 1.4 to 2.4 s), but a test
/// has others beside it.
const GAP: Duration = Duration::from_secs(9);
/// The longest that a rescue of this test may take.
const RESCUED: Duration = Duration::from_secs(120);

/// Each flavour's own reader of binlogs. A MySQL that was unpacked beside the system runs with its own libraries.
fn reader(flavour: Flavour) -> Command {
    let Some(base) = Daemon::find(flavour).unwrap().basedir else {
        return Command::new(tools::program("mariadb-binlog").unwrap());
    };
    let libraries = ["lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"].map(|name| base.join(name));
    let own = libraries.iter().find(|folder| folder.join("libc.so.6").exists());
    let loader = own.and_then(|folder| {
        let mut names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        Some((folder, names.find(|path| path.display().to_string().contains("/ld-linux-"))?))
    });
    match loader {
        Some((folder, loader)) => {
            let mut command = Command::new(loader);
            command.arg("--library-path").arg(folder).arg(base.join("bin/mysqlbinlog"));
            command
        }
        None => Command::new(base.join("bin/mysqlbinlog")),
    }
}

/// The sizes of the binlogs' files that were begun since `from`.
fn newest_binlog(data: &Path) -> PathBuf {
    let index = fs::read_to_string(data.join("bin.index")).unwrap();
    data.join(index.lines().last().unwrap())
}

/// What `mysqlbinlog | mysql` takes for the same file, on a server of the same settings.
async fn piped(lab: &Lab, flavour: Flavour, file: &Path) -> Duration {
    let daemon = Daemon::find(flavour).unwrap();
    let mut spare = Server::create(lab.run(), lab.net(), "cl1", 90, &daemon, &Extra::default()).unwrap();
    spare.start().unwrap();
    spare.ready().await.unwrap();
    let sql = spare.sql();
    let open = if flavour == Flavour::Mysql { "SET GLOBAL super_read_only = 0; " } else { "" };
    sql.run(&format!("{open}SET GLOBAL read_only = 0; {UNSYNCED}; SET sql_log_bin = 0; {TABLE}")).await.unwrap();
    let began = Instant::now();
    let mut reads = reader(flavour);
    let mut reads = reads.arg("--no-defaults").arg(file).stdout(Stdio::piped()).spawn().unwrap();
    let client = Command::new(tools::program("mysql").unwrap())
        .args(["--no-defaults", "--user=root", "--binary-mode"])
        .arg(format!("--socket={}", spare.socket().display()))
        .stdin(reads.stdout.take().unwrap())
        .spawn();
    let ended = tokio::task::spawn_blocking(move || (client.unwrap().wait().unwrap(), reads.wait().unwrap()));
    let (client, reader) = ended.await.unwrap();
    let took = began.elapsed();
    assert!(client.success() && reader.success());
    let count = sql.value("SELECT COUNT(*) FROM long_tail.t").await.unwrap();
    assert_eq!(count, TRANSACTIONS.to_string());
    took
}

/// An asynchronous cluster whose primary alone will have what comes now.
async fn alone(flavour: Flavour, ssh: bool) -> (Lab, String, Writers) {
    let outside = Outside { ssh, ..Outside::default() };
    let options = Options { asynchronous: true, coordinators: 1, outside, ..Options::default() };
    let lab = Lab::start(Kind::Loopback, &[flavour], &options).await.unwrap();
    let writers = lab.clusters[0].write(4, 100).unwrap();
    drill::acknowledged(&writers, 50).await.unwrap();
    let old = until_alone(&lab, &[&writers]).await.unwrap();
    (lab, old, writers)
}

async fn taken_over(lab: &Lab, old: &str, writers: &Writers, fault: Instant) -> String {
    let new = lab.clusters[0].wait_primary_other_than(old, RESCUED).await.unwrap();
    until_slowly("a write", RESCUED, async || {
        anyhow::ensure!(writers.since(fault).iter().any(|it| it.acknowledged && it.start > fault), "none");
        Ok(())
    })
    .await
    .unwrap();
    new
}

async fn a_long_tail(flavour: Flavour) {
    let (mut lab, old, writers) = alone(flavour, false).await;
    let events = lab.listen(&lab.clusters[0]).unwrap();
    let sql = lab.clusters[0].server(&old).unwrap().sql();
    let began = Instant::now();
    load(&sql, TRANSACTIONS).await.unwrap();
    let loaded = began.elapsed();
    let expected = rows(&sql).await.unwrap();
    let data = lab.clusters[0].server(&old).unwrap().folder().join("data");
    let file = newest_binlog(&data);
    let bytes = fs::metadata(&file).unwrap().len();
    assert!(bytes > 2_000 * TRANSACTIONS, "{bytes}");
    let copy = lab.run().folder().join("tail.binlog");
    fs::copy(&file, &copy).unwrap();
    writers.pause(false);
    drill::acknowledged(&writers, 20).await.unwrap();
    let fault = lab.clusters[0].server_mut(&old).unwrap().kill9().unwrap();
    lab.coordinators[0].thaw().unwrap();
    let new = taken_over(&lab, &old, &writers, fault).await;
    let gap = drill::gap(&writers, fault).unwrap();
    let applied = lab.logs(400).lines().find(|line| line.contains("the tail was applied")).unwrap().to_owned();
    let applying = Duration::from_secs_f64(lab.applied_ms().unwrap() / 1e3);
    let stages = events.since(fault).into_iter().filter_map(|heard| {
        let EventBody::Stage { stage, after_ms, .. } = heard.event.body else { return None };
        Some((stage, after_ms))
    });
    let stages: Vec<(StageName, f64)> = stages.collect();
    eprintln!(
        "{flavour}: {TRANSACTIONS} transactions, {bytes} bytes, loaded in {loaded:?}; gap {gap:?}; {stages:?}; {applied}"
    );
    let there = lab.clusters[0].server(&new).unwrap().sql();
    assert_eq!(rows(&there).await.unwrap(), expected);
    drill::all_there(&lab.clusters[0], &[&writers]).await.unwrap();
    assert!(applied.contains("as a relay file"), "{applied}");
    assert!(gap <= GAP + applying, "{gap:?}");
    no_traces(&lab, &new, flavour).await;
    drop(writers);
    let piped = piped(&lab, flavour, &copy).await;
    eprintln!("{flavour}: applied in {applying:?}, by `mysqlbinlog | mysql` in {piped:?}");
    assert!(applying * 2 <= piped, "{applying:?} is more than half of {piped:?}");
    drill::brought_back(&mut lab.clusters[0], &old).await.unwrap();
    assert_eq!(rows(&lab.clusters[0].server(&old).unwrap().sql()).await.unwrap(), expected);
}

/// The channel of the rescue and its files are gone, and the server is as it was.
async fn no_traces(lab: &Lab, server: &str, flavour: Flavour) {
    let server = lab.clusters[0].server(server).unwrap();
    let status = if flavour == Flavour::Mysql { "SHOW REPLICA STATUS" } else { "SHOW ALL SLAVES STATUS" };
    let rows = server.sql().named(status).await.unwrap();
    assert!(rows.iter().all(|row| !row.values().any(|value| value.contains("tasuki_rescue"))), "{rows:?}");
    if flavour == Flavour::Mariadb {
        assert_eq!(server.sql().value("SELECT @@global.slave_parallel_threads").await.unwrap(), "4");
    }
    let left: Vec<PathBuf> = fs::read_dir(server.folder().join("data"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.display().to_string().contains("tasuki_rescue"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn lab_a_long_tail_of_a_dead_mariadb_is_rescued() {
    a_long_tail(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_a_long_tail_of_a_dead_mysql_is_rescued() {
    a_long_tail(Flavour::Mysql).await;
}

/// A file in the middle of the tail is damaged, then it is gone: nobody opens without what may have been acknowledged, and
/// people are told which file and where. Then its sidecar dies as well: the same is found through ssh. With the file back, all
/// of it is rescued from there.
async fn damaged(flavour: Flavour) {
    let (mut lab, old, writers) = alone(flavour, true).await;
    let events = lab.listen(&lab.clusters[0]).unwrap();
    let sql = lab.clusters[0].server(&old).unwrap().sql();
    load(&sql, 200).await.unwrap();
    let data = lab.clusters[0].server(&old).unwrap().folder().join("data");
    let file = newest_binlog(&data);
    sql.run("FLUSH BINARY LOGS; INSERT INTO long_tail.t VALUES (1000000, 'in a file that is sound')").await.unwrap();
    let expected = rows(&sql).await.unwrap();
    let fault = lab.clusters[0].server_mut(&old).unwrap().kill9().unwrap();
    let whole = fs::read(&file).unwrap();
    let mut content = whole.clone();
    let middle = content.len() / 2;
    content[middle] ^= 0x40;
    fs::write(&file, &content).unwrap();
    lab.coordinators[0].thaw().unwrap();
    writers.pause(false);
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let told = |since: Instant, words: &'static str| {
        let (events, name) = (&events, name.clone());
        until_slowly("a reason", Duration::from_secs(20), async move || {
            let holds = events.since(since).into_iter().filter_map(|heard| {
                let EventBody::Hold { reasons } = heard.event.body else { return None };
                Some(reasons.join("; "))
            });
            let found = holds.into_iter().find(|text| text.contains(words) && text.contains(&name));
            found.ok_or_else(|| anyhow::anyhow!("nothing of {name} that {words}"))
        })
    };
    eprintln!("{flavour}: {}", told(fault, "is damaged at ").await.unwrap());
    fs::remove_file(&file).unwrap();
    eprintln!("{flavour}: {}", told(fault, "No such file").await.unwrap());
    lab.clusters[0].node_mut(&old).unwrap().kill9().unwrap();
    let without = Instant::now();
    fs::write(&file, content).unwrap();
    let hold = told(without, "is damaged at ").await.unwrap();
    eprintln!("{flavour}: {hold}");
    assert!(hold.contains("was ended through ssh"), "{hold}");
    assert!(!writers.since(fault).iter().any(|it| it.acknowledged && it.start > fault), "somebody opened");
    fs::write(&file, whole).unwrap();
    let new = taken_over(&lab, &old, &writers, fault).await;
    assert_eq!(rows(&lab.clusters[0].server(&new).unwrap().sql()).await.unwrap(), expected);
    drill::all_there(&lab.clusters[0], &[&writers]).await.unwrap();
}

#[tokio::test]
async fn lab_a_tail_that_cannot_be_read_is_told_with_its_place_and_rescued_once_it_can() {
    damaged(Flavour::Mariadb).await;
    damaged(Flavour::Mysql).await;
}

/// The node beside the dead server is killed while it delivers, and the candidate's while it applies.
async fn restarted(flavour: Flavour) {
    let (mut lab, old, writers) = alone(flavour, false).await;
    let sql = lab.clusters[0].server(&old).unwrap().sql();
    load(&sql, TRANSACTIONS).await.unwrap();
    let expected = rows(&sql).await.unwrap();
    let fault = lab.clusters[0].server_mut(&old).unwrap().kill9().unwrap();
    lab.coordinators[0].thaw().unwrap();
    writers.pause(false);
    said(&lab, "the dead server's tail is delivered").await;
    let serving = lab.clusters[0].node_mut(&old).unwrap();
    serving.kill9().unwrap();
    serving.start().unwrap();
    let candidate = applying(&lab).await;
    let node = lab.clusters[0].node_mut(&candidate).unwrap();
    node.kill9().unwrap();
    node.start().unwrap();
    let new = taken_over(&lab, &old, &writers, fault).await;
    eprintln!(
        "{flavour}: {candidate}'s node was killed as it applied; {new} opened, gap {:?}",
        drill::gap(&writers, fault)
    );
    assert_eq!(rows(&lab.clusters[0].server(&new).unwrap().sql()).await.unwrap(), expected);
    drill::all_there(&lab.clusters[0], &[&writers]).await.unwrap();
    for server in ["db1", "db2", "db3"].iter().filter(|name| **name != old) {
        no_traces(&lab, server, flavour).await;
    }
}

async fn said(lab: &Lab, words: &str) {
    until_slowly(words, RESCUED, async || {
        anyhow::ensure!(lab.logs(400).contains(words), "nobody said so");
        Ok(())
    })
    .await
    .unwrap();
}

/// The server that has the rescue's channel.
async fn applying(lab: &Lab) -> String {
    until_slowly("a channel of the rescue", RESCUED, async || {
        for server in &lab.clusters[0].servers {
            let entries = fs::read_dir(server.folder().join("data"))?;
            let own = |entry: std::io::Result<fs::DirEntry>| {
                entry.is_ok_and(|entry| entry.file_name().to_string_lossy().contains("tasuki_rescue"))
            };
            if entries.into_iter().any(own) {
                return Ok(server.name().to_owned());
            }
        }
        anyhow::bail!("there is none")
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn lab_a_rescue_outlives_the_nodes_that_carry_it() {
    restarted(Flavour::Mariadb).await;
    restarted(Flavour::Mysql).await;
}
