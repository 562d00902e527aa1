//! The names of transactions inside events.

use tasuki_schemas::gtid::{Flavour, Gtid, GtidSet};

use super::event::{Event, kind, le32, le64};

/// A GTID event, and what it says about the shape of its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// The transaction's name.
    pub(super) gtid: Gtid,
    /// MariaDB: one statement, without COMMIT. On MySQL the next event tells.
    pub(super) standalone: bool,
    /// MariaDB: a part of an XA transaction.
    pub(super) xa: bool,
}

/// Reads a GTID event of either flavour; `None` if it is malformed.
pub(super) fn named(event: &Event<'_>) -> Option<Named> {
    let body = event.body;
    match event.kind {
        kind::GTID => {
            let (uuid, rest) = body.get(1..)?.split_first_chunk::<16>()?;
            Some(plain(mysql(uuid, None, le64(rest)?)))
        }
        kind::TAGGED_GTID => tagged(body).map(plain),
        kind::MARIADB_GTID => {
            let (sequence, domain, flags) = (le64(body)?, le32(body.get(8..)?)?, *body.get(12)?);
            let gtid = Gtid::Mariadb { domain, server: event.server_id, sequence };
            Some(Named { gtid, standalone: flags & 1 != 0, xa: flags & 0xc0 != 0 })
        }
        _ => None,
    }
}

const fn plain(gtid: Gtid) -> Named {
    Named { gtid, standalone: false, xa: false }
}

fn mysql(uuid: &[u8; 16], tag: Option<String>, number: u64) -> Gtid {
    Gtid::Mysql { uuid: uuid_text(uuid), tag, number }
}

fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in uuid.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// MySQL's serialization library: a version, the size, and fields by ascending number. The first four are the name.
fn tagged(body: &[u8]) -> Option<Gtid> {
    let mut bytes = body.strip_prefix(&[2])?;
    let _size = varint(&mut bytes)?;
    let _last_not_ignorable = varint(&mut bytes)?;
    let (mut uuid, mut number, mut tag) = (None, None, None);
    while number.is_none() || tag.is_none() {
        match varint(&mut bytes)? {
            0 => drop(varint(&mut bytes)?),
            1 => {
                let mut octets = [0; 16];
                for octet in &mut octets {
                    *octet = u8::try_from(varint(&mut bytes)?).ok()?;
                }
                uuid = Some(octets);
            }
            // A signed number: the lowest bit is the sign.
            2 => number = varint(&mut bytes).filter(|raw| raw & 1 == 0).map(|raw| raw >> 1),
            3 => tag = Some(text(&mut bytes)?),
            _ => return None,
        }
    }
    Some(mysql(&uuid?, tag.filter(|tag| !tag.is_empty()), number?))
}

fn text(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(varint(bytes)?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

/// The number of low one-bits of the first byte tells how many bytes follow it.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let length = usize::try_from(bytes.first()?.trailing_ones()).ok()? + 1;
    let (raw, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    if length == 9 {
        return le64(raw.get(1..)?);
    }
    let mut number = [0; 8];
    number.get_mut(..length)?.copy_from_slice(raw);
    u64::from_le_bytes(number).checked_shr(u32::try_from(length).ok()?)
}

/// Reads the set of all transactions before the file: the event after the format description. `None` if malformed.
pub(super) fn before_file(event: &Event<'_>, flavour: Flavour) -> Option<GtidSet> {
    match (event.kind, flavour) {
        (kind::PREVIOUS_GTIDS, Flavour::Mysql) => previous_gtids(event.body),
        (kind::MARIADB_GTID_LIST, Flavour::Mariadb) => gtid_list(event.body),
        _ => None,
    }
}

fn gtid_list(body: &[u8]) -> Option<GtidSet> {
    let mut set = GtidSet::empty(Flavour::Mariadb);
    // The four highest bits are flags.
    let count = usize::try_from(le32(body)? & 0x0fff_ffff).ok()?;
    let mut entries = body.get(4..)?.chunks_exact(16);
    for _ in 0..count {
        let entry = entries.next()?;
        let gtid =
            Gtid::Mariadb { domain: le32(entry)?, server: le32(entry.get(4..)?)?, sequence: le64(entry.get(8..)?)? };
        set.insert(&gtid).ok()?;
    }
    Some(set)
}

/// Since tags exist, the number of sources stands in the middle of a word whose first and last byte are 1 when any
/// source has one; otherwise the word is the number itself.
fn previous_gtids(body: &[u8]) -> Option<GtidSet> {
    let (word, mut bytes) = body.split_first_chunk::<8>()?;
    let word = u64::from_le_bytes(*word);
    let tagged = word >> 56 != 0;
    let count = if tagged { (word >> 8) & 0xffff_ffff_ffff } else { word };
    let mut parts = Vec::new();
    for _ in 0..count {
        let (uuid, rest) = bytes.split_first_chunk::<16>()?;
        bytes = rest;
        let tag = if tagged { text(&mut bytes)? } else { String::new() };
        let (intervals, rest) = bytes.split_first_chunk::<8>()?;
        bytes = rest;
        let colon = if tag.is_empty() { "" } else { ":" };
        let mut part = format!("{}{colon}{tag}", uuid_text(uuid));
        for _ in 0..u64::from_le_bytes(*intervals) {
            let (first, end) = (le64(bytes)?, le64(bytes.get(8..)?)?);
            bytes = bytes.get(16..)?;
            part.push_str(&format!(":{first}-{}", end.checked_sub(1)?));
        }
        parts.push(part);
    }
    GtidSet::parse(Flavour::Mysql, &parts.join(",")).ok()
}
