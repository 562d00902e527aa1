//! A tail as it arrived: a file on the candidate's own disk, checked as a whole before anything of it is applied.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use tasuki_schemas::command::Tail;
use tasuki_schemas::gtid::{Flavour, GtidSet};

use super::event::{HEADER, has_checksums, kind, le32};
use super::frame::MAGIC;
use super::reader::Reader;
use super::{BinlogError, Transaction};

/// Checks that a file is what was announced: its length, its checksum, the number of its transactions, each whole, and
/// their names; and that `have` has none of them. Returns the numbers of the servers that wrote them. Blocks.
///
/// # Errors
/// What is wrong, for people. Nothing of the file must be applied then.
pub fn check(path: &Path, have: &GtidSet, tail: &Tail) -> Result<BTreeSet<u32>, String> {
    let wrong = |what: &str| format!("what was delivered is not what was announced: {what}");
    let (bytes, checksum) = sum(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if (bytes, checksum) != (tail.bytes, tail.checksum) {
        let Tail { bytes: announced, checksum: expected, .. } = tail;
        return Err(wrong(&format!(
            "{bytes} bytes of {announced}, with the checksum {checksum:08x} instead of {expected:08x}"
        )));
    }
    let (mut count, mut set, mut servers) = (0, GtidSet::empty(have.flavour()), BTreeSet::new());
    let mut reader = Reader::gathered(path).map_err(|error| error.to_string())?;
    while let Some(whole) =
        reader.next(|_, bytes| servers.extend(bytes.get(5..).and_then(le32))).map_err(|error| error.to_string())?
    {
        if have.contains_gtid(&whole.gtid) || set.contains_gtid(&whole.gtid) {
            return Err(wrong(&format!("{} is here already", whole.gtid)));
        }
        set.insert(&whole.gtid).map_err(|error| error.to_string())?;
        count += 1;
    }
    if count != tail.transactions || set != tail.set {
        return Err(wrong(&format!("{count} transactions of {}: {set} instead of {}", tail.transactions, tail.set)));
    }
    Ok(servers)
}

fn sum(path: &Path) -> io::Result<(u64, u32)> {
    let (mut file, mut hasher, mut bytes) = (File::open(path)?, crc32fast::Hasher::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, hasher.finalize())),
            read => {
                hasher.update(buffer.get(..read).unwrap_or_default());
                bytes += read as u64;
            }
        }
    }
}

/// Writes a checked file as a relay file. MySQL's begin with a list of earlier GTIDs: an empty one, since the channel's
/// own set would otherwise claim them. Blocks.
///
/// # Errors
/// The system's.
pub fn write_relay(spool: &Path, mut relay: File, flavour: Flavour) -> io::Result<()> {
    let reader = Reader::gathered(spool).map_err(io::Error::other)?;
    let format = reader.format();
    let mut rest = File::open(spool)?;
    rest.seek(SeekFrom::Start((MAGIC.len() + format.len()) as u64))?;
    relay.write_all(&MAGIC)?;
    relay.write_all(format)?;
    if flavour == Flavour::Mysql {
        relay.write_all(&no_earlier(format))?;
    }
    io::copy(&mut rest, &mut relay)?;
    relay.sync_all()
}

/// An empty list of earlier GTIDs in the manner of a file with this format description.
fn no_earlier(format: &[u8]) -> Vec<u8> {
    let checksum = has_checksums(format) == Some(true);
    let mut event = format.get(..HEADER).unwrap_or_default().to_vec();
    let length: u32 = if checksum { 31 } else { 27 };
    for (at, byte) in [(4, kind::PREVIOUS_GTIDS), (17, 0x80), (18, 0)] {
        if let Some(place) = event.get_mut(at) {
            *place = byte;
        }
    }
    if let Some(place) = event.get_mut(9..13) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    event.extend([0; 8]);
    if checksum {
        event.extend(crc32fast::hash(&event).to_le_bytes());
    }
    event
}

/// The transactions of a checked file, in order, each in memory by itself. Blocks.
#[derive(Debug)]
pub struct Spooled(Reader);

impl Spooled {
    /// Opens the file.
    ///
    /// # Errors
    /// [`BinlogError`]
    pub fn open(path: &Path) -> Result<Self, BinlogError> {
        Reader::gathered(path).map(Self)
    }
}

impl Iterator for Spooled {
    type Item = Result<Transaction, BinlogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut events = Vec::new();
        let whole = self.0.next(|_, bytes| events.push(bytes.to_vec())).transpose()?;
        Some(whole.map(|whole| Transaction { gtid: whole.gtid.to_string(), format: self.0.format().to_vec(), events }))
    }
}
