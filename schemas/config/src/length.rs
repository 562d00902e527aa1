//! Lengths of time on a command line.

use std::time::Duration;

/// A length as operators write it, e.g. 90s, 30m or 2h.
///
/// # Errors
/// What to write, in words for the command line.
pub fn length(text: &str, longest: Duration) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600)];
    let seconds = units.iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*seconds)
    });
    let length = seconds.map(Duration::from_secs).filter(|length| !length.is_zero() && *length <= longest);
    length.ok_or_else(|| format!("write e.g. 90s, 30m or 2h; at most {}m", longest.as_secs() / 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_operators_write_them() {
        let day = Duration::from_secs(86_400);
        let seconds = |text| length(text, day).map(|length| length.as_secs()).ok();
        assert_eq!([seconds("90s"), seconds("30m"), seconds("24h")], [Some(90), Some(1800), Some(86_400)]);
        for wrong in ["", "30", "0m", "25h", "-1m", "1hm", "m"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
