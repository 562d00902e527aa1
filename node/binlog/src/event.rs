//! One binlog event: its header, and what its type means.

/// The length of every event's header.
pub(super) const HEADER: usize = 19;
/// The checksum at the end of an event.
pub(super) const CHECKSUM: usize = 4;
/// Header flag (lower byte): the file was not closed. It is set after the checksum was computed.
const IN_USE: u8 = 0x1;
/// Header flag: the statement does not depend on the default database.
pub(super) const SUPPRESS_USE: u16 = 0x8;
const IGNORABLE: u16 = 0x80;

/// The event types that are told apart, named as in the servers' sources.
pub(super) mod kind {
    pub(in super::super) const QUERY: u8 = 2;
    pub(in super::super) const STOP: u8 = 3;
    pub(in super::super) const ROTATE: u8 = 4;
    pub(in super::super) const INTVAR: u8 = 5;
    pub(in super::super) const LOAD_APPEND: u8 = 9;
    pub(in super::super) const RAND: u8 = 13;
    pub(in super::super) const USER_VAR: u8 = 14;
    pub(in super::super) const FORMAT_DESCRIPTION: u8 = 15;
    pub(in super::super) const XID: u8 = 16;
    pub(in super::super) const LOAD_BEGIN: u8 = 17;
    pub(in super::super) const LOAD_EXECUTE: u8 = 18;
    pub(in super::super) const TABLE_MAP: u8 = 19;
    pub(in super::super) const ROWS_QUERY: u8 = 29;
    pub(in super::super) const GTID: u8 = 33;
    pub(in super::super) const PREVIOUS_GTIDS: u8 = 35;
    pub(in super::super) const XA_PREPARE: u8 = 38;
    pub(in super::super) const PARTIAL_UPDATE_ROWS: u8 = 39;
    pub(in super::super) const PAYLOAD: u8 = 40;
    pub(in super::super) const TAGGED_GTID: u8 = 42;
    pub(in super::super) const MARIADB_ANNOTATE_ROWS: u8 = 160;
    pub(in super::super) const MARIADB_CHECKPOINT: u8 = 161;
    pub(in super::super) const MARIADB_GTID: u8 = 162;
    pub(in super::super) const MARIADB_GTID_LIST: u8 = 163;
    pub(in super::super) const MARIADB_START_ENCRYPTION: u8 = 164;
    pub(in super::super) const MARIADB_COMPRESSED_QUERY: u8 = 165;
    pub(in super::super) const MARIADB_COMPRESSED_ROWS_LAST: u8 = 171;
}

/// An event of a file or of a delivery. Its frame is sound; its checksum, if it has one, was found right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event<'a> {
    /// Seconds since 1970, when the statement began.
    pub(super) timestamp: u32,
    /// See [`kind`].
    pub(super) kind: u8,
    /// Who wrote it.
    pub(super) server_id: u32,
    /// Header flags.
    pub(super) flags: u16,
    /// Without header and checksum.
    pub(super) body: &'a [u8],
    /// Whole.
    pub(super) bytes: &'a [u8],
}

impl<'a> Event<'a> {
    /// Takes an event apart; `None` if it is too short for its frame.
    pub(super) fn parse(bytes: &'a [u8], checksum: bool) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let kind = *header.get(4)?;
        let tail = if checksum || kind == kind::FORMAT_DESCRIPTION { CHECKSUM } else { 0 };
        let body = rest.get(..rest.len().checked_sub(tail)?)?;
        Some(Self {
            timestamp: le32(header)?,
            kind,
            server_id: le32(header.get(5..)?)?,
            flags: le16(header.get(17..)?)?,
            body,
            bytes,
        })
    }

    /// The event without its checksum and with its length corrected, as a session expects it whose format
    /// description says that there are no checksums.
    pub(super) fn stripped(&self) -> Option<Vec<u8>> {
        let length = HEADER + self.body.len();
        let mut bytes = self.bytes.get(..length)?.to_vec();
        bytes.get_mut(9..13)?.copy_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
        Some(bytes)
    }

    /// True for the events that change rows, in any of the versions.
    pub(super) const fn is_rows(&self) -> bool {
        matches!(self.kind, 23..=25 | 30..=32 | kind::PARTIAL_UPDATE_ROWS)
    }

    /// True if a reader that does not know the event may skip it.
    pub(super) const fn is_ignorable(&self) -> bool {
        self.flags & IGNORABLE != 0
    }
}

/// Compares an event's checksum. That of a format description was computed before its file was marked as in use.
pub(super) fn intact(bytes: &[u8]) -> bool {
    let Some((content, checksum)) = bytes.split_last_chunk::<CHECKSUM>() else { return false };
    let Some((head, tail)) = content.split_at_checked(17) else { return false };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    match tail.split_first() {
        Some((flags, rest)) if head.get(4) == Some(&kind::FORMAT_DESCRIPTION) => {
            hasher.update(&[flags & !IN_USE]);
            hasher.update(rest);
        }
        Some(_) | None => hasher.update(tail),
    }
    hasher.finalize() == u32::from_le_bytes(*checksum)
}

/// Whether a format description event says that its file was not closed.
pub(super) fn is_in_use(format: &[u8]) -> bool {
    format.get(17).is_some_and(|flags| flags & IN_USE != 0)
}

/// A format description event as it stands in a file that was closed: its checksum is right as it is.
pub(super) fn closed(format: &[u8]) -> Vec<u8> {
    let mut bytes = format.to_vec();
    if let Some(flags) = bytes.get_mut(17) {
        *flags &= !IN_USE;
    }
    bytes
}

/// The format description event as it must be given to a session: no checksums in what follows, file closed.
pub(super) fn without_checksums(format: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = format.to_vec();
    let in_use = bytes.get_mut(17)?;
    *in_use &= !IN_USE;
    let end = bytes.len().checked_sub(CHECKSUM)?;
    *bytes.get_mut(end.checked_sub(1)?)? = 0;
    let checksum = crc32fast::hash(bytes.get(..end)?);
    bytes.get_mut(end..)?.copy_from_slice(&checksum.to_le_bytes());
    Some(bytes)
}

/// Whether the events that follow a format description event end in checksums; `None` if it names an unknown kind.
pub(super) fn has_checksums(format: &[u8]) -> Option<bool> {
    match format.get(format.len().checked_sub(CHECKSUM + 1)?)? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

pub(super) fn le16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|chunk| u16::from_le_bytes(*chunk))
}

pub(super) fn le32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
}

pub(super) fn le64(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}
