//! Java's time patterns (`yyyy-MM-dd'T'HH:mm:ss.SSSXXX`), compiled once, then printed and parsed without allocation.
//!
//! Flink uses two Java classes with one alphabet and different manners, and so do we:
//!
//! | | [`Dialect::Formatter`] | [`Dialect::Simple`] |
//! |---|---|---|
//! | used by | DATE_FORMAT of times, TO_TIMESTAMP | FROM_UNIXTIME, UNIX_TIMESTAMP, TO_DATE, DATE_FORMAT of text |
//! | `S` | digits of the fraction | milliseconds as a number |
//! | width | as many digits as letters, year may be longer | any, unless the next field touches it |
//! | 32 January | not parsed | 1 February |
//! | text after the match | not parsed | ignored |
//!
//! Names are English, and weeks (`w`, `W`, `Y`, `e`, `c`) are those of the United States, as in a Flink that runs with that locale: they
//! begin on Sunday, and the first one holds January 1. These letters, `F`, `B` and the one-letter names (`MMMMM`) are printed only.

use std::fmt::Write;

use wiesel_core::{Error, Result};

use crate::time::civil::{
    DAY_S, Date, DateTime, checked_date, date_from_days, day_of_year, days_from_date, days_in_month, iso_weekday,
};

/// Whose manners a pattern has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// java.time.format.DateTimeFormatter.
    Formatter,
    /// java.text.SimpleDateFormat.
    Simple,
}

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    dialect: Dialect,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Literal(String),
    Field(Field),
    Optional(Vec<Part>),
}

#[derive(Debug, Clone, Copy)]
struct Field {
    letter: char,
    count: usize,
    /// Digits of the fields of fixed width that touch this one on the right.
    reserved: usize,
    /// Whether another number touches it on the right.
    touches_number: bool,
}

/// Where a wall clock stands, for the letters that print a zone.
#[derive(Debug, Clone, Copy)]
pub struct Offset<'a> {
    /// Seconds east of UTC.
    pub seconds: i64,
    /// The zone's short name.
    pub name: &'a str,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

impl Pattern {
    /// Compiles a pattern; an error names the letter that is not supported.
    pub fn new(pattern: &str, dialect: Dialect) -> Result<Pattern> {
        let mut open: Vec<Vec<Part>> = vec![Vec::new()];
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            let depth = open.len();
            let Some(parts) = open.last_mut() else { break };
            match c {
                '\'' => push_literal(parts, &quoted(&mut chars, pattern)?),
                '[' if dialect == Dialect::Formatter => open.push(Vec::new()),
                ']' if dialect == Dialect::Formatter => {
                    if depth < 2 {
                        return Err(wrong(pattern, "has a `]` without `[`"));
                    }
                    let inner = open.pop().unwrap_or_default();
                    if let Some(outer) = open.last_mut() {
                        outer.push(Part::Optional(inner));
                    }
                }
                c if c.is_ascii_alphabetic() => {
                    let mut count = 1;
                    while chars.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    check_letter(c, count, dialect, pattern)?;
                    parts.push(Part::Field(Field { letter: c, count, reserved: 0, touches_number: false }));
                }
                '{' | '}' | '#' if dialect == Dialect::Formatter => {
                    return Err(wrong(pattern, &format!("has the reserved character `{c}`; quote it: `'{c}'`")));
                }
                c => push_literal(parts, c.encode_utf8(&mut [0; 4])),
            }
        }
        // An optional section that is never closed ends with the pattern.
        while open.len() > 1 {
            let inner = open.pop().unwrap_or_default();
            if let Some(outer) = open.last_mut() {
                outer.push(Part::Optional(inner));
            }
        }
        let mut parts = open.pop().unwrap_or_default();
        link_touching(&mut parts, dialect);
        Ok(Pattern { dialect, parts })
    }

    /// Compiles a pattern to read with: letters that are only printed are refused.
    pub fn reading(pattern: &str, dialect: Dialect) -> Result<Pattern> {
        fn printed_only(parts: &[Part]) -> Option<Field> {
            parts.iter().find_map(|part| match part {
                Part::Literal(_) => None,
                Part::Field(field) => {
                    let is_narrow = field.count == 5 && matches!(field.letter, 'M' | 'L' | 'E' | 'G');
                    let is_printed = matches!(field.letter, 'Y' | 'w' | 'W' | 'e' | 'c' | 'F' | 'B') || is_narrow;
                    is_printed.then_some(*field)
                }
                Part::Optional(inner) => printed_only(inner),
            })
        }
        let compiled = Pattern::new(pattern, dialect)?;
        match printed_only(&compiled.parts) {
            None => Ok(compiled),
            Some(field) => Err(unsupported(field.letter, field.count, pattern)),
        }
    }

    /// Whether a letter prints a zone.
    pub fn needs_zone(&self) -> bool {
        fn any(parts: &[Part]) -> bool {
            parts.iter().any(|part| match part {
                Part::Literal(_) => false,
                Part::Field(field) => matches!(field.letter, 'X' | 'x' | 'Z' | 'z' | 'O' | 'V'),
                Part::Optional(inner) => any(inner),
            })
        }
        any(&self.parts)
    }

    /// Writes a wall-clock time.
    pub fn write(&self, out: &mut impl Write, at: DateTime, offset: Option<Offset<'_>>) -> std::fmt::Result {
        self.write_parts(&self.parts, out, at, offset)
    }

    fn write_parts(
        &self,
        parts: &[Part],
        out: &mut impl Write,
        at: DateTime,
        offset: Option<Offset<'_>>,
    ) -> std::fmt::Result {
        for part in parts {
            match part {
                Part::Literal(text) => out.write_str(text)?,
                Part::Optional(inner) => self.write_parts(inner, out, at, offset)?,
                Part::Field(field) => write_field(out, *field, self.dialect, at, offset)?,
            }
        }
        Ok(())
    }

    /// Reads a wall-clock time: fields that the pattern lacks are those of 1970-01-01 00:00:00. An offset in the text is read over.
    pub fn parse(&self, text: &str) -> Option<DateTime> {
        let (fields, rest) = self.parse_fields(text)?;
        match self.dialect {
            Dialect::Formatter if rest == text.len() => fields.resolve(),
            Dialect::Formatter => None,
            Dialect::Simple => {
                let (seconds, nano) = fields.resolve_leniently()?;
                Some(DateTime::from_seconds(seconds, nano))
            }
        }
    }

    /// Reads with [`Dialect::Simple`] manners: seconds since 1970 as if in UTC, nanoseconds, and the offset when the text has one.
    pub fn parse_instant(&self, text: &str) -> Option<(i64, u32, Option<i64>)> {
        let (fields, _) = self.parse_fields(text)?;
        let (seconds, nano) = fields.resolve_leniently()?;
        Some((seconds, nano, fields.offset))
    }

    fn parse_fields(&self, text: &str) -> Option<(Fields, usize)> {
        let mut parser = Parser { text, at: 0, fields: Fields::default(), dialect: self.dialect };
        parser.parts(&self.parts)?;
        Some((parser.fields, parser.at))
    }
}

fn push_literal(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Literal(before)) => before.push_str(text),
        _ => parts.push(Part::Literal(text.to_owned())),
    }
}

/// The text up to the closing quote; two quotes are one.
fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, pattern: &str) -> Result<String> {
    let mut text = String::new();
    let is_quote = chars.peek() == Some(&'\'');
    if is_quote {
        chars.next();
        return Ok(String::from('\''));
    }
    while let Some(c) = chars.next() {
        if c != '\'' {
            text.push(c);
        } else if chars.next_if_eq(&'\'').is_some() {
            text.push('\'');
        } else {
            return Ok(text);
        }
    }
    Err(wrong(pattern, "has a quote that is not closed"))
}

fn wrong(pattern: &str, what: &str) -> Error {
    Error::config(format!("the time pattern `{pattern}` {what}"))
}

fn check_letter(letter: char, count: usize, dialect: Dialect, pattern: &str) -> Result<()> {
    let is_known = match letter {
        'y' | 'M' | 'L' | 'd' | 'D' | 'H' | 'k' | 'K' | 'h' | 'm' | 's' | 'S' | 'E' | 'a' | 'G' | 'X' | 'Z' | 'z' => {
            true
        }
        'u' | 'Y' | 'w' | 'W' | 'F' => true,
        'x' | 'O' | 'V' | 'Q' | 'q' | 'A' | 'n' | 'N' | 'e' | 'c' => dialect == Dialect::Formatter,
        'B' => dialect == Dialect::Formatter && matches!(count, 1 | 4),
        _ => false,
    };
    let count_max = match letter {
        'd' | 'H' | 'k' | 'K' | 'h' | 'm' | 's' if dialect == Dialect::Formatter => 2,
        'D' if dialect == Dialect::Formatter => 3,
        'a' | 'F' | 'W' if dialect == Dialect::Formatter => 1,
        'w' if dialect == Dialect::Formatter => 2,
        'S' if dialect == Dialect::Formatter => 9,
        'X' if dialect == Dialect::Simple => 3,
        'Q' | 'q' | 'z' | 'O' | 'c' if dialect == Dialect::Formatter => 4,
        'M' | 'L' | 'E' | 'e' | 'G' | 'X' | 'x' | 'Z' if dialect == Dialect::Formatter => 5,
        // Wider fields than anyone prints would only cost memory.
        _ => 30,
    };
    if is_known && count <= count_max {
        return Ok(());
    }
    Err(unsupported(letter, count, pattern))
}

fn unsupported(letter: char, count: usize, pattern: &str) -> Error {
    let found: String = std::iter::repeat_n(letter, count).collect();
    wrong(pattern, &format!("uses `{found}`, which is not supported")).hint(
        "supported are y u M L d D H k K h m s S E a G Q A n N X x Z z O V, and to print Y w W e c F B; \
         other letters stand in quotes: 'T'",
    )
}

/// A week of the year, of the year that it counts to, in the United States: Sunday to Saturday, the first with January 1 in it.
fn week_of(date: Date) -> (i64, i64) {
    let days = days_from_date(date);
    let saturday = days + 6 - i64::from(iso_weekday(days) % 7);
    let year = date_from_days(saturday).year;
    let first = days_from_date(Date { year, month: 1, day: 1 });
    let first_sunday = first - i64::from(iso_weekday(first) % 7);
    (year, (days - first_sunday) / 7 + 1)
}

/// The day of a week that begins on Sunday with 1.
fn sunday_weekday(date: Date) -> u32 {
    iso_weekday(days_from_date(date)) % 7 + 1
}

/// English periods of the day.
fn day_period(at: DateTime) -> &'static str {
    match (at.hour(), at.minute()) {
        (0, 0) => "midnight",
        (12, 0) => "noon",
        (6..=11, _) => "in the morning",
        (12..=17, _) => "in the afternoon",
        (18..=20, _) => "in the evening",
        _ => "at night",
    }
}

fn is_number(field: &Field) -> bool {
    match field.letter {
        'M' | 'L' | 'Q' | 'q' => field.count <= 2,
        'y' | 'u' | 'd' | 'D' | 'H' | 'k' | 'K' | 'h' | 'm' | 's' | 'S' | 'A' | 'n' | 'N' => true,
        _ => false,
    }
}

/// How many digits a field always has; `None` when that varies.
fn fixed_width(field: &Field) -> Option<usize> {
    match field.letter {
        'S' => Some(field.count),
        'y' | 'u' | 'M' | 'L' | 'd' | 'H' | 'k' | 'K' | 'h' | 'm' | 's' | 'Q' | 'q' if field.count == 2 => Some(2),
        'D' if field.count == 3 => Some(3),
        _ => None,
    }
}

/// Tells every number which numbers touch it on its right.
fn link_touching(parts: &mut [Part], dialect: Dialect) {
    let (mut reserved, mut touches) = (0, false);
    for part in parts.iter_mut().rev() {
        match part {
            Part::Field(field) if is_number(field) => {
                field.reserved = reserved;
                field.touches_number = touches;
                touches = true;
                match (fixed_width(field), dialect) {
                    (Some(width), _) => reserved += width,
                    (None, Dialect::Simple) => reserved += field.count,
                    // Behind a field of open width nothing can be reserved.
                    (None, Dialect::Formatter) => reserved = 0,
                }
            }
            Part::Optional(inner) => {
                link_touching(inner, dialect);
                (reserved, touches) = (0, false);
            }
            _ => (reserved, touches) = (0, false),
        }
    }
}

fn write_padded(out: &mut impl Write, value: i64, width: usize) -> std::fmt::Result {
    if value < 0 {
        out.write_char('-')?;
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs());
    for _ in digits.len()..width {
        out.write_char('0')?;
    }
    out.write_str(digits)
}

fn write_field(
    out: &mut impl Write,
    field: Field,
    dialect: Dialect,
    at: DateTime,
    offset: Option<Offset<'_>>,
) -> std::fmt::Result {
    let count = field.count;
    let hour = i64::from(at.hour());
    let (month, nano) = (at.date.month, i64::from(at.nano));
    match field.letter {
        'u' if dialect == Dialect::Simple => write_padded(out, iso_weekday(days_from_date(at.date)).into(), count),
        'y' | 'u' if count == 2 => write_padded(out, at.date.year.rem_euclid(100), 2),
        'y' | 'u' => write_padded(out, at.date.year, count),
        'M' | 'L' => match count {
            1 | 2 => write_padded(out, month.into(), count),
            _ => write_name(out, &MONTHS, month as usize - 1, count),
        },
        'Q' | 'q' => {
            let quarter = i64::from((month - 1) / 3 + 1);
            match count {
                1 | 2 => write_padded(out, quarter, count),
                3 => write!(out, "Q{quarter}"),
                _ => write!(out, "{} quarter", ["1st", "2nd", "3rd", "4th"][((month - 1) / 3) as usize % 4]),
            }
        }
        'd' => write_padded(out, at.date.day.into(), count),
        'D' => write_padded(out, day_of_year(days_from_date(at.date)).into(), count),
        'H' => write_padded(out, hour, count),
        'k' => write_padded(out, if hour == 0 { 24 } else { hour }, count),
        'K' => write_padded(out, hour % 12, count),
        'h' => write_padded(out, if hour % 12 == 0 { 12 } else { hour % 12 }, count),
        'm' => write_padded(out, at.minute().into(), count),
        's' => write_padded(out, at.second().into(), count),
        'S' if dialect == Dialect::Simple => write_padded(out, nano / 1_000_000, count),
        'S' => {
            let divisor = 10_i64.pow(9 - u32::try_from(count.min(9)).unwrap_or(9));
            write_padded(out, nano / divisor, count)
        }
        'A' => write_padded(out, i64::from(at.second_of_day) * 1000 + nano / 1_000_000, count),
        'n' => write_padded(out, nano, count),
        'N' => write_padded(out, i64::from(at.second_of_day) * 1_000_000_000 + nano, count),
        'e' | 'c' if count <= 2 => write_padded(out, sunday_weekday(at.date).into(), count),
        'E' | 'e' | 'c' => write_name(out, &WEEKDAYS, iso_weekday(days_from_date(at.date)) as usize - 1, count),
        'Y' if count == 2 => write_padded(out, week_of(at.date).0.rem_euclid(100), 2),
        'Y' => write_padded(out, week_of(at.date).0, count),
        'w' => write_padded(out, week_of(at.date).1, count),
        'W' => {
            let first = Date { day: 1, ..at.date };
            write_padded(out, i64::from((at.date.day + sunday_weekday(first) - 2) / 7 + 1), count)
        }
        // Two meanings: the day within its seven days of the month, and which of these sevens it is in.
        'F' if dialect == Dialect::Formatter => write_padded(out, i64::from((at.date.day - 1) % 7 + 1), count),
        'F' => write_padded(out, i64::from((at.date.day - 1) / 7 + 1), count),
        'B' => out.write_str(day_period(at)),
        'a' => out.write_str(if hour < 12 { "AM" } else { "PM" }),
        'G' => out.write_str(match (at.date.year > 0, count) {
            (true, 4) if dialect == Dialect::Formatter => "Anno Domini",
            (false, 4) if dialect == Dialect::Formatter => "Before Christ",
            (true, 5) if dialect == Dialect::Formatter => "A",
            (false, 5) if dialect == Dialect::Formatter => "B",
            (true, _) => "AD",
            (false, _) => "BC",
        }),
        'z' | 'V' => out.write_str(offset.map_or("", |o| o.name)),
        letter => write_offset(out, letter, count, dialect, offset.map_or(0, |o| o.seconds)),
    }
}

fn write_name(out: &mut impl Write, names: &[&str], index: usize, count: usize) -> std::fmt::Result {
    let name = names.get(index).copied().unwrap_or("");
    let length = match count {
        0..=3 => 3,
        5 => 1,
        _ => name.len(),
    };
    out.write_str(name.get(..length).unwrap_or(name))
}

fn write_offset(out: &mut impl Write, letter: char, count: usize, dialect: Dialect, seconds: i64) -> std::fmt::Result {
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
    match (letter, count) {
        ('X', _) if seconds == 0 => out.write_char('Z'),
        ('X' | 'x', 1) if minutes == 0 || dialect == Dialect::Simple => write!(out, "{sign}{hours:02}"),
        ('X' | 'x', 1 | 2 | 4) => write!(out, "{sign}{hours:02}{minutes:02}"),
        ('X' | 'x', _) | ('Z', 5) => write!(out, "{sign}{hours:02}:{minutes:02}"),
        ('Z', 4) | ('O', 4) if dialect == Dialect::Formatter => {
            if seconds == 0 {
                out.write_str("GMT")
            } else {
                write!(out, "GMT{sign}{hours:02}:{minutes:02}")
            }
        }
        ('O', _) if seconds == 0 => out.write_str("GMT"),
        ('O', _) if minutes == 0 => write!(out, "GMT{sign}{hours}"),
        ('O', _) => write!(out, "GMT{sign}{hours}:{minutes:02}"),
        _ => write!(out, "{sign}{hours:02}{minutes:02}"),
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Fields {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: Option<i64>,
    /// Hour of the half day, 0 to 11.
    half_hour: Option<i64>,
    is_afternoon: Option<bool>,
    minute: Option<i64>,
    second: Option<i64>,
    nano: Option<i64>,
    offset: Option<i64>,
}

impl Fields {
    /// Java's SMART way: fields must be in range, and a day behind the month's end is its last.
    fn resolve(&self) -> Option<DateTime> {
        let year = self.year.unwrap_or(1970);
        let in_range = |value: i64, min: i64, max: i64| (min..=max).contains(&value).then_some(value as u32);
        let date = match (self.day_of_year, self.month, self.day) {
            (Some(day), None, None) => {
                let day = in_range(day, 1, 366)?;
                let first = days_from_date(Date { year, month: 1, day: 1 });
                let date = date_from_days(first + i64::from(day) - 1);
                if date.year != year {
                    return None;
                }
                date
            }
            _ => {
                let month = in_range(self.month.unwrap_or(1), 1, 12)?;
                let day = in_range(self.day.unwrap_or(1), 1, 31)?;
                // Without a year there is no date to adjust, and Flink puts the fields into 1970 as they are.
                let last = days_in_month(year, month);
                checked_date(year, month, if self.year.is_some() { day.min(last) } else { day })?
            }
        };
        if self.is_end_of_day() {
            return Some(DateTime { date: date_from_days(days_from_date(date) + 1), second_of_day: 0, nano: 0 });
        }
        if !(-999_999..=999_999).contains(&year) {
            return None;
        }
        let hour = match (self.hour, self.half_hour) {
            (Some(hour), _) => in_range(hour, 0, 23)?,
            (None, Some(half)) => {
                // Without AM or PM Java knows no hour of the day, and it counts as 0.
                self.is_afternoon.map_or(Some(0), |pm| in_range(half, 0, 11).map(|h| h + if pm { 12 } else { 0 }))?
            }
            (None, None) => 0,
        };
        let minute = in_range(self.minute.unwrap_or(0), 0, 59)?;
        let second = in_range(self.second.unwrap_or(0), 0, 59)?;
        let nano = in_range(self.nano.unwrap_or(0), 0, 999_999_999)?;
        Some(DateTime { date, second_of_day: hour * 3600 + minute * 60 + second, nano })
    }

    /// 24:00:00, which means midnight of the next day.
    fn is_end_of_day(&self) -> bool {
        let is_zero = |field: Option<i64>| field.unwrap_or(0) == 0;
        let has_date = self.year.is_some();
        has_date && self.hour == Some(24) && is_zero(self.minute) && is_zero(self.second) && is_zero(self.nano)
    }

    /// Java's lenient way: what is out of range carries over.
    fn resolve_leniently(&self) -> Option<(i64, u32)> {
        let year = self.year.unwrap_or(1970);
        let month_index = year.checked_mul(12)?.checked_add(self.month.unwrap_or(1) - 1)?;
        let (year, month) = (month_index.div_euclid(12), month_index.rem_euclid(12) as u32 + 1);
        if !(-999_999..=999_999).contains(&year) {
            return None;
        }
        let days = match (self.day_of_year, self.day) {
            (Some(day), None) => days_from_date(Date { year, month: 1, day: 1 }).checked_add(day - 1)?,
            _ => days_from_date(Date { year, month, day: 1 }).checked_add(self.day.unwrap_or(1) - 1)?,
        };
        let hour = match (self.hour, self.half_hour) {
            (Some(hour), _) => hour,
            (None, half) => half.unwrap_or(0) + if self.is_afternoon == Some(true) { 12 } else { 0 },
        };
        let clock = hour
            .checked_mul(3600)?
            .checked_add(self.minute.unwrap_or(0).checked_mul(60)?)?
            .checked_add(self.second.unwrap_or(0))?;
        let nano = self.nano.unwrap_or(0);
        let seconds = days.checked_mul(DAY_S)?.checked_add(clock)?.checked_add(nano.div_euclid(1_000_000_000))?;
        Some((seconds, nano.rem_euclid(1_000_000_000) as u32))
    }
}

/// No number in a time has more digits that matter.
const DIGITS_MAX: usize = 18;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    fields: Fields,
    dialect: Dialect,
}

impl Parser<'_> {
    fn parts(&mut self, parts: &[Part]) -> Option<()> {
        for part in parts {
            match part {
                Part::Literal(text) => self.literal(text)?,
                Part::Field(field) => self.field(*field)?,
                Part::Optional(inner) => {
                    let before = (self.at, self.fields);
                    if self.parts(inner).is_none() {
                        (self.at, self.fields) = before;
                    }
                }
            }
        }
        Some(())
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn literal(&mut self, text: &str) -> Option<()> {
        if !self.rest().starts_with(text) {
            return None;
        }
        self.at += text.len();
        Some(())
    }

    fn number(&mut self, field: Field) -> Option<i64> {
        if self.dialect == Dialect::Simple {
            let blanks = self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
            self.at += blanks;
        }
        let run = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let width = match (self.dialect, fixed_width(&field)) {
            (Dialect::Simple, _) if field.touches_number => field.count,
            (Dialect::Simple, _) => run,
            (Dialect::Formatter, Some(width)) => width,
            (Dialect::Formatter, None) => run.saturating_sub(field.reserved),
        };
        let is_year = matches!(field.letter, 'y' | 'u');
        let width_min =
            if self.dialect == Dialect::Formatter && (is_year || field.letter == 'D') { field.count } else { 1 };
        if width < width_min || width > run || width > DIGITS_MAX {
            return None;
        }
        let value = self.rest()[..width].parse().ok()?;
        self.at += width;
        Some(value)
    }

    fn field(&mut self, field: Field) -> Option<()> {
        match field.letter {
            'u' if self.dialect == Dialect::Simple => {
                self.number(field)?;
            }
            'y' | 'u' => {
                let before = self.at;
                let year = self.number(field)?;
                // Two digits are a year of this century, when the pattern has two letters.
                let is_short = field.count == 2 && self.at - before == 2;
                if year == 0 && !is_short && self.dialect == Dialect::Formatter && field.letter == 'y' {
                    return None;
                }
                self.fields.year = Some(if is_short { 2000 + year } else { year });
            }
            'M' | 'L' if field.count >= 3 => self.fields.month = Some(self.name(&MONTHS, field.count)? + 1),
            'M' | 'L' => self.fields.month = Some(self.number(field)?),
            'Q' | 'q' if field.count >= 3 => return None,
            'Q' | 'q' => {
                self.number(field)?;
            }
            'd' => self.fields.day = Some(self.number(field)?),
            'D' => self.fields.day_of_year = Some(self.number(field)?),
            'H' => self.fields.hour = Some(self.number(field)?),
            'k' => self.fields.hour = Some(self.number(field)? % 24),
            'K' => self.fields.half_hour = Some(self.number(field)?),
            'h' => self.fields.half_hour = Some(self.number(field)? % 12),
            'm' => self.fields.minute = Some(self.number(field)?),
            's' => self.fields.second = Some(self.number(field)?),
            'S' if self.dialect == Dialect::Simple => {
                self.fields.nano = Some(self.number(field)?.checked_mul(1_000_000)?)
            }
            'S' => {
                let digits = self.number(field)?;
                let missing = 9 - u32::try_from(field.count.min(9)).unwrap_or(9);
                self.fields.nano = Some(digits * 10_i64.pow(missing));
            }
            'n' => self.fields.nano = Some(self.number(field)?),
            'A' | 'N' => {
                let value = self.number(field)?;
                let nanos = if field.letter == 'A' { value.checked_mul(1_000_000)? } else { value };
                self.fields.hour = Some(nanos / 3_600_000_000_000);
                self.fields.minute = Some(nanos / 60_000_000_000 % 60);
                self.fields.second = Some(nanos / 1_000_000_000 % 60);
                self.fields.nano = Some(nanos % 1_000_000_000);
            }
            'E' => {
                self.name(&WEEKDAYS, field.count)?;
            }
            'a' => self.fields.is_afternoon = Some(self.name(&["AM", "PM"], 4)? == 1),
            'G' => {
                self.name(&["AD"], 4)?;
            }
            _ => self.fields.offset = Some(self.offset(field.letter)?),
        }
        Some(())
    }

    /// The index of the name that the text goes on with.
    fn name(&mut self, names: &[&str], count: usize) -> Option<i64> {
        let rest = self.rest();
        let fits = |name: &str| {
            rest.get(..name.len()).is_some_and(|found| match self.dialect {
                Dialect::Formatter => found == name,
                Dialect::Simple => found.eq_ignore_ascii_case(name),
            })
        };
        let short = |name: &'_ str| name.len().min(3);
        for (index, name) in names.iter().enumerate() {
            let forms = match (self.dialect, count) {
                // The simple dialect reads both forms, whatever the pattern says.
                (Dialect::Simple, _) => [Some(*name), Some(&name[..short(name)])],
                (Dialect::Formatter, 4) => [Some(*name), None],
                (Dialect::Formatter, _) => [Some(&name[..short(name)]), None],
            };
            if let Some(form) = forms.into_iter().flatten().find(|form| fits(form)) {
                self.at += form.len();
                return i64::try_from(index).ok();
            }
        }
        None
    }

    /// `Z`, `+hh`, `+hhmm`, `+hh:mm`, and these behind `GMT` or `UTC`.
    fn offset(&mut self, letter: char) -> Option<i64> {
        for name in ["GMT", "UTC"] {
            if self.rest().starts_with(name) {
                self.at += name.len();
                if !self.rest().starts_with(['+', '-']) {
                    return Some(0);
                }
            }
        }
        if self.rest().starts_with('Z') && letter != 'x' {
            self.at += 1;
            return Some(0);
        }
        let sign = match self.rest().bytes().next()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.at += 1;
        let hours = self.two_digits()?;
        let before = self.at;
        if self.rest().starts_with(':') {
            self.at += 1;
        }
        let minutes = match self.two_digits() {
            Some(minutes) => minutes,
            None => {
                self.at = before;
                0
            }
        };
        Some(sign * (hours * 3600 + minutes * 60))
    }

    fn two_digits(&mut self) -> Option<i64> {
        let digits = self.rest().get(..2).filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
        let value = digits.parse().ok()?;
        self.at += 2;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::text::{parse_timestamp, write_timestamp};

    fn shown(at: Option<DateTime>) -> Option<String> {
        at.map(|at| {
            let mut out = String::new();
            write_timestamp(&mut out, at, 3).expect("a String takes all text");
            out
        })
    }

    #[test]
    fn patterns_print_as_in_java() {
        let at = parse_timestamp("2024-03-05 14:07:09.045678901").expect("a timestamp");
        let cases = [
            ("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'", Dialect::Formatter, "2024-03-05T14:07:09.045Z"),
            ("yy/M/d h:m:s a", Dialect::Formatter, "24/3/5 2:7:9 PM"),
            ("EEE, dd MMM yyyy", Dialect::Formatter, "Tue, 05 Mar 2024"),
            ("EEEE MMMM", Dialect::Formatter, "Tuesday March"),
            ("D k K Q SSSSSSSSS", Dialect::Formatter, "65 14 2 1 045678901"),
            ("HH 'o''clock'", Dialect::Formatter, "14 o'clock"),
            ("yyyyMMdd[HH]", Dialect::Formatter, "2024030514"),
            ("ss.S u", Dialect::Simple, "09.45 2"),
        ];
        for (pattern, dialect, expected) in cases {
            let mut out = String::new();
            let compiled = Pattern::new(pattern, dialect).expect("a supported pattern");
            compiled.write(&mut out, at, None).expect("a String takes all text");
            assert_eq!(out, expected, "{pattern}");
        }
        let offset = Some(Offset { seconds: 19_800, name: "IST" });
        let mut out = String::new();
        let compiled = Pattern::new("XXX XX X Z z", Dialect::Simple).expect("a supported pattern");
        compiled.write(&mut out, at, offset).expect("a String takes all text");
        assert_eq!(out, "+05:30 +0530 +05 +0530 IST");
    }

    #[test]
    fn patterns_parse_as_in_java() {
        use Dialect::{Formatter, Simple};
        let cases = [
            ("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'", Formatter, "2024-03-05T14:07:09.045Z", Some("2024-03-05 14:07:09.045")),
            ("yyyy-MM-dd'T'HH:mm:ssX", Formatter, "2024-03-05T14:07:09+02", Some("2024-03-05 14:07:09.000")),
            ("yyyyMMddHHmmssSSS", Formatter, "20240305140709045", Some("2024-03-05 14:07:09.045")),
            ("yyyy-MM-dd[ HH:mm]", Formatter, "2024-03-05", Some("2024-03-05 00:00:00.000")),
            ("yyyy-MM-dd[ HH:mm]", Formatter, "2024-03-05 11:12", Some("2024-03-05 11:12:00.000")),
            ("yyyy-MM-dd", Formatter, "2024-3-5", None),
            ("yyyy-M-d", Formatter, "2024-3-5", Some("2024-03-05 00:00:00.000")),
            ("yyyy-MM-dd", Formatter, "2024-02-31", Some("2024-02-29 00:00:00.000")),
            ("yyyy-MM-dd", Formatter, "2024-02-32", None),
            ("yyyy-MM-dd", Formatter, "2024-02-01x", None),
            ("HH:mm", Formatter, "10:11", Some("1970-01-01 10:11:00.000")),
            ("dd MMM yyyy hh:mm a", Formatter, "05 Mar 2024 12:07 AM", Some("2024-03-05 00:07:00.000")),
            ("yy-D", Formatter, "24-60", Some("2024-02-29 00:00:00.000")),
            ("yyyy-MM-dd", Simple, "2024-3-5 and more", Some("2024-03-05 00:00:00.000")),
            ("yyyy-MM-dd", Simple, "2024-01-32", Some("2024-02-01 00:00:00.000")),
            ("yyyyMMdd", Simple, "20240305", Some("2024-03-05 00:00:00.000")),
            ("dd/MMM/yyyy:HH:mm:ss Z", Simple, "05/mar/2024:14:07:09 +0200", Some("2024-03-05 14:07:09.000")),
            ("yyyy-MM-dd", Simple, "x", None),
        ];
        for (pattern, dialect, text, expected) in cases {
            let compiled = Pattern::new(pattern, dialect).expect("a supported pattern");
            assert_eq!(shown(compiled.parse(text)).as_deref(), expected, "{pattern} {text}");
        }
        let compiled = Pattern::new("HH:mm Z", Simple).expect("a supported pattern");
        assert_eq!(compiled.parse_instant("10:00 -0130"), Some((36_000, 0, Some(-5_400))));
    }

    #[test]
    fn unsupported_letters_are_named() {
        for (pattern, named) in
            [("YYYY", "`YYYY`"), ("ww", "`ww`"), ("MMMMM", "`MMMMM`"), ("T", "`T`"), ("HHH", "`HHH`"), ("'x", "quote")]
        {
            let error = Pattern::reading(pattern, Dialect::Formatter).expect_err("not supported");
            assert!(error.message().contains(named), "{}", error.message());
        }
    }
}
