//! MySQL's compressed transactions: one event that holds all others.

use std::io::Read;

use mysql_async::binlog::events::TransactionPayloadReader;

use super::event::{le16, le32, le64};

/// No transaction's events are larger: the same bound as for what is collected in a rescue.
const LARGEST: u64 = 1 << 30;

/// The events inside a payload event's body, without checksums, one after another.
pub(super) fn inflate(body: &[u8]) -> Result<Vec<u8>, String> {
    let (compression, payload) = split(body).ok_or("a compressed event is malformed")?;
    let broken = |error| format!("a compressed event cannot be read: {error}");
    let reader = match compression {
        0 => TransactionPayloadReader::new_zstd(payload).map_err(broken)?,
        255 => TransactionPayloadReader::new_uncompressed(payload),
        other => return Err(format!("the compression {other} is unknown")),
    };
    let mut content = Vec::new();
    reader.take(LARGEST + 1).read_to_end(&mut content).map_err(broken)?;
    if u64::try_from(content.len()).is_ok_and(|length| length > LARGEST) {
        return Err("a compressed event is larger than 1 GiB".to_owned());
    }
    Ok(content)
}

/// Fields of number, length and value, up to the number 0. Number 2 tells the compression.
fn split(mut bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut compression = None;
    loop {
        let field = length_encoded(&mut bytes)?;
        if field == 0 {
            return Some((compression?, bytes));
        }
        let length = usize::try_from(length_encoded(&mut bytes)?).ok()?;
        let (mut value, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        if field == 2 {
            compression = Some(length_encoded(&mut value)?);
        }
    }
}

fn length_encoded(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    let (number, length) = match first {
        0xfc => (u64::from(le16(rest)?), 2),
        0xfd => (u64::from(le32(&[rest.get(..3)?, &[0]].concat())?), 3),
        0xfe => (le64(rest)?, 8),
        0xff | 0xfb => return None,
        small => (u64::from(*small), 0),
    };
    *bytes = rest.get(length..)?;
    Some(number)
}
