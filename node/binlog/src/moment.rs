//! Dates and times of row events as literals of SQL.

use super::table::{Stored, stored, take};
use super::value::{big_number, number, push};

/// Takes one value off the front and writes it; `None` if it is cut short or of another kind.
pub(super) fn literal(bytes: &mut &[u8], column: &Stored, out: &mut String) -> Option<()> {
    let digits = usize::from(column.detail[0]);
    match column.kind {
        stored::DATE | stored::NEWDATE => {
            let packed = number(bytes, 3)?;
            push(out, format_args!("'{:04}-{:02}-{:02}'", packed >> 9, packed >> 5 & 15, packed & 31))
        }
        stored::TIME => {
            let packed = number(bytes, 3)?;
            let (sign, packed) = if packed >> 23 == 1 { ("-", (1 << 24) - packed) } else { ("", packed) };
            let (hours, minutes, seconds) = (packed / 10_000, packed / 100 % 100, packed % 100);
            push(out, format_args!("'{sign}{hours:02}:{minutes:02}:{seconds:02}'"))
        }
        stored::DATETIME => {
            let packed = number(bytes, 8)?;
            let (date, time) = (packed / 1_000_000, packed % 1_000_000);
            push(out, format_args!("'{:04}-{:02}-{:02} ", date / 10_000, date / 100 % 100, date % 100))?;
            push(out, format_args!("{:02}:{:02}:{:02}'", time / 10_000, time / 100 % 100, time % 100))
        }
        stored::TIMESTAMP => {
            let seconds = number(bytes, 4)?;
            timestamp(seconds, "", out)
        }
        stored::TIMESTAMP2 => {
            let seconds = big_number(bytes, 4)?;
            let fraction = fraction(bytes, digits)?;
            timestamp(seconds, &fraction, out)
        }
        stored::DATETIME2 => {
            let packed = big_number(bytes, 5)?.checked_sub(1 << 39)?;
            let fraction = fraction(bytes, digits)?;
            let (months, day) = (packed >> 22, packed >> 17 & 31);
            let (hour, minute, second) = (packed >> 12 & 31, packed >> 6 & 63, packed & 63);
            push(out, format_args!("'{:04}-{:02}-{day:02} ", months / 13, months % 13))?;
            push(out, format_args!("{hour:02}:{minute:02}:{second:02}{fraction}'"))
        }
        stored::TIME2 => time(bytes, digits, out),
        _ => None,
    }
}

fn timestamp(seconds: u64, fraction: &str, out: &mut String) -> Option<()> {
    if seconds == 0 && fraction.trim_matches(['.', '0']).is_empty() {
        return push(out, format_args!("'0000-00-00 00:00:00'"));
    }
    push(out, format_args!("FROM_UNIXTIME({seconds}{fraction})"))
}

/// A point and as many digits as the column has; nothing for a column without.
fn fraction(bytes: &mut &[u8], digits: usize) -> Option<String> {
    let stored = big_number(bytes, digits.div_ceil(2))?;
    shown_fraction(stored, digits)
}

/// Two digits a byte are stored: of an odd number of digits the last is zero.
fn shown_fraction(stored: u64, digits: usize) -> Option<String> {
    let even = digits.div_ceil(2) * 2;
    let text = format!("{stored:0even$}");
    match digits {
        0 => Some(String::new()),
        1..=6 => text.get(..digits).map(|digits| format!(".{digits}")),
        _ => None,
    }
}

/// Below zero the whole, seconds and fraction together, is counted from the other end.
fn time(bytes: &mut &[u8], digits: usize, out: &mut String) -> Option<()> {
    let fraction_bytes = digits.div_ceil(2);
    let fraction_bits = 8 * u32::try_from(fraction_bytes).ok().filter(|bytes| *bytes <= 3)?;
    let mut raw = take(bytes, 3 + fraction_bytes)?;
    let packed = big_number(&mut raw, 3 + fraction_bytes)?;
    let zero = 1_u64 << (23 + fraction_bits);
    let (sign, size) = if packed < zero { ("-", zero - packed) } else { ("", packed - zero) };
    let (whole, part) = (size >> fraction_bits, size & ((1 << fraction_bits) - 1));
    let fraction = shown_fraction(part, digits)?;
    let (hours, minutes, seconds) = (whole >> 12 & 1023, whole >> 6 & 63, whole & 63);
    push(out, format_args!("'{sign}{hours:02}:{minutes:02}:{seconds:02}{fraction}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: u8, digits: u8, mut bytes: &[u8]) -> String {
        let column = Stored { kind, detail: [digits, 0], unsigned: None, name: None };
        let mut out = String::new();
        literal(&mut bytes, &column, &mut out).unwrap();
        assert!(bytes.is_empty());
        out
    }

    #[test]
    fn dates_and_times_of_both_formats_are_shown() {
        assert_eq!(shown(stored::DATE, 0, &[0x7a, 0xd5, 0x0f]), "'2026-11-26'");
        assert_eq!(shown(stored::TIME, 0, &123_456_u32.to_le_bytes()[..3]), "'12:34:56'");
        assert_eq!(shown(stored::TIMESTAMP, 0, &1_700_000_000_u32.to_le_bytes()), "FROM_UNIXTIME(1700000000)");
        let two = [&1_700_000_000_u32.to_be_bytes()[..], &[0x01, 0xe2, 0x40]].concat();
        assert_eq!(shown(stored::TIMESTAMP2, 6, &two), "FROM_UNIXTIME(1700000000.123456)");
        assert_eq!(shown(stored::TIMESTAMP2, 0, &[0; 4]), "'0000-00-00 00:00:00'");
        assert_eq!(shown(stored::DATETIME, 0, &20_261_126_091_500_u64.to_le_bytes()), "'2026-11-26 09:15:00'");
        let packed: u64 = (1 << 39) | (2026 * 13 + 11) << 22 | 26 << 17 | 9 << 12 | 15 << 6 | 7;
        let datetime = [&packed.to_be_bytes()[3..], &[0x04, 0xce]].concat();
        assert_eq!(shown(stored::DATETIME2, 3, &datetime), "'2026-11-26 09:15:07.123'");
    }

    #[test]
    fn times_below_zero_are_counted_from_the_other_end() {
        let of = |hours: u32, minutes: u32, seconds: u32| hours << 12 | minutes << 6 | seconds;
        let plus = (0x0080_0000 + of(1, 2, 3)).to_be_bytes();
        assert_eq!(shown(stored::TIME2, 0, &plus[1..]), "'01:02:03'");
        let minus = (0x0080_0000 - of(1, 2, 3)).to_be_bytes();
        assert_eq!(shown(stored::TIME2, 0, &minus[1..]), "'-01:02:03'");
        let whole = u64::from(of(0, 0, 1)) << 8 | 50;
        let half = ((1_u64 << 31) - whole).to_be_bytes();
        assert_eq!(shown(stored::TIME2, 2, &half[4..]), "'-00:00:01.50'");
    }
}
