//! Values of row events as literals of SQL.

use std::fmt::Write as _;

use super::table::{Stored, stored, take};

/// Digits by nine in four bytes; fewer in as many bytes as they need.
const BYTES_OF_DIGITS: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// How a value is to be shown, beyond what the event tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Show {
    /// Whether the number has no sign; `None` if nobody knows.
    pub(super) unsigned: Option<bool>,
    /// The column holds text in UTF-8.
    pub(super) utf8: bool,
}

/// Takes one value off the front and writes it as a literal.
///
/// # Errors
/// A sentence, if the value is cut short or of a kind that is not read here.
pub(super) fn literal(bytes: &mut &[u8], column: &Stored, show: Show, out: &mut String) -> Result<(), String> {
    let done = match column.kind {
        stored::TINY => integer(bytes, 1, show.unsigned, out),
        stored::SHORT => integer(bytes, 2, show.unsigned, out),
        stored::INT24 => integer(bytes, 3, show.unsigned, out),
        stored::LONG => integer(bytes, 4, show.unsigned, out),
        stored::LONGLONG => integer(bytes, 8, show.unsigned, out),
        stored::FLOAT => take(bytes, 4).and_then(|raw| {
            let number = f32::from_le_bytes(*raw.first_chunk()?);
            push(out, format_args!("{number:?}"))
        }),
        stored::DOUBLE => take(bytes, 8).and_then(|raw| {
            let number = f64::from_le_bytes(*raw.first_chunk()?);
            push(out, format_args!("{number:?}"))
        }),
        stored::NEWDECIMAL => decimal(bytes, column.detail, out),
        stored::YEAR => number(bytes, 1).and_then(|year| {
            let year = if year == 0 { 0 } else { 1900 + year };
            push(out, format_args!("{year:04}"))
        }),
        stored::BIT => {
            let [bits, whole] = column.detail.map(usize::from);
            big_number(bytes, whole + usize::from(bits > 0)).and_then(|number| push(out, format_args!("{number}")))
        }
        stored::ENUM | stored::SET => enumerated(bytes, column.detail, out),
        stored::STRING => string(bytes, column.detail, show, out),
        stored::VARCHAR | stored::VAR_STRING => {
            let longest = u16::from_le_bytes(column.detail);
            sized(bytes, if longest < 256 { 1 } else { 2 }).and_then(|raw| text(raw, show, out))
        }
        stored::TINY_BLOB..=stored::BLOB => {
            sized(bytes, usize::from(column.detail[0])).and_then(|raw| text(raw, show, out))
        }
        stored::GEOMETRY | stored::VECTOR => sized(bytes, usize::from(column.detail[0])).and_then(|raw| hex(raw, out)),
        stored::JSON => {
            let raw = sized(bytes, usize::from(column.detail[0])).ok_or("a value is cut short")?;
            return json(raw, out);
        }
        stored::MARIADB_BLOB_COMPRESSED | stored::MARIADB_VARCHAR_COMPRESSED => {
            return Err("a compressed column is not read here".to_owned());
        }
        _ => super::moment::literal(bytes, column, out),
    };
    done.ok_or_else(|| format!("a value of kind {} is cut short or not known", column.kind))
}

pub(super) fn push(out: &mut String, what: std::fmt::Arguments<'_>) -> Option<()> {
    out.write_fmt(what).ok()
}

/// A number of up to eight bytes, the lowest first.
pub(super) fn number(bytes: &mut &[u8], count: usize) -> Option<u64> {
    Some(take(bytes, count)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// A number of up to eight bytes, the highest first.
pub(super) fn big_number(bytes: &mut &[u8], count: usize) -> Option<u64> {
    Some(take(bytes, count)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn integer(bytes: &mut &[u8], count: usize, unsigned: Option<bool>, out: &mut String) -> Option<()> {
    let plain = number(bytes, count)?;
    let unused = 64 - 8 * u32::try_from(count).ok()?;
    let signed = plain.cast_signed().checked_shl(unused)?.checked_shr(unused)?;
    match unsigned {
        Some(true) => push(out, format_args!("{plain}")),
        None if signed < 0 => push(out, format_args!("{signed} /* unsigned: {plain} */")),
        Some(false) | None => push(out, format_args!("{signed}")),
    }
}

/// A length and as many bytes.
fn sized<'a>(bytes: &mut &'a [u8], length_bytes: usize) -> Option<&'a [u8]> {
    let length = number(bytes, length_bytes)?;
    take(bytes, usize::try_from(length).ok()?)
}

/// CHAR and BINARY; older events have ENUM and SET in this shape as well.
fn string(bytes: &mut &[u8], detail: [u8; 2], show: Show, out: &mut String) -> Option<()> {
    let [kind, length] = detail;
    if matches!(kind, stored::ENUM | stored::SET) {
        return enumerated(bytes, [kind, length], out);
    }
    // Two bits of a long CHAR's length are hidden, inverted, in its kind.
    let longest = usize::from(length) | usize::from((kind & 0x30) ^ 0x30) << 4;
    sized(bytes, if longest < 256 { 1 } else { 2 }).and_then(|raw| text(raw, show, out))
}

/// ENUM and SET are shown by number, which SQL takes as well.
fn enumerated(bytes: &mut &[u8], detail: [u8; 2], out: &mut String) -> Option<()> {
    let number = number(bytes, usize::from(detail[1]))?;
    push(out, format_args!("{number}"))
}

/// Text that every character set reads alike is quoted, and UTF-8 where the column has it; the rest is shown as bytes.
pub(super) fn text(raw: &[u8], show: Show, out: &mut String) -> Option<()> {
    let plain = |c: char| c == '\n' || c == '\t' || c == '\r' || !c.is_control();
    match std::str::from_utf8(raw) {
        Ok(text) if (show.utf8 || text.is_ascii()) && text.chars().all(plain) => {
            quote(text, out);
            Some(())
        }
        Ok(_) | Err(_) => hex(raw, out),
    }
}

/// A quoted text.
pub(super) fn quote(text: &str, out: &mut String) {
    out.push('\'');
    for c in text.chars() {
        match c {
            '\'' => out.push_str("''"),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            other => out.push(other),
        }
    }
    out.push('\'');
}

pub(super) fn hex(raw: &[u8], out: &mut String) -> Option<()> {
    out.push_str("X'");
    for byte in raw {
        push(out, format_args!("{byte:02x}"))?;
    }
    out.push('\'');
    Some(())
}

/// MySQL's binary JSON, by the decoder of the client library.
fn json(raw: &[u8], out: &mut String) -> Result<(), String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("a JSON value cannot be read: {error}");
    let value: mysql_common::binlog::jsonb::Value<'_> =
        mysql_common::io::ParseBuf(raw).parse(()).map_err(|error| unreadable(&error))?;
    let value = serde_json::Value::try_from(value).map_err(|error| unreadable(&error))?;
    quote(&value.to_string(), out);
    Ok(())
}

/// Groups of nine digits, the first bit inverted; all bits inverted below zero.
fn decimal(bytes: &mut &[u8], detail: [u8; 2], out: &mut String) -> Option<()> {
    let [precision, scale] = detail.map(usize::from);
    let whole = precision.checked_sub(scale)?;
    let size = |digits: usize| Some(digits / 9 * 4 + BYTES_OF_DIGITS.get(digits % 9)?);
    let mut raw = take(bytes, size(whole)? + size(scale)?)?.to_vec();
    let first = raw.first_mut()?;
    let negative = *first & 0x80 == 0;
    *first ^= 0x80;
    if negative {
        raw.iter_mut().for_each(|byte| *byte = !*byte);
        out.push('-');
    }
    let mut rest = raw.as_slice();
    let mut digits = String::new();
    group(&mut rest, whole % 9, &mut digits)?;
    for _ in 0..whole / 9 {
        group(&mut rest, 9, &mut digits)?;
    }
    let shown = digits.trim_start_matches('0');
    out.push_str(if shown.is_empty() { "0" } else { shown });
    if scale > 0 {
        out.push('.');
        for _ in 0..scale / 9 {
            group(&mut rest, 9, out)?;
        }
        group(&mut rest, scale % 9, out)?;
    }
    Some(())
}

fn group(bytes: &mut &[u8], digits: usize, out: &mut String) -> Option<()> {
    if digits == 0 {
        return Some(());
    }
    let number = big_number(bytes, *BYTES_OF_DIGITS.get(digits)?)?;
    push(out, format_args!("{number:0digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: u8, detail: [u8; 2], mut bytes: &[u8]) -> String {
        let column = Stored { kind, detail, unsigned: None, name: None };
        let mut out = String::new();
        literal(&mut bytes, &column, Show { unsigned: Some(false), utf8: true }, &mut out).unwrap();
        assert!(bytes.is_empty(), "{bytes:?} is left of {out}");
        out
    }

    #[test]
    fn numbers_are_shown_with_their_sign() {
        assert_eq!(shown(stored::TINY, [0; 2], &[0xff]), "-1");
        assert_eq!(shown(stored::INT24, [0; 2], &[0, 0, 0x80]), "-8388608");
        assert_eq!(shown(stored::LONGLONG, [0; 2], &[0xff; 8]), "-1");
        let column = Stored { kind: stored::SHORT, detail: [0; 2], unsigned: None, name: None };
        for (unsigned, wanted) in [(Some(true), "65535"), (None, "-1 /* unsigned: 65535 */")] {
            let mut out = String::new();
            literal(&mut &[0xff, 0xff][..], &column, Show { unsigned, utf8: true }, &mut out).unwrap();
            assert_eq!(out, wanted);
        }
        assert_eq!(shown(stored::DOUBLE, [8, 0], &1.5_f64.to_le_bytes()), "1.5");
        assert_eq!(shown(stored::DOUBLE, [8, 0], &1e300_f64.to_le_bytes()), "1e300");
        assert_eq!(shown(stored::FLOAT, [4, 0], &0.1_f32.to_le_bytes()), "0.1");
    }

    /// The bytes are those of the servers' manual: DECIMAL(14, 4).
    #[test]
    fn decimals_are_shown_with_all_their_digits() {
        assert_eq!(shown(stored::NEWDECIMAL, [14, 4], &[0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2]), "1234567890.1234");
        assert_eq!(shown(stored::NEWDECIMAL, [14, 4], &[0x7e, 0xf2, 0x04, 0xc7, 0x2d, 0xfb, 0x2d]), "-1234567890.1234");
        assert_eq!(shown(stored::NEWDECIMAL, [4, 2], &[0x80, 0x05]), "0.05");
        assert_eq!(shown(stored::NEWDECIMAL, [3, 0], &[0x80, 0x07]), "7");
    }

    #[test]
    fn text_is_quoted_and_bytes_are_not_taken_for_text() {
        assert_eq!(shown(stored::VARCHAR, [20, 0], b"\x04it's"), "'it''s'");
        assert_eq!(shown(stored::VARCHAR, [0, 4], b"\x03\x00a\\\n"), "'a\\\\\\n'");
        assert_eq!(shown(stored::BLOB, [2, 0], &[2, 0, 0xff, 0]), "X'ff00'");
        assert_eq!(shown(stored::STRING, [0xfe, 10], b"\x02ab"), "'ab'");
        // CHAR(255) in utf8mb4: 1020 bytes.
        assert_eq!(shown(stored::STRING, [0xce, 0xfc], b"\x01\x00x"), "'x'");
        assert_eq!(shown(stored::STRING, [stored::ENUM, 1], &[3]), "3");
        assert_eq!(shown(stored::BIT, [1, 1], &[1, 0x0f]), "271");
        let latin = Stored { kind: stored::VARCHAR, detail: [20, 0], unsigned: None, name: None };
        let mut out = String::new();
        literal(&mut "\u{2}é".as_bytes(), &latin, Show { unsigned: None, utf8: false }, &mut out).unwrap();
        assert_eq!(out, "X'c3a9'", "the bytes may be two letters of another character set");
    }

    #[test]
    fn json_is_shown_as_text() {
        // {"a": 1}, as MySQL stores it.
        let raw = [0, 1, 0, 12, 0, 11, 0, 1, 0, 5, 1, 0, b'a'];
        let sized = |length: usize| [&[u8::try_from(length).unwrap(), 0, 0, 0][..], &raw[..length]].concat();
        assert_eq!(shown(stored::JSON, [4, 0], &sized(raw.len())), "'{\"a\":1}'");
        let column = Stored { kind: stored::JSON, detail: [4, 0], unsigned: None, name: None };
        let show = Show { unsigned: None, utf8: true };
        assert!(literal(&mut sized(9).as_slice(), &column, show, &mut String::new()).is_err());
    }

    #[test]
    fn a_value_that_is_cut_short_is_refused() {
        let show = Show { unsigned: None, utf8: true };
        for (kind, detail, bytes) in [
            (stored::LONG, [0, 0], &[1, 2, 3][..]),
            (stored::VARCHAR, [20, 0], &[5, b'a']),
            (stored::NEWDECIMAL, [14, 4], &[0x81]),
            (stored::NEWDECIMAL, [1, 4], &[0x81]),
            (stored::BLOB, [4, 0], &[0xff, 0xff, 0xff, 0xff, 1]),
            (77, [0, 0], &[0; 20]),
        ] {
            let column = Stored { kind, detail, unsigned: None, name: None };
            assert!(literal(&mut &*bytes, &column, show, &mut String::new()).is_err(), "{kind}");
        }
    }
}
