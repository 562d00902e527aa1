//! What somebody lacks of a dead server's binlog, as one stream of bytes that can be read at any place: a binlog of its own
//! that holds only whole transactions, each as it stands in its file.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use tasuki_schemas::command::Tail;
use tasuki_schemas::gtid::{Flavour, Gtid, GtidSet};

use super::BinlogError;
use super::event::closed;
use super::frame::MAGIC;
use super::history::since;
use super::reader::Reader;

/// The bytes of a piece; in base64 and with its envelope it stays well below what a message may have.
pub const PIECE: u64 = 112 << 10;

/// Where the bytes of the stream are. The files are those of a server that is gone: they do not change.
#[derive(Debug)]
pub struct Stream {
    parts: Vec<Part>,
    tail: Tail,
}

#[derive(Debug)]
struct Part {
    /// Where it begins in the stream.
    at: u64,
    length: u64,
    from: From,
}

#[derive(Debug)]
enum From {
    Memory(Vec<u8>),
    File { file: usize, offset: u64, path: PathBuf },
}

impl Stream {
    /// Reads the files once and notes where the whole transactions are that `have` lacks and `want` has. Blocks.
    ///
    /// # Errors
    /// [`BinlogError`] names the file and the offset; also if the files that would tell are purged.
    pub fn of(index: &Path, flavour: Flavour, have: &GtidSet, want: Option<&GtidSet>) -> Result<Self, BinlogError> {
        let lacks = |gtid: &Gtid| !have.contains_gtid(gtid) && want.is_none_or(|want| want.contains_gtid(gtid));
        let tail = Tail { pieces: 0, bytes: 0, checksum: 0, transactions: 0, set: GtidSet::empty(flavour) };
        let mut stream = Self { parts: Vec::new(), tail };
        for (file, path) in since(index, flavour, have)?.into_iter().enumerate() {
            let mut reader = Reader::open(&path, flavour)?;
            let mut head = Some(closed(reader.format()));
            while let Some(whole) = reader.next(|_, _| {})? {
                if !lacks(&whole.gtid) {
                    continue;
                }
                if let Some(head) = head.take() {
                    stream.begin(head);
                }
                stream.extend(file, &path, whole.from, whole.to);
                stream.tail.transactions += 1;
                stream.tail.set.insert(&whole.gtid)?;
            }
        }
        stream.tail.pieces = stream.tail.bytes.div_ceil(PIECE).max(1);
        let mut hasher = crc32fast::Hasher::new();
        for number in 0..stream.tail.pieces {
            hasher.update(&stream.piece(number)?);
        }
        stream.tail.checksum = hasher.finalize();
        Ok(stream)
    }

    /// What all pieces are together.
    #[must_use]
    pub const fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The bytes of a piece; empty beyond the end. Blocks.
    ///
    /// # Errors
    /// [`BinlogError::Io`] if a file cannot be read any more.
    pub fn piece(&self, number: u64) -> Result<Vec<u8>, BinlogError> {
        let begin = number.saturating_mul(PIECE).min(self.tail.bytes);
        let end = begin.saturating_add(PIECE).min(self.tail.bytes);
        let mut content = Vec::with_capacity(usize::try_from(end - begin).unwrap_or(0));
        let first = self.parts.partition_point(|part| part.at + part.length <= begin);
        for part in self.parts.iter().skip(first).take_while(|part| part.at < end) {
            let (skip, upto) = (begin.saturating_sub(part.at), part.length.min(end - part.at));
            match &part.from {
                From::Memory(bytes) => {
                    let bytes = bytes.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX));
                    content.extend(bytes.take(usize::try_from(upto - skip).unwrap_or(usize::MAX)));
                }
                From::File { offset, path, .. } => {
                    let failed = |source| BinlogError::Io { path: path.clone(), source };
                    let at = content.len();
                    content.resize(at + usize::try_from(upto - skip).unwrap_or(0), 0);
                    let mut input = File::open(path).map_err(failed)?;
                    input.seek(SeekFrom::Start(offset + skip)).map_err(failed)?;
                    input.read_exact(content.get_mut(at..).unwrap_or_default()).map_err(failed)?;
                }
            }
        }
        Ok(content)
    }

    /// What stands before the first transaction of a file: its format description, as that of a closed file.
    fn begin(&mut self, mut head: Vec<u8>) {
        if self.parts.is_empty() {
            head.splice(..0, MAGIC);
        }
        let length = head.len() as u64;
        self.push(From::Memory(head), length);
    }

    fn extend(&mut self, file: usize, path: &Path, from: u64, to: u64) {
        let length = to - from;
        if let Some(last) = self.parts.last_mut()
            && let From::File { file: known, offset, .. } = &last.from
            && *known == file
            && offset + last.length == from
        {
            last.length += length;
            self.tail.bytes += length;
            return;
        }
        self.push(From::File { file, offset: from, path: path.to_owned() }, length);
    }

    fn push(&mut self, from: From, length: u64) {
        self.parts.push(Part { at: self.tail.bytes, length, from });
        self.tail.bytes += length;
    }
}
