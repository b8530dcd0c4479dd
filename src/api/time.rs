//! The service's times, as its answers carry them (RFC 3339).

use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::fmt::temporal::Pieces;
use serde::{Deserialize, Deserializer, de};

/// The day from which on a moment can be beyond [`Timestamp::MAX`]: that is on the day after it, and no offset is as low
/// as -26 hours.
const LAST_DAY: Date = date(9999, 12, 29);

/// A time. The last hours of the year 9999, which some write for "never", become the last time there is: they are no
/// reason to lose a whole listing.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    Time::deserialize(deserializer).map(|Time(time)| time)
}

/// A time, or `null`.
pub(super) fn time_or_never<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    let time = Option::deserialize(deserializer)?;
    Ok(time.map(|Time(time)| time))
}

struct Time(Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl de::Visitor<'_> for Text {
            type Value = Time;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a time")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                let time = text.parse().or_else(|error| beyond(text).ok_or(error));
                time.map(Time).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// The last time there is, for one that is later.
fn beyond(text: &str) -> Option<Timestamp> {
    let pieces = Pieces::parse(text).ok()?;
    let is_moment = pieces.time().is_some() && pieces.offset().is_some();
    (is_moment && pieces.date() >= LAST_DAY).then_some(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::FileMetadata;

    #[test]
    fn the_last_hours_of_the_year_9999_are_a_time_and_no_reason_to_lose_a_listing() {
        for (text, expected) in [
            ("9999-12-30T22:00:00Z", "9999-12-30T22:00:00Z".parse().ok()),
            (
                "9999-12-29T23:59:59-21:59",
                "9999-12-30T21:58:59Z".parse().ok(),
            ),
            ("9999-12-29T23:59:59-22:01", Some(Timestamp::MAX)),
            ("9999-12-31T23:59:59Z", Some(Timestamp::MAX)),
            ("9999-12-31T23:59:59.999999999-23:59", Some(Timestamp::MAX)),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z".parse().ok()),
            ("9999-12-32T00:00:00Z", None),
            ("9999-12-31T23:59:59", None),
            ("9999-12-31", None),
            ("9999-12-31T23:59:59.Z", None),
            ("9999-12-31T23:59:59Zz", None),
            ("10000-01-01T00:00:00Z", None),
            ("9999-02-30T00:00:00Z", None),
        ] {
            let json = format!(
                r#"{{"id":"a","filename":"a","mime_type":"a","size_bytes":0,"created_at":"{text}","expires_at":"{text}"}}"#
            );
            let file: Option<FileMetadata> = serde_json::from_str(&json).ok();
            assert_eq!(
                file.as_ref().map(|file| file.created_at),
                expected,
                "{text}"
            );
            assert_eq!(file.and_then(|file| file.expires_at), expected, "{text}");
        }
    }
}
