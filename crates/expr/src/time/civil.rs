//! The proleptic Gregorian calendar on plain integers: no allocation, no tables, no failure, fit for hot loops.
//!
//! The trick of both directions is to let a year begin on the first of March, so that the leap day is its last day and the lengths of
//! the months before it follow one linear formula.

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;
/// Seconds of a day.
pub const DAY_S: i64 = 86_400;

/// A date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Year; 0 is 1 BC.
    pub year: i64,
    /// Month, 1 to 12.
    pub month: u32,
    /// Day of the month, from 1.
    pub day: u32,
}

/// A wall-clock time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    /// The date.
    pub date: Date,
    /// Second of the day.
    pub second_of_day: u32,
    /// Nanosecond of the second.
    pub nano: u32,
}

impl DateTime {
    /// From seconds since 1970 (as if in UTC) and nanoseconds of the second.
    pub fn from_seconds(seconds: i64, nano: u32) -> DateTime {
        DateTime {
            date: date_from_days(seconds.div_euclid(DAY_S)),
            second_of_day: u32::try_from(seconds.rem_euclid(DAY_S)).unwrap_or(0),
            nano,
        }
    }

    /// Seconds since 1970, as if in UTC.
    pub fn seconds(&self) -> i64 {
        days_from_date(self.date) * DAY_S + i64::from(self.second_of_day)
    }

    /// Hour, 0 to 23.
    pub fn hour(&self) -> u32 {
        self.second_of_day / 3600
    }

    /// Minute of the hour.
    pub fn minute(&self) -> u32 {
        self.second_of_day / 60 % 60
    }

    /// Second of the minute.
    pub fn second(&self) -> u32 {
        self.second_of_day % 60
    }
}

/// The date that lies `days` after 1970-01-01.
pub fn date_from_days(days: i64) -> Date {
    let days = days + 719_468; // since 0000-03-01
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Date { year, month: u32::try_from(month).unwrap_or(1), day: u32::try_from(day).unwrap_or(1) }
}

/// Days since 1970-01-01.
pub fn days_from_date(date: Date) -> i64 {
    let year = if date.month <= 2 { date.year - 1 } else { date.year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let march_month = i64::from((date.month + 9) % 12);
    let day_of_year = (153 * march_month + 2) / 5 + i64::from(date.day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Whether February has 29 days.
pub fn is_leap_year(year: i64) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

/// The number of days of a month.
pub fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap_year(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// A date, when it exists.
pub fn checked_date(year: i64, month: u32, day: u32) -> Option<Date> {
    let exists = (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
    exists.then_some(Date { year, month, day })
}

/// The same day some months later; the last day of the month where that day does not exist.
pub fn add_months(days: i64, months: i64) -> i64 {
    let date = date_from_days(days);
    let month_index = date.year * 12 + i64::from(date.month) - 1 + months;
    let (year, month) = (month_index.div_euclid(12), u32::try_from(month_index.rem_euclid(12)).unwrap_or(0) + 1);
    days_from_date(Date { year, month, day: date.day.min(days_in_month(year, month)) })
}

/// Day of the week by ISO: Monday is 1, Sunday 7.
pub fn iso_weekday(days: i64) -> u32 {
    u32::try_from((days + 3).rem_euclid(7)).unwrap_or(0) + 1
}

/// Day of the year, from 1.
pub fn day_of_year(days: i64) -> u32 {
    let year = date_from_days(days).year;
    u32::try_from(days - days_from_date(Date { year, month: 1, day: 1 })).unwrap_or(0) + 1
}

/// Year and week by ISO 8601: a week belongs to the year of its Thursday.
pub fn iso_week(days: i64) -> (i64, u32) {
    let thursday = days - i64::from(iso_weekday(days)) + 4;
    (date_from_days(thursday).year, (day_of_year(thursday) - 1) / 7 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree_over_all_of_sqls_years() {
        let first = days_from_date(Date { year: 0, month: 1, day: 1 });
        let last = days_from_date(Date { year: 9999, month: 12, day: 31 });
        assert_eq!((first, last), (-719_528, 2_932_896));
        let mut expected = Date { year: 0, month: 1, day: 1 };
        for days in first..=last {
            let date = date_from_days(days);
            assert_eq!(date, expected);
            assert_eq!(days_from_date(date), days);
            expected.day += 1;
            if expected.day > days_in_month(expected.year, expected.month) {
                expected.day = 1;
                expected.month += 1;
            }
            if expected.month > 12 {
                expected.month = 1;
                expected.year += 1;
            }
        }
    }

    #[test]
    fn weeks_and_months_follow_iso() {
        let days = |y, m, d| days_from_date(Date { year: y, month: m, day: d });
        assert_eq!(iso_weekday(days(1970, 1, 1)), 4);
        assert_eq!(iso_week(days(2021, 1, 3)), (2020, 53));
        assert_eq!(iso_week(days(2021, 1, 4)), (2021, 1));
        assert_eq!(iso_week(days(2018, 12, 31)), (2019, 1));
        assert_eq!(day_of_year(days(2020, 12, 31)), 366);
        assert_eq!(add_months(days(2021, 1, 31), 1), days(2021, 2, 28));
        assert_eq!(add_months(days(2020, 3, 31), -1), days(2020, 2, 29));
        assert_eq!(add_months(days(2020, 3, 31), -15), days(2018, 12, 31));
    }
}
