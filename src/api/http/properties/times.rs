//! Times: what RFC 3339 and the `date` of HTTP can say of the years 1 to 9999 is read exactly, and nothing else breaks.

use jiff::Timestamp;
use proptest::prelude::*;

use super::{Head, config, head, hostile_text, is_nonsense, pattern};
use crate::api::retry::http_date;
use crate::api::{Call, FileMetadata};

const DAY: i64 = 86_400;

/// A moment, and one of the ways to write it down.
#[derive(Debug, Clone)]
pub(super) struct Time {
    pub(super) text: String,
    pub(super) means: Timestamp,
}

/// A day and a time of day, as calendars have them.
#[derive(Debug, Clone, Copy)]
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    second: i64,
}

impl Civil {
    /// Seconds since 1970, by counting the days of the years that begin in March.
    fn seconds(self) -> i64 {
        let year = self.year - i64::from(self.month < 3);
        let month = (self.month + 9) % 12;
        let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        let days = 365 * year + leap_days + (153 * month + 2) / 5 + self.day - 1;
        (days - 719_468) * DAY + self.second
    }

    fn clock(self) -> String {
        let (hour, minute) = (self.second / 3600, self.second / 60 % 60);
        format!("{hour:02}:{minute:02}:{:02}", self.second % 60)
    }
}

prop_compose! {
    fn civil()(
        year in prop_oneof![1..=9999_i64, 1969..2030_i64, prop::sample::select(&[1_i64, 4, 100, 1600, 2000, 9999][..])],
        month in prop_oneof![1..=12_i64, prop::sample::select(&[1_i64, 2, 12][..])],
        day in prop_oneof![1..=31_i64, Just(1), 28..=31_i64],
        second in prop_oneof![0..DAY, Just(0), Just(DAY - 1)],
    ) -> Civil {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 => 28 + i64::from(is_leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        Civil { year, month, day: day.min(days), second }
    }
}

prop_compose! {
    /// By RFC 3339: up to nine digits after the second, and either letter for UTC or an offset below a day.
    pub(super) fn time()(
        civil in civil(),
        fraction in prop_oneof![Just(String::new()), pattern("\\.[0-9]{6}"), pattern("\\.[0-9]{1,9}")],
        offset in prop_oneof![2 => Just(None), 1 => (-1439..1440_i64).prop_map(Some)],
        is_small in prop::bool::weighted(0.1),
    ) -> Time {
        let Civil { year, month, day, .. } = civil;
        let zone = offset.map_or("Z".to_owned(), |minutes| {
            let sign = if minutes < 0 { '-' } else { '+' };
            format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
        });
        let text = format!("{year:04}-{month:02}-{day:02}T{}{fraction}{zone}", civil.clock());
        let text = if is_small { text.to_lowercase() } else { text };
        let nanos = format!("{:0<9}", fraction.trim_start_matches('.')).parse().unwrap();
        let seconds = civil.seconds() - offset.unwrap_or(0) * 60;
        // The last hours of the year 9999 are beyond what is held: the nearest that is.
        let means = Timestamp::new(seconds, nanos).unwrap_or(Timestamp::MAX);
        Time { text, means }
    }
}

/// What an answer says of a file that was made then.
fn read(head: &Head, created_at: &str) -> Option<FileMetadata> {
    let body = format!(
        r#"{{"id":"a","filename":"a","mime_type":"a","size_bytes":0,"created_at":{created_at},"expires_at":{created_at}}}"#
    );
    match head.file(Call::Metadata, body.as_bytes()) {
        Ok(file) => Some(file),
        Err(error) => {
            assert!(is_nonsense(&error), "{error:?}");
            None
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_time_of_the_service_is_read_exactly_and_written_back(time in time()) {
        let head = head(200, &[]);
        let file = read(&head, &format!("\"{}\"", time.text)).expect("it is understood");
        prop_assert_eq!(file.created_at, time.means);
        prop_assert_eq!(file.expires_at, Some(time.means));
        let again = read(&head, &format!("\"{}\"", time.means)).expect("it is understood");
        prop_assert_eq!(again.created_at, time.means);
    }

    #[test]
    fn what_is_no_time_is_nonsense_and_breaks_nothing(
        time in time(),
        text in hostile_text(),
        at in 0..40_usize,
        length in 0..6_usize,
    ) {
        // A piece of the time gives way to something else.
        let at = at.min(time.text.len());
        let end = (at + length).min(time.text.len());
        let text = format!("{}{text}{}", &time.text[..at], &time.text[end..]);
        let head = head(200, &[]);
        let json = serde_json::Value::String(text).to_string();
        if let Some(file) = read(&head, &json) {
            prop_assert_eq!(Some(file.created_at), file.expires_at);
            prop_assert!(file.created_at <= Timestamp::MAX);
            let _ = file.created_at.as_microsecond();
        }
    }

    #[test]
    fn a_date_of_http_is_read_exactly(civil in civil(), space in pattern("[ \t]{0,2}")) {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        let seconds = civil.seconds();
        let weekday = DAYS[seconds.div_euclid(DAY).rem_euclid(7) as usize];
        let month = MONTHS[civil.month as usize - 1];
        let text = format!(
            "{space}{weekday}, {:02} {month} {:04} {} GMT{space}", civil.day, civil.year, civil.clock()
        );
        prop_assert_eq!(http_date(&text), Timestamp::from_second(seconds).ok(), "{}", text);
    }

    #[test]
    fn what_is_no_date_breaks_nothing(text in hostile_text()) {
        if let Some(date) = http_date(&text) {
            prop_assert!(Timestamp::MIN <= date && date <= Timestamp::MAX);
        }
    }
}
