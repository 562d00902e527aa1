//! What a server holds in excess is taken from its binlog: the events replay it exactly, and so do the statements.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test takes what it needs")]
mod servers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use servers::tail::{applied, delivered};
use servers::{Folder, Server, template};
use tasuki_node::binlog::{Bounds, Column, Extra, Shapes, describe, extract, tables};
use tasuki_node_core::statements::Dialect;
use tasuki_schemas::gtid::{Flavour, GtidSet};

const DEADLINE: Duration = Duration::from_secs(120);

/// Before the servers part.
const COMMON: &[&str] = &[
    "CREATE DATABASE shop CHARACTER SET utf8mb4",
    "CREATE TABLE shop.kinds (id INT PRIMARY KEY, t TINYINT, tu TINYINT UNSIGNED, s SMALLINT UNSIGNED, m MEDIUMINT, \
     b BIGINT UNSIGNED, d DECIMAL(30,10), f FLOAT, g DOUBLE, y YEAR, bits BIT(12), da DATE, ti TIME(3), dt DATETIME(6), \
     ts TIMESTAMP(2) NULL, c CHAR(255), vc VARCHAR(300), l VARCHAR(20) CHARACTER SET latin1, bin BINARY(4), \
     vb VARBINARY(20), tx TEXT, bl BLOB, e ENUM('x','y'), st SET('p','q','r'), twice INT AS (id * 2) VIRTUAL, \
     following INT AS (id + 1) STORED)",
    "INSERT INTO shop.kinds (id, vc, f, bin) VALUES (1, 'goes', 0.1, 'ab'), (2, 'changes', 0.2, 'cd')",
    "CREATE TABLE shop.`odd ``name` (a INT AUTO_INCREMENT PRIMARY KEY, c VARCHAR(9))",
];

/// What only one of them has.
const EXTRA: &[&str] = &[
    "INSERT INTO shop.kinds (id, t, tu, s, m, b, d, f, g, y, bits, da, ti, dt, ts, c, vc, l, bin, vb, tx, bl, e, st) VALUES \
     (3, -128, 255, 65535, -8388608, 18446744073709551615, -12345678901234567890.0123456789, 1.5, 1e-300, 2026, b'101010101010', \
     '2026-11-26', '-838:59:58.999', '1000-01-01 00:00:00.000001', '2026-11-26 09:15:00.25', 'it''s', 'べんとう\n; --', 'é', \
     'ab', x'00ff', REPEAT('a\\\\', 300), x'00', 'y', 'p,r'), \
     (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, \
     NULL, NULL, NULL, NULL)",
    "BEGIN",
    "UPDATE shop.kinds SET vc = 'changed', d = 0.05, ti = '00:00:00.001' WHERE id = 2",
    "DELETE FROM shop.kinds WHERE id = 1",
    "INSERT INTO shop.`odd ``name` (c) VALUES ('a'), (NULL)",
    "COMMIT",
    "FLUSH BINARY LOGS",
    "CREATE TABLE shop.made (id INT PRIMARY KEY)",
    "INSERT INTO shop.made VALUES (7), (8)",
    "DELETE FROM shop.made WHERE id = 7",
];

async fn run(conn: &mut Conn, statements: &[&str]) {
    for statement in statements {
        conn.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

async fn shapes(server: &Server, flavour: Flavour, files: &[PathBuf]) -> Shapes {
    let mut conn = server.connect().await;
    let mut shapes = Shapes::new();
    for (database, table) in files.iter().flat_map(|file| tables(file).unwrap()) {
        let rows: Vec<Row> = conn.query(Dialect(flavour).columns(&database, &table)).await.unwrap();
        let named = |row: Row| -> BTreeMap<String, String> {
            let columns = row.columns_ref().iter().enumerate();
            let pair = |(at, column): (usize, &mysql_async::Column)| {
                Some((column.name_str().to_ascii_lowercase(), row.get::<Option<String>, _>(at)??))
            };
            columns.filter_map(pair).collect()
        };
        shapes.insert((database, table), rows.into_iter().map(|row| Column::read(&named(row))).collect());
    }
    shapes
}

/// The text of all files.
fn text(files: &[PathBuf], shapes: &Shapes, folder: &Path) -> (String, u64) {
    let (mut out, mut unshown) = (Vec::new(), 0);
    let mut bounds = Bounds::new(folder.to_owned(), Arc::new(AtomicBool::new(false)));
    for file in files {
        unshown += describe(file, shapes, &mut bounds, &mut out).unwrap();
    }
    (String::from_utf8(out).unwrap(), unshown)
}

async fn catch_up(source: &Server, target: &Server, flavour: Flavour, spool: &Path) {
    let (_, missing) = delivered(&source.index(), flavour, &target.executed().await, spool);
    applied(target.connect().await, flavour, &missing).await.unwrap();
}

async fn extracted(name: &str, flavour: Flavour, more: &[&str]) {
    let folder = Folder::new(name);
    let start = folder.join("template");
    template(flavour, &start);
    let ahead = Server::start(flavour, &start, folder.join("ahead"), 1, &[]).await;
    let by_events = Server::start(flavour, &start, folder.join("events"), 2, &[]).await;
    let by_text = Server::start(flavour, &start, folder.join("text"), 3, &[]).await;
    let mut conn = ahead.connect().await;
    run(&mut conn, COMMON).await;
    catch_up(&ahead, &by_events, flavour, &folder.join("spool")).await;
    catch_up(&ahead, &by_text, flavour, &folder.join("spool")).await;
    let beyond = ahead.executed().await;
    run(&mut conn, EXTRA).await;
    run(&mut conn, more).await;
    let holds = ahead.executed().await;
    // What came later is not asked for.
    run(&mut conn, &["CREATE TABLE shop.later (id INT)"]).await;

    let archive = folder.join("archive");
    std::fs::create_dir_all(&archive).unwrap();
    let mut bounds = Bounds::new(archive.clone(), Arc::new(AtomicBool::new(false)));
    let extra = Extra { holds: holds.clone(), beyond: beyond.clone() };
    let extracted = extract(&ahead.index(), &extra, &mut bounds).unwrap();
    assert_eq!(extracted.files.len(), 2, "{:?}", extracted.files);
    assert_eq!(beyond.union(&extracted.set).unwrap(), holds);

    // The events, read as any binlog is.
    let index: String = extracted.files.iter().map(|file| format!("{}\n", file.display())).collect();
    std::fs::write(archive.join("index"), index).unwrap();
    let have = by_events.executed().await;
    let (_, read) = delivered(&archive.join("index"), flavour, &have, &folder.join("spool"));
    let names: Vec<&str> = read.iter().map(|transaction| transaction.gtid.as_str()).collect();
    assert_eq!(names, extracted.gtids);
    applied(by_events.connect().await, flavour, &read).await.unwrap();
    assert_eq!(by_events.executed().await, holds);

    // The text: each line is a statement or a comment.
    let (text, unshown) = text(&extracted.files, &shapes(&ahead, flavour, &extracted.files).await, &archive);
    assert_eq!(unshown, 0, "{text}");
    assert!(text.contains("columns as the server has them now"), "{text}");
    assert!(extracted.gtids.iter().all(|gtid| text.contains(&format!("-- {gtid} of server 1, 20"))), "{text}");
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with("--")).collect();
    run(&mut by_text.connect().await, &lines).await;

    run(&mut conn, &["DROP TABLE shop.later"]).await;
    let expected = ahead.checksums("shop").await;
    assert_eq!(by_events.checksums("shop").await, expected);
    assert_eq!(by_text.checksums("shop").await, expected, "{text}");
    purged(&ahead, &extra, &archive, flavour).await;
}

/// What no file has any more is missing, and nothing else.
async fn purged(ahead: &Server, extra: &Extra, archive: &Path, flavour: Flavour) {
    let mut conn = ahead.connect().await;
    let newest: Vec<Row> = conn.query("SHOW BINARY LOGS").await.unwrap();
    let newest: String = newest.last().unwrap().get(0).unwrap();
    run(&mut conn, &[&format!("PURGE BINARY LOGS TO '{newest}'")]).await;
    let folder = archive.join("purged");
    std::fs::create_dir_all(&folder).unwrap();
    let mut bounds = Bounds::new(folder, Arc::new(AtomicBool::new(false)));
    let extracted = extract(&ahead.index(), extra, &mut bounds).unwrap();
    assert!(!extracted.gtids.is_empty());
    if flavour == Flavour::Mysql {
        assert_ne!(extra.beyond.union(&extracted.set).unwrap(), extra.holds);
    }
    let nothing = Extra { holds: extra.beyond.clone(), beyond: GtidSet::empty(flavour) };
    let mut bounds = Bounds::new(archive.to_owned(), Arc::new(AtomicBool::new(false)));
    assert_eq!(extract(&ahead.index(), &nothing, &mut bounds).unwrap().files, Vec::<PathBuf>::new());
}

async fn bounded(test: impl Future<Output = ()>) {
    tokio::time::timeout(DEADLINE, test).await.expect("the test takes too long");
}

#[tokio::test]
async fn mariadb_extra_transactions_are_replayed_from_events_and_from_statements() {
    let more = [
        "CREATE TABLE shop.doc (id INT PRIMARY KEY, j JSON)",
        "INSERT INTO shop.doc VALUES (1, '{\"a\": [1, 2.5, null]}')",
        "UPDATE shop.kinds SET b = 1 WHERE id = 3",
        "SET binlog_format=STATEMENT",
        "UPDATE shop.kinds SET t = 1 WHERE id = 4",
    ];
    bounded(extracted("mariadb-extract", Flavour::Mariadb, &more)).await;
}

#[tokio::test]
async fn mysql_extra_transactions_are_replayed_from_events_and_from_statements() {
    let more = [
        "CREATE TABLE shop.doc (id INT PRIMARY KEY, j JSON)",
        "INSERT INTO shop.doc VALUES (1, '{\"a\": [1, 2.5, null, true, \"x\"]}')",
        "UPDATE shop.doc SET j = '{\"b\": \"it''s\"}'",
        "SET binlog_row_image=MINIMAL",
        "UPDATE shop.kinds SET b = 1 WHERE id = 3",
        "SET binlog_row_image=FULL",
        "SET binlog_transaction_compression=ON",
        "INSERT INTO shop.made VALUES (20), (21)",
        "SET binlog_transaction_compression=OFF",
        "SET binlog_format=STATEMENT",
        "UPDATE shop.kinds SET t = 1 WHERE id = 4",
    ];
    bounded(extracted("mysql-extract", Flavour::Mysql, &more)).await;
}

/// Compressed events of MariaDB are named in their place, and kept.
#[tokio::test]
async fn mariadb_what_cannot_be_shown_is_named_in_its_place() {
    bounded(async {
        let flavour = Flavour::Mariadb;
        let folder = Folder::new("mariadb-unshown");
        let start = folder.join("template");
        template(flavour, &start);
        let ahead = Server::start(flavour, &start, folder.join("ahead"), 1, &[]).await;
        let mut conn = ahead.connect().await;
        run(&mut conn, COMMON).await;
        let beyond = ahead.executed().await;
        run(&mut conn, &["SET GLOBAL log_bin_compress=1", "SET GLOBAL log_bin_compress_min_len=10"]).await;
        run(&mut conn, &["UPDATE shop.kinds SET vc = REPEAT('long', 40) WHERE id = 1"]).await;
        let archive = folder.join("archive");
        std::fs::create_dir_all(&archive).unwrap();
        let mut bounds = Bounds::new(archive.clone(), Arc::new(AtomicBool::new(false)));
        let extra = Extra { holds: ahead.executed().await, beyond };
        let extracted = extract(&ahead.index(), &extra, &mut bounds).unwrap();
        assert_eq!(extracted.gtids.len(), 1);
        let (text, unshown) = text(&extracted.files, &Shapes::new(), &archive);
        assert_eq!(unshown, 1);
        assert!(text.contains("columns by number"), "{text}");
        assert!(text.contains("-- NOT SHOWN: compressed rows (log_bin_compress); it is in the binlog file"), "{text}");
    })
    .await;
}
