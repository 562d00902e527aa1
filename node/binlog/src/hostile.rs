//! Whatever a file holds: no panic, no half transaction, and an error that names the file and the place.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tasuki_schemas::gtid::{Flavour, GtidSet};

use super::event::{CHECKSUM, HEADER, le32};
use super::packets::packets;
use super::{BinlogError, Spooled, Stream, check, executed};

/// A server's file of each flavour, as it was left by kill -9: rows, statements, savepoints, DDL, XA, compressed events,
/// a tag, a second domain.
const REAL: [(Flavour, &[u8]); 2] = [
    (Flavour::Mariadb, include_bytes!("../../tests/binlogs/mariadb.binlog")),
    (Flavour::Mysql, include_bytes!("../../tests/binlogs/mysql.binlog")),
];

/// A server's folder with one file in its index.
struct Files(PathBuf);

impl Files {
    fn with(content: &[u8]) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("tasuki-hostile-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("bin.000007"), content).unwrap();
        fs::write(folder.join("bin.index"), "./bin.000007\n").unwrap();
        Self(folder)
    }

    /// What the file tells that it had before.
    fn have(&self, flavour: Flavour) -> GtidSet {
        let reader = super::reader::Reader::open(&self.0.join("bin.000007"), flavour);
        reader.ok().and_then(|reader| reader.before().cloned()).unwrap_or_else(|| GtidSet::empty(flavour))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Reads a file in every way in which a rescue reads it; returns the transactions that were found whole.
fn read(flavour: Flavour, content: &[u8]) -> Result<GtidSet, BinlogError> {
    let files = Files::with(content);
    let index = files.0.join("bin.index");
    let named = |error: &BinlogError| {
        let text = error.to_string();
        let placed = match error {
            BinlogError::Damaged { .. } | BinlogError::Unsupported { .. } => text.contains(" at "),
            BinlogError::Io { .. } | BinlogError::Encrypted { .. } | BinlogError::Mixed(_) => true,
        };
        assert!(placed && (text.contains("bin.000007") || text.contains("bin.index")), "{text}");
    };
    let all = executed(&index, flavour).inspect_err(named);
    let have = files.have(flavour);
    let stream = match Stream::of(&index, flavour, &have, None) {
        Ok(stream) => stream,
        Err(error) => {
            named(&error);
            return Err(error);
        }
    };
    let pieces: Vec<u8> = (0..stream.tail().pieces).flat_map(|number| stream.piece(number).unwrap()).collect();
    let spool = files.0.join("spool");
    fs::write(&spool, pieces).unwrap();
    if stream.tail().transactions > 0 {
        // One name twice is refused here; nothing that passes has half a transaction in it.
        if check(&spool, &have, stream.tail()).is_ok() {
            let transactions: Vec<_> = Spooled::open(&spool).unwrap().map(Result::unwrap).collect();
            assert_eq!(transactions.len() as u64, stream.tail().transactions);
            for transaction in &transactions {
                // Refused or not, in whatever server's packets.
                let _ = packets(flavour, transaction, 1 << 20);
            }
        }
    }
    let found = have.union(&stream.tail().set)?;
    if let Ok(all) = all {
        assert_eq!(all, found, "both readers see the same");
    }
    Ok(found)
}

/// Where events begin.
fn events(content: &[u8]) -> Vec<usize> {
    let mut places = vec![4];
    while let Some(size) = content.get(places[places.len() - 1] + 9..).and_then(le32) {
        places.push(places[places.len() - 1] + usize::try_from(size).unwrap());
    }
    places.pop();
    places
}

/// Changes a byte of an event and makes its checksum right again, as somebody would who means harm.
fn forge(content: &mut [u8], event: &Index, at: &Index, byte: u8) {
    let places = events(content);
    let from = *event.get(&places);
    let Some(size) = content.get(from + 9..).and_then(le32).and_then(|size| usize::try_from(size).ok()) else { return };
    let Some(event) = content.get_mut(from..from + size).filter(|event| event.len() > HEADER + CHECKSUM) else {
        return;
    };
    let end = event.len() - CHECKSUM;
    // The frame's own fields are the other tests': here the content is meant.
    event[HEADER + at.index(end - HEADER)] = byte;
    let checksum = crc32fast::hash(&event[..end]);
    event[end..].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn the_real_files_are_read_whole() {
    for (flavour, content) in REAL {
        let found = read(flavour, content).unwrap();
        let files = Files::with(content);
        let stream = Stream::of(&files.0.join("bin.index"), flavour, &files.have(flavour), None).unwrap();
        assert!(stream.tail().transactions >= 11, "{found}: {:?}", stream.tail());
    }
}

/// A file that ends anywhere has the transactions that end before: one after the other appears, and none in part.
#[test]
fn cut_anywhere_a_file_has_what_ended_before() {
    for (flavour, content) in REAL {
        let mut before = read(flavour, &content[..0]).unwrap_err().to_string().len();
        let mut last = GtidSet::empty(flavour);
        for length in (0..=content.len()).step_by(3).chain([content.len()]) {
            match read(flavour, &content[..length]) {
                Ok(found) => {
                    assert_eq!(found.contains(&last), Ok(true), "{length}");
                    last = found;
                }
                // Torn before it tells what came before it, and no file before it.
                Err(_) => before = length,
            }
        }
        assert!(before < 400 && last == read(flavour, content).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_no_binlog(content in vec(any::<u8>(), 0..600), magic in any::<bool>()) {
        let content = if magic { [b"\xfebin".as_slice(), &content].concat() } else { content };
        for (flavour, _) in REAL {
            let _ = read(flavour, &content);
        }
    }

    #[test]
    fn random_bytes_behind_a_sound_head_are_no_transactions(content in vec(any::<u8>(), 0..300), after in 2..9_usize) {
        for (flavour, real) in REAL {
            let head = &real[..events(real)[after]];
            let whole = read(flavour, head).unwrap();
            if let Ok(found) = read(flavour, &[head, &content].concat()) {
                prop_assert_eq!(found, whole);
            }
        }
    }

    /// Without a right checksum no change makes a transaction appear.
    #[test]
    fn changed_bytes_add_nothing(changes in vec((any::<Index>(), any::<u8>()), 1..4)) {
        for (flavour, real) in REAL {
            let whole = read(flavour, real).unwrap();
            let mut content = real.to_vec();
            for (at, byte) in &changes {
                let at = at.index(content.len());
                content[at] = *byte;
            }
            if let Ok(found) = read(flavour, &content) {
                prop_assert_eq!(whole.contains(&found), Ok(true));
            }
        }
    }

    #[test]
    fn forged_events_do_no_harm(changes in vec((any::<Index>(), any::<Index>(), any::<u8>()), 1..4), cut in any::<Index>()) {
        for (flavour, real) in REAL {
            let mut content = real.to_vec();
            for (event, at, byte) in &changes {
                forge(&mut content, event, at, *byte);
            }
            let _ = read(flavour, &content);
            content.truncate(cut.index(content.len()));
            let _ = read(flavour, &content);
        }
    }
}
