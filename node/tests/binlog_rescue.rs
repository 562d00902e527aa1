//! A server is killed, its files are read without it, and a second server takes over what it lacks.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the measured times are worth reading")]

#[allow(dead_code, reason = "each test takes what it needs")]
mod servers;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use servers::tail::{applied, delivered};
use servers::{Folder, Server, template};
use tasuki_node::binlog::{ApplyError, Stream, Transaction, check, executed};
use tasuki_node::process::Watch;
use tasuki_schemas::command::Tail;
use tasuki_schemas::gtid::{Flavour, GtidSet};

const DEADLINE: Duration = Duration::from_secs(120);

/// What both flavours understand. Every line is one statement.
const HISTORY: &[&str] = &[
    "CREATE DATABASE shop CHARACTER SET utf8mb4",
    "USE shop",
    "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(200), d DECIMAL(20,5), at DATETIME(6), f DOUBLE, b LONGBLOB)",
    "INSERT INTO t VALUES (1,'one',1.5,'2024-02-29 12:00:00.123456',0.1,NULL),(2,'二',-7.25,NULL,NULL,x'00ff'),(3,'three',0,NULL,NULL,'')",
    "UPDATE t SET v='eins; DROP TABLE t; --', d=d+1 WHERE id=1",
    "DELETE FROM t WHERE id=3",
    "CREATE TABLE `odd ``name` (a INT AUTO_INCREMENT PRIMARY KEY, c VARCHAR(9) CHARACTER SET latin1)",
    "INSERT INTO `odd ``name` (c) VALUES ('ä'),('ß')",
    "ALTER TABLE t ADD COLUMN e ENUM('x','y') DEFAULT 'y', ADD INDEX (v)",
    "BEGIN",
    "INSERT INTO t (id,v) VALUES (10,'ten')",
    "SAVEPOINT s",
    "INSERT INTO t (id,v) VALUES (11,'eleven')",
    "ROLLBACK TO s",
    "INSERT INTO t (id,v,b) VALUES (12,'twelve',REPEAT('z',3000000))",
    "UPDATE t SET f=id*1.5",
    "COMMIT",
    "FLUSH BINARY LOGS",
    "CREATE TABLE parent (id INT PRIMARY KEY)",
    "CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id))",
    "SET foreign_key_checks=0",
    "INSERT INTO child VALUES (1,99)",
    "DROP TABLE IF EXISTS parent",
    "CREATE TABLE parent (id INT PRIMARY KEY, w INT)",
    "SET foreign_key_checks=1",
    "CREATE PROCEDURE fill(n INT) BEGIN DECLARE i INT DEFAULT 0; WHILE i < n DO INSERT INTO parent VALUES (i, i*i); SET i=i+1; END WHILE; END",
    "CREATE TRIGGER tr BEFORE INSERT ON parent FOR EACH ROW SET NEW.w = NEW.w + 1",
    "CALL fill(20)",
    "CREATE VIEW seen AS SELECT id FROM parent",
    "SET sql_mode=''",
    "CREATE TABLE loose (d DATE DEFAULT '0000-00-00', c CHAR(2))",
    "INSERT INTO loose (c) VALUES ('cut off')",
    "SET sql_mode=DEFAULT",
    "DROP TABLE IF EXISTS never_was",
    "SET time_zone='+05:30', timestamp=1700000000.25",
    "CREATE TABLE stamped (id INT PRIMARY KEY, at TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP(3))",
    "INSERT INTO stamped (id) VALUES (1)",
    "ALTER TABLE stamped ADD COLUMN added TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP(3)",
    "SET time_zone=DEFAULT, timestamp=DEFAULT",
    "CREATE TABLE big (id INT PRIMARY KEY, b LONGBLOB)",
    "INSERT INTO big VALUES (1,REPEAT('a',5000000)),(2,REPEAT('b',5000000)),(3,REPEAT('c',5000000)),(4,REPEAT('d',5000000))",
    "UPDATE big SET b=REVERSE(b)",
    "TRUNCATE TABLE loose",
    "RENAME TABLE loose TO tight",
    "CREATE USER reader IDENTIFIED BY 'it''s; secret'",
    "GRANT SELECT ON shop.* TO reader",
    "DROP DATABASE IF EXISTS gone",
];

async fn run(conn: &mut Conn, statements: &[&str]) {
    for statement in statements {
        let done = conn.query_drop(*statement).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

struct Lab {
    folder: Folder,
    flavour: Flavour,
    source: Server,
    target: Server,
}

impl Lab {
    async fn new(name: &str, flavour: Flavour) -> Self {
        let folder = Folder::new(name);
        let start = folder.join("template");
        template(flavour, &start);
        let source = Server::start(flavour, &start, folder.join("source"), 1, &[]).await;
        let target = Server::start(flavour, &start, folder.join("target"), 2, &["--read-only=1"]).await;
        Self { folder, flavour, source, target }
    }

    /// Applies all that the target lacks, and returns the names.
    async fn rescue(&self) -> Vec<String> {
        let have = self.target.executed().await;
        let begun = Instant::now();
        let (_, missing) = lacking(self, &have);
        let read = begun.elapsed();
        let begun = Instant::now();
        applied(self.target.connect().await, self.flavour, &missing).await.unwrap();
        println!("{} transactions read in {read:?}, applied in {:?}", missing.len(), begun.elapsed());
        missing.into_iter().map(|transaction| transaction.gtid).collect()
    }

    async fn kill_source(&mut self) -> GtidSet {
        let expected = self.source.executed().await;
        let (told, exits) = channel();
        let _watch = Watch::start(self.source.pid(), move || told.send(Instant::now()).unwrap()).unwrap();
        let killed = Instant::now();
        self.source.kill();
        let gone = killed.elapsed();
        let noticed = exits.recv_timeout(Duration::from_secs(5)).unwrap() - killed;
        println!("{}: exit noticed after {noticed:?}, gone after {gone:?}", self.flavour);
        let begun = Instant::now();
        assert_eq!(executed(&self.source.index(), self.flavour).unwrap(), expected);
        println!("{}: executed set read in {:?}", self.flavour, begun.elapsed());
        expected
    }
}

/// What the source has beyond `have`.
fn lacking(lab: &Lab, have: &GtidSet) -> (Tail, Vec<Transaction>) {
    delivered(&lab.source.index(), lab.flavour, have, &lab.folder.join("spool"))
}

async fn rescued(name: &str, flavour: Flavour, more: &[&str]) {
    let mut lab = Lab::new(name, flavour).await;
    let mut conn = lab.source.connect().await;
    run(&mut conn, &HISTORY[..12]).await;
    // The target gets a part of the history from the files of the living server, cut in a transaction.
    let first = lab.rescue().await;
    assert_eq!(lab.target.executed().await, executed(&lab.source.index(), flavour).unwrap());
    run(&mut conn, &HISTORY[12..]).await;
    run(&mut conn, more).await;
    let before = lab.source.checksums("shop").await;
    let expected = lab.kill_source().await;
    let second = lab.rescue().await;
    assert!(BTreeSet::from_iter(&first).is_disjoint(&BTreeSet::from_iter(&second)));
    assert!(!second.is_empty());
    assert_eq!(lab.target.executed().await, expected);
    assert_eq!(lab.target.checksums("shop").await, before);
    let rows: Option<(u32, u32)> =
        lab.target.connect().await.query_first("SELECT COUNT(*), SUM(w) FROM shop.parent").await.unwrap();
    assert_eq!(rows, Some((20, 2490)));
    assert_eq!(lacking(&lab, &expected).0.transactions, 0);
}

async fn bounded(test: impl Future<Output = ()>) {
    tokio::time::timeout(DEADLINE, test).await.expect("the test takes too long");
}

#[tokio::test]
async fn mariadb_a_killed_servers_tail_is_read_and_applied() {
    let more = [
        "SET binlog_format=STATEMENT",
        "INSERT INTO `odd ``name` (c) VALUES (CAST(RAND()*1000 AS UNSIGNED)),(LAST_INSERT_ID())",
        "SET NAMES latin1",
        "UPDATE shop.t SET v=CONCAT(v, '\u{e9}') WHERE id=10",
        "SET NAMES utf8mb4",
        "SET binlog_format=ROW",
        "CREATE TABLE plain (id INT) ENGINE=MyISAM",
        "INSERT INTO plain VALUES (1),(2)",
        "CREATE SEQUENCE seq",
        "SET gtid_domain_id=7",
        "INSERT INTO t (id,v) VALUES (70,'of another domain')",
    ];
    bounded(rescued("mariadb-rescue", Flavour::Mariadb, &more)).await;
}

#[tokio::test]
async fn mysql_a_killed_servers_tail_is_read_and_applied() {
    let more = [
        "CREATE TABLE doc (id INT PRIMARY KEY, j JSON)",
        "INSERT INTO doc VALUES (1, JSON_OBJECT('a', 1, 'b', REPEAT('x', 100)))",
        "SET binlog_row_value_options=PARTIAL_JSON, binlog_row_image=MINIMAL",
        "UPDATE doc SET j=JSON_SET(j, '$.a', 'two')",
        "SET binlog_row_value_options='', binlog_row_image=FULL",
        "SET binlog_transaction_compression=ON",
        "INSERT INTO doc VALUES (2, '[1,2,3]')",
        "UPDATE t SET v='compressed' WHERE id<10",
        "SET binlog_transaction_compression=OFF",
        "CREATE TABLE copied AS SELECT id, v FROM t",
        "SET gtid_next='AUTOMATIC:checkout'",
        "INSERT INTO t (id,v) VALUES (70,'tagged')",
        "SET gtid_next=AUTOMATIC",
        "FLUSH BINARY LOGS",
        "XA START 'x','y',7",
        "INSERT INTO t (id,v) VALUES (71,'in two phases')",
        "XA END 'x','y',7",
        "XA PREPARE 'x','y',7",
        "XA COMMIT 'x','y',7",
        "SET binlog_format=STATEMENT",
        "INSERT INTO `odd ``name` (c) VALUES (LAST_INSERT_ID()),('z')",
        "SET binlog_format=ROW",
        "SET gtid_next='AUTOMATIC:checkout'",
        "INSERT INTO t (id,v) VALUES (72,'tagged')",
        "SET gtid_next=AUTOMATIC",
    ];
    bounded(rescued("mysql-rescue", Flavour::Mysql, &more)).await;
}

/// A row that the target lacks makes the second of three transactions fail in its second statement.
async fn failing(name: &str, flavour: Flavour) {
    let mut lab = Lab::new(name, flavour).await;
    let mut conn = lab.source.connect().await;
    run(&mut conn, &HISTORY[..4]).await;
    lab.rescue().await;
    let mut behind = lab.target.connect().await;
    run(&mut behind, &["SET sql_log_bin=0", "DELETE FROM shop.t WHERE id=2"]).await;
    let transactions = [
        "INSERT INTO t (id) VALUES (20)",
        "BEGIN",
        "INSERT INTO t (id) VALUES (21)",
        "UPDATE t SET v='x' WHERE id=2",
        "COMMIT",
        "INSERT INTO t (id) VALUES (22)",
    ];
    run(&mut conn, &transactions).await;
    let have = lab.target.executed().await;
    lab.kill_source().await;
    let (_, missing) = lacking(&lab, &have);
    assert_eq!(missing.len(), 3);
    let error = applied(lab.target.connect().await, flavour, &missing).await.unwrap_err();
    assert!(matches!(&error, ApplyError::Server { gtid, .. } if *gtid == missing[1].gtid), "{error}");
    let mut expected = have.clone();
    expected.insert(&missing[0].gtid.parse().unwrap()).unwrap();
    assert_eq!(lab.target.executed().await, expected, "the failed transaction left its GTID behind");
    let ids: Vec<u32> = behind.query("SELECT id FROM shop.t ORDER BY id").await.unwrap();
    assert_eq!(ids, [1, 3, 20]);
    // With the row back, the rest can be applied.
    run(&mut behind, &["INSERT INTO shop.t VALUES (2,'二',-7.25,NULL,NULL,x'00ff')"]).await;
    lab.rescue().await;
    let ids: Vec<u32> = behind.query("SELECT id FROM shop.t ORDER BY id").await.unwrap();
    assert_eq!(ids, [1, 2, 3, 20, 21, 22]);
}

#[tokio::test]
async fn mariadb_a_failed_transaction_leaves_nothing() {
    bounded(failing("mariadb-failing", Flavour::Mariadb)).await;
}

#[tokio::test]
async fn mysql_a_failed_transaction_leaves_nothing() {
    bounded(failing("mysql-failing", Flavour::Mysql)).await;
}

/// Cuts the newest file at every byte, and flips bytes of it, as a crash or a bad disk would.
async fn damaged(name: &str, flavour: Flavour) {
    let mut lab = Lab::new(name, flavour).await;
    let mut conn = lab.source.connect().await;
    run(&mut conn, &HISTORY[..2]).await;
    run(&mut conn, &["FLUSH BINARY LOGS"]).await;
    let begin = lab.source.executed().await;
    run(&mut conn, &HISTORY[2..11]).await;
    run(&mut conn, &["COMMIT"]).await;
    let all = lab.kill_source().await;
    let index = std::fs::read_to_string(lab.source.index()).unwrap();
    let last = lab.folder.join("source").join(index.lines().last().unwrap());
    let whole = std::fs::read(&last).unwrap();
    let read = |content: &[u8]| {
        std::fs::write(&last, content).unwrap();
        executed(&lab.source.index(), flavour)
    };
    let mut previous = begin.clone();
    for length in 0..=whole.len() {
        let set = read(&whole[..length]).unwrap_or_else(|error| panic!("cut at {length}: {error}"));
        assert!(set.contains(&previous).unwrap(), "cut at {length}: {set} after {previous}");
        previous = set;
    }
    assert_eq!(previous, all);
    let mut zeroed = whole.clone();
    zeroed.extend([0; 5000]);
    assert_eq!(read(&zeroed).unwrap(), all, "zeros after the end are no transactions");
    // No damage makes a transaction appear, and none makes the reader fail otherwise than by an error.
    let mut refused = 0;
    for at in 0..whole.len() {
        let mut content = whole.clone();
        content[at] ^= 1 << (at % 8);
        match read(&content) {
            Ok(set) => assert!(all.contains(&set).unwrap(), "byte {at}: {set}"),
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains(last.file_name().unwrap().to_str().unwrap()), "{error}");
            }
        }
    }
    println!("{flavour}: {refused} of {} damaged files were refused", whole.len());
    assert!(refused * 10 > whole.len() * 9, "{refused}");
    std::fs::write(&last, &whole).unwrap();
    in_pieces(&lab, &begin);
}

/// Pieces can be read again and in any order, and what is purged or gone is told.
fn in_pieces(lab: &Lab, have: &GtidSet) {
    let stream = Stream::of(&lab.source.index(), lab.flavour, have, None).unwrap();
    let whole = stream.piece(0).unwrap();
    assert_eq!((stream.tail().pieces, stream.tail().bytes), (1, whole.len() as u64));
    assert_eq!(stream.piece(0).unwrap(), whole);
    assert_eq!(stream.piece(1).unwrap(), b"");
    let only = lacking(lab, have).1[1].gtid.parse().unwrap();
    let mut want = GtidSet::empty(lab.flavour);
    want.insert(&only).unwrap();
    let before = GtidSet::empty(lab.flavour);
    let error = Stream::of(Path::new("/nonexistent/bin.index"), lab.flavour, &before, None).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/bin.index"), "{error}");
    if lab.flavour == Flavour::Mysql {
        // One transaction alone, though those around it are lacked as well.
        assert_eq!(Stream::of(&lab.source.index(), lab.flavour, have, Some(&want)).unwrap().tail().set, want);
    }
    // A file that was changed on the way is refused as a whole.
    let spool = lab.folder.join("changed");
    for (name, content) in [("cut", &whole[..whole.len() - 1]), ("longer", &[&whole[..], b"x"].concat())] {
        std::fs::write(&spool, content).unwrap();
        let error = check(&spool, have, stream.tail()).unwrap_err();
        assert!(error.contains("bytes of"), "{name}: {error}");
    }
    std::fs::write(&spool, &whole).unwrap();
    assert!(check(&spool, have, stream.tail()).is_ok());
    assert!(check(&spool, &stream.tail().set, stream.tail()).unwrap_err().contains("is here already"));
}

#[tokio::test]
async fn mariadb_a_torn_or_damaged_file_never_claims_more_than_it_holds() {
    bounded(damaged("mariadb-damaged", Flavour::Mariadb)).await;
}

#[tokio::test]
async fn mysql_a_torn_or_damaged_file_never_claims_more_than_it_holds() {
    bounded(damaged("mysql-damaged", Flavour::Mysql)).await;
}

#[tokio::test]
async fn mariadb_compressed_events_and_two_phases_are_refused_before_anything_is_done() {
    bounded(async {
        let lab = Lab::new("mariadb-refused", Flavour::Mariadb).await;
        let mut conn = lab.source.connect().await;
        run(&mut conn, &HISTORY[..4]).await;
        lab.rescue().await;
        let have = lab.target.executed().await;
        run(&mut conn, &["SET GLOBAL log_bin_compress=1", "SET GLOBAL log_bin_compress_min_len=10"]).await;
        run(&mut conn, &["INSERT INTO t (id,v) VALUES (50,REPEAT('long',40))"]).await;
        run(&mut conn, &["SET GLOBAL log_bin_compress=0"]).await;
        run(&mut conn, &["XA START 'x'", "INSERT INTO t (id) VALUES (60)", "XA END 'x'", "XA PREPARE 'x'"]).await;
        run(&mut conn, &["XA COMMIT 'x'", "CREATE TABLE copied AS SELECT id FROM t"]).await;
        let (_, missing) = lacking(&lab, &have);
        assert_eq!(executed(&lab.source.index(), Flavour::Mariadb).unwrap(), lab.source.executed().await);
        assert_eq!(missing.len(), 4);
        for (at, word) in [(0, "log_bin_compress"), (1, "XA"), (2, "XA"), (3, "CREATE TABLE")] {
            let conn = lab.target.connect().await;
            let error = applied(conn, Flavour::Mariadb, &missing[at..]).await.unwrap_err();
            assert!(matches!(error, ApplyError::Refused { .. }), "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
        assert_eq!(lab.target.executed().await, have);
    })
    .await;
}
