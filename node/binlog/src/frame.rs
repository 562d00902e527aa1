//! Cutting a binlog file into events. A torn tail is an end like any other; damage before it is an error.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::BinlogError;
use super::event::{CHECKSUM, Event, HEADER, has_checksums, intact, kind, le32};

pub(super) const MAGIC: [u8; 4] = *b"\xfebin";
const MAGIC_ENCRYPTED: [u8; 4] = *b"\xfdbin";
/// The servers refuse larger packets, so no sound event is larger.
const LARGEST: u32 = (1 << 30) + (1 << 20);

/// Reads the events of one file in order.
#[derive(Debug)]
pub(super) struct Frames {
    path: PathBuf,
    input: BufReader<File>,
    length: u64,
    /// Where the event in `buffer` begins.
    offset: u64,
    /// Where the next event begins.
    next: u64,
    checksum: bool,
    buffer: Vec<u8>,
    ended: bool,
}

enum Verdict {
    Sound,
    Torn,
}

impl Frames {
    /// Opens a file; a file too short for its magic number has no events.
    pub(super) fn open(path: &Path) -> Result<Self, BinlogError> {
        let failed = |source| BinlogError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut frames = Self {
            path: path.to_owned(),
            input: BufReader::with_capacity(1 << 18, file),
            length,
            offset: 0,
            next: 0,
            checksum: false,
            buffer: Vec::new(),
            ended: false,
        };
        let mut magic = [0; 4];
        if length < 4 {
            frames.ended = true;
            return Ok(frames);
        }
        frames.input.read_exact(&mut magic).map_err(failed)?;
        frames.next = 4;
        match magic {
            MAGIC => Ok(frames),
            MAGIC_ENCRYPTED => Err(BinlogError::Encrypted { path: path.to_owned() }),
            _ => Err(frames.damaged("this is no binlog file")),
        }
    }

    /// Where the event read last begins.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Where it ends.
    pub(super) const fn end(&self) -> u64 {
        self.next
    }

    /// An error at the current event.
    pub(super) fn damaged(&self, what: &'static str) -> BinlogError {
        BinlogError::Damaged { path: self.path.clone(), offset: self.offset, what }
    }

    /// An error at the current event.
    pub(super) fn unsupported(&self, what: String) -> BinlogError {
        BinlogError::Unsupported { path: self.path.clone(), offset: self.offset, what }
    }

    /// Reads the next event into the buffer; false at the end, torn or not. The event itself is [`Self::event`].
    pub(super) fn advance(&mut self) -> Result<bool, BinlogError> {
        if self.ended {
            return Ok(false);
        }
        let verdict = self.read_event()?;
        self.ended = matches!(verdict, Verdict::Torn);
        Ok(!self.ended)
    }

    /// The event read last.
    pub(super) fn event(&self) -> Result<Event<'_>, BinlogError> {
        Event::parse(&self.buffer, self.checksum).ok_or_else(|| self.damaged("an event is shorter than its frame"))
    }

    fn read_event(&mut self) -> Result<Verdict, BinlogError> {
        self.offset = self.next;
        let left = self.length - self.offset;
        if left < HEADER as u64 {
            return Ok(Verdict::Torn);
        }
        self.buffer.resize(HEADER, 0);
        self.fill(0)?;
        let size = self.buffer.get(9..).and_then(le32).unwrap_or(0);
        if u64::from(size) > left {
            return Ok(Verdict::Torn);
        }
        let length = usize::try_from(size).unwrap_or(0);
        if length < HEADER + CHECKSUM || size > LARGEST {
            return self.zeros_or("an event's size is impossible");
        }
        self.buffer.resize(length, 0);
        self.fill(HEADER)?;
        self.next = self.offset + u64::from(size);
        if self.buffer.get(4) == Some(&kind::FORMAT_DESCRIPTION) {
            let unknown = || self.unsupported("the checksum algorithm is unknown".to_owned());
            self.checksum = has_checksums(&self.buffer).ok_or_else(unknown)?;
        } else if !self.checksum {
            return Ok(Verdict::Sound);
        }
        if intact(&self.buffer) {
            return Ok(Verdict::Sound);
        }
        if self.next == self.length {
            return Ok(Verdict::Torn);
        }
        self.zeros_or("an event's checksum is wrong")
    }

    fn fill(&mut self, from: usize) -> Result<(), BinlogError> {
        let failed = |source| BinlogError::Io { path: self.path.clone(), source };
        match self.buffer.get_mut(from..) {
            Some(space) => self.input.read_exact(space).map_err(failed),
            None => Ok(()),
        }
    }

    /// After a power loss a file may end in zeros: the length was stored, the content was not.
    fn zeros_or(&mut self, what: &'static str) -> Result<Verdict, BinlogError> {
        let mut piece = [0; 4096];
        loop {
            match self.input.read(&mut piece) {
                Ok(0) => return Ok(Verdict::Torn),
                Ok(count) if piece.iter().take(count).all(|byte| *byte == 0) => {}
                Ok(_) => return Err(self.damaged(what)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(BinlogError::Io { path: self.path.clone(), source }),
            }
        }
    }
}
