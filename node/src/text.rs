//! Small texts that people and scripts write and read: durations, times, pairs.

use std::time::Duration;

/// The longest duration: a clock must be able to show the time after it.
const DURATION_MAX: Duration = Duration::from_secs(36_525 * 24 * 3600);

/// Reads a duration such as `250ms`, `3s`, `5m` or `1h30m`. A number needs its unit.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text.trim())
        .map_err(|_| format!("{text:?} is not a duration such as 250ms, 3s or 5m"))?;
    if duration > DURATION_MAX {
        return Err(format!("{text:?} is longer than 100 years"));
    }
    Ok(duration)
}

/// Writes a duration so that [`parse_duration`] reads it: in the largest unit that keeps it whole.
pub fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match () {
        () if !millis.is_multiple_of(1000) => format!("{millis}ms"),
        () if millis == 0 || !millis.is_multiple_of(60_000) => format!("{}s", millis / 1000),
        () if !millis.is_multiple_of(3_600_000) => format!("{}m", millis / 60_000),
        () => format!("{}h", millis / 3_600_000),
    }
}

/// A wall-clock time as RFC 3339 in UTC, to the millisecond.
pub fn format_time(unix_ms: u64) -> String {
    let millis = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

/// Reads `K=V`.
pub fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not of the form K=V")),
    }
}

/// Where a byte of a text is: its line and its column, from 1, in characters.
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Durations in JSON are text.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Writes `3s`.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_duration(*duration))
    }

    /// Reads `3s`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        super::parse_duration(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_what_they_write() {
        for (text, millis) in
            [("250ms", 250), ("3s", 3000), ("5m", 300_000), ("2h", 7_200_000), ("0s", 0), ("90s", 90_000)]
        {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(text), Ok(duration));
            assert_eq!(format_duration(duration), text);
        }
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert!(parse_duration("100y").is_ok());
        for bad in ["", "3", "-3s", "3 parsecs", "99999999999999999999s", "18446744073709551615s", "584542046090y"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(format_time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(format_time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert!(format_time(u64::MAX).ends_with('Z'));
    }

    #[test]
    fn lines_and_columns_count_from_one() {
        let text = "a\n\u{e9}b\n";
        let at = |offset| line_and_column(text, offset);
        assert_eq!([at(0), at(1), at(2), at(4), at(6), at(99)], [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 1)]);
    }

    #[test]
    fn pairs_need_a_key() {
        assert_eq!(parse_pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(parse_pair("a="), Ok(("a".into(), String::new())));
        assert!(parse_pair("=b").is_err());
        assert!(parse_pair("ab").is_err());
    }
}
