//! A voter's memory on disk: two checksummed slots in one preallocated file, written alternately.
//!
//! A write replaces the older slot and never the newer one, so a write torn by a power loss leaves the previous
//! state readable. The file's length never changes after creation, so `fdatasync` costs one flush and the disk
//! being full cannot stop a voter. Everything here blocks.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

const SLOT: usize = 64 * 1024;
const HEADER: usize = 24;
const MAGIC: &[u8; 8] = b"tasukiL1";

/// The longest payload a ledger takes, in bytes.
pub const MAX_PAYLOAD: usize = SLOT - HEADER;

/// Why a ledger cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another process holds the ledger: two sidecars for one server must never vote.
    #[error(
        "{path} is in use by another process: stop the other Tasuki node, or give this one its own state directory"
    )]
    Locked {
        /// The ledger's file.
        path: PathBuf,
    },
    /// Neither slot can be read: what this voter promised is lost.
    #[error(
        "{path} holds no readable ledger: this voter's promises are lost; move the file away, and the node starts \
         as a new voter"
    )]
    Unreadable {
        /// The ledger's file.
        path: PathBuf,
    },
    /// The payload is longer than a slot.
    #[error("the ledger takes {MAX_PAYLOAD} bytes and {size} were given: shorten the record")]
    TooLarge {
        /// The payload's length in bytes.
        size: usize,
    },
    /// The sequence number does not rise: reading back would find the older payload.
    #[error("ledger sequence {got} is not above {last}, the last one written")]
    NotNewer {
        /// The number given.
        got: u64,
        /// The number stored.
        last: u64,
    },
    /// The disk refused. After a failed write nothing is known to be stored beyond the previous state.
    #[error("cannot {action} the ledger {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The ledger's file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

/// What a ledger held when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The number of the last durable write.
    pub sequence: u64,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// An open ledger, locked against every other process.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    path: PathBuf,
    newest: usize,
    sequence: u64,
}

impl Ledger {
    /// Opens the ledger at `path` and locks it; a missing one is created and holds nothing.
    ///
    /// # Errors
    /// [`LedgerError::Locked`], [`LedgerError::Unreadable`] or [`LedgerError::Io`].
    pub fn open(path: &Path) -> Result<(Self, Option<Stored>), LedgerError> {
        let failed = |action| move |source: io::Error| LedgerError::Io { action, path: path.to_owned(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed("open"))?;
        match lock(&file) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(LedgerError::Locked { path: path.to_owned() }),
            Err(errno) => return Err(failed("lock")(errno.into())),
        }
        let slots = [read_slot(&file, 0), read_slot(&file, 1)];
        let [first, second] = slots.map(|slot| slot.map_err(failed("read")));
        let (newest, stored) = match (first?, second?) {
            (Slot::Whole(a), Slot::Whole(b)) if a.sequence < b.sequence => (1, if_written(b)),
            (Slot::Whole(a), _) => (0, if_written(a)),
            (_, Slot::Whole(b)) => (1, if_written(b)),
            (Slot::Zero, Slot::Zero) => {
                create(&file, path).map_err(failed("create"))?;
                (0, None)
            }
            (Slot::Torn | Slot::Zero, Slot::Torn | Slot::Zero) => {
                return Err(LedgerError::Unreadable { path: path.to_owned() });
            }
        };
        let sequence = stored.as_ref().map_or(0, |stored| stored.sequence);
        Ok((Self { file, path: path.to_owned(), newest, sequence }, stored))
    }

    /// Stores a payload; when this returns `Ok`, it survives a power loss. `sequence` must rise with every write.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`] and [`LedgerError::NotNewer`] change nothing; after [`LedgerError::Io`] the
    /// ledger still holds the previous payload, or the new one.
    pub fn write(&mut self, sequence: u64, payload: &[u8]) -> Result<(), LedgerError> {
        let size = payload.len();
        let length = u32::try_from(size).ok().filter(|_| size <= MAX_PAYLOAD);
        let length = length.ok_or(LedgerError::TooLarge { size })?;
        if sequence <= self.sequence {
            return Err(LedgerError::NotNewer { got: sequence, last: self.sequence });
        }
        let target = 1 - self.newest;
        let failed = |source| LedgerError::Io { action: "write", path: self.path.clone(), source };
        self.file.write_all_at(&encode(sequence, length, payload), start_of(target)).map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        self.newest = target;
        self.sequence = sequence;
        Ok(())
    }
}

/// A process that was just started shares its parent's lock until it runs its own program, and a holder that is
/// exiting needs a moment, so a refusal is final only after 100 ms.
fn lock(file: &File) -> Result<(), Errno> {
    let mut refusal = Errno::WOULDBLOCK;
    for _ in 0..20 {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(5)),
            Err(errno) => {
                refusal = errno;
                break;
            }
        }
    }
    Err(refusal)
}

/// Sequence 0 marks the blank slots of a new ledger.
fn if_written(stored: Stored) -> Option<Stored> {
    (stored.sequence > 0).then_some(stored)
}

enum Slot {
    Whole(Stored),
    /// Never written: the creation did not finish, so nothing was ever promised from this file.
    Zero,
    Torn,
}

const fn start_of(slot: usize) -> u64 {
    if slot == 0 { 0 } else { SLOT as u64 }
}

/// Both slots are written blank and flushed before the first use, so that a torn first write has something to fall
/// back to. The directory is flushed as well, else the file itself could be gone after a power loss.
fn create(file: &File, path: &Path) -> io::Result<()> {
    let mut image = encode(0, 0, &[]);
    image.resize(SLOT, 0);
    image.extend_from_within(..);
    file.write_all_at(&image, 0)?;
    file.sync_all()?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn checksum(sequence: u64, length: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&sequence.to_le_bytes());
    hasher.update(&length.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

fn encode(sequence: u64, length: u32, payload: &[u8]) -> Vec<u8> {
    let mut slot = Vec::with_capacity(HEADER + payload.len());
    slot.extend_from_slice(MAGIC);
    slot.extend_from_slice(&sequence.to_le_bytes());
    slot.extend_from_slice(&length.to_le_bytes());
    slot.extend_from_slice(&checksum(sequence, length, payload).to_le_bytes());
    slot.extend_from_slice(payload);
    slot
}

fn read_slot(file: &File, slot: usize) -> io::Result<Slot> {
    let mut bytes = vec![0; SLOT];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, start_of(slot) + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(Slot::Zero);
    }
    Ok(decode(&bytes).map_or(Slot::Torn, Slot::Whole))
}

fn decode(bytes: &[u8]) -> Option<Stored> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (sequence, length) = (u64::from_le_bytes(*sequence), u32::from_le_bytes(*length));
    let payload = rest.get(..usize::try_from(length).ok()?)?;
    let intact = u32::from_le_bytes(*crc) == checksum(sequence, length, payload);
    intact.then(|| Stored { sequence, payload: payload.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("tasuki-ledger-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder.join("ledger"))
        }
        fn stored(&self) -> Option<Stored> {
            Ledger::open(&self.0).unwrap().1
        }
        fn image(&self) -> Vec<u8> {
            std::fs::read(&self.0).unwrap()
        }
        fn damage(&self, image: &[u8]) {
            std::fs::write(&self.0, image).unwrap();
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            std::fs::remove_dir_all(self.0.parent().unwrap()).unwrap();
        }
    }

    fn stored(sequence: u64, payload: &[u8]) -> Stored {
        Stored { sequence, payload: payload.to_vec() }
    }

    #[test]
    fn a_missing_ledger_is_created_empty_and_stays_empty() {
        let place = Place::new("new");
        assert_eq!(place.stored(), None);
        assert_eq!(place.stored(), None);
        assert_eq!(place.image().len(), 2 * SLOT);
    }

    #[test]
    fn the_last_write_is_read_back_and_the_one_before_it_is_kept() {
        let place = Place::new("alternate");
        let (mut ledger, _) = Ledger::open(&place.0).unwrap();
        for sequence in 1..=5 {
            ledger.write(sequence, format!("payload {sequence}").as_bytes()).unwrap();
        }
        drop(ledger);
        assert_eq!(place.stored(), Some(stored(5, b"payload 5")));
        assert_eq!(place.image().len(), 2 * SLOT);
        let mut image = place.image();
        let newest = image.windows(9).position(|bytes| bytes == b"payload 5").unwrap();
        image[newest] ^= 1;
        place.damage(&image);
        assert_eq!(place.stored(), Some(stored(4, b"payload 4")));
        let (mut ledger, _) = Ledger::open(&place.0).unwrap();
        ledger.write(6, b"six").unwrap();
        drop(ledger);
        assert_eq!(place.stored(), Some(stored(6, b"six")));
    }

    #[test]
    fn a_write_torn_at_any_byte_leaves_the_previous_state() {
        for before in [0, 2, 3_u64] {
            let place = Place::new(&format!("torn{before}"));
            let (mut ledger, _) = Ledger::open(&place.0).unwrap();
            for sequence in 1..=before {
                ledger.write(sequence, b"a longer payload of the past").unwrap();
            }
            let target = if ledger.newest == 0 { SLOT } else { 0 };
            drop(ledger);
            let (old, new) = (place.image(), encode(before + 1, 8, b"the next"));
            let previous = place.stored();
            for length in 0..new.len() {
                let mut image = old.clone();
                image[target..target + length].copy_from_slice(&new[..length]);
                place.damage(&image);
                assert_eq!(place.stored(), previous, "torn after {length} bytes");
            }
        }
    }

    #[test]
    fn two_unreadable_slots_are_an_error_that_names_the_file_and_the_fix() {
        let place = Place::new("both");
        let (mut ledger, _) = Ledger::open(&place.0).unwrap();
        ledger.write(1, b"one").unwrap();
        drop(ledger);
        let mut image = place.image();
        image[HEADER] ^= 1;
        image[12] ^= 1;
        image[SLOT + 12] ^= 1;
        image[SLOT + HEADER] ^= 1;
        place.damage(&image);
        let error = Ledger::open(&place.0).unwrap_err();
        assert!(matches!(error, LedgerError::Unreadable { .. }), "{error}");
        assert!(error.to_string().contains(place.0.to_str().unwrap()), "{error}");
        assert!(error.to_string().contains("move the file away"), "{error}");
    }

    #[test]
    fn a_creation_cut_short_is_begun_again() {
        let place = Place::new("short");
        for length in [0, 1, SLOT, 2 * SLOT] {
            place.damage(&vec![0; length]);
            assert_eq!(place.stored(), None);
            assert_eq!(place.image().len(), 2 * SLOT);
        }
    }

    #[test]
    fn a_second_holder_is_refused_until_the_first_has_gone() {
        let place = Place::new("lock");
        let first = Ledger::open(&place.0).unwrap();
        let error = Ledger::open(&place.0).unwrap_err();
        assert!(matches!(error, LedgerError::Locked { .. }), "{error}");
        drop(first);
        assert_eq!(place.stored(), None);
    }

    #[test]
    fn a_number_that_does_not_rise_and_a_payload_too_long_change_nothing() {
        let place = Place::new("refuse");
        let (mut ledger, _) = Ledger::open(&place.0).unwrap();
        ledger.write(3, b"three").unwrap();
        assert!(matches!(ledger.write(3, b"again"), Err(LedgerError::NotNewer { got: 3, last: 3 })));
        assert!(matches!(ledger.write(4, &vec![1; MAX_PAYLOAD + 1]), Err(LedgerError::TooLarge { .. })));
        ledger.write(4, &vec![1; MAX_PAYLOAD]).unwrap();
        drop(ledger);
        assert_eq!(place.stored(), Some(stored(4, &vec![1; MAX_PAYLOAD])));
    }
}
