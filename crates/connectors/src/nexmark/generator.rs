//! What is in event `n`.
//!
//! Every event has random numbers of its own: a splitmix64 sequence that begins at a hash of the seed and `n`. The benchmark's public
//! generator takes them from one unseeded sequence, so kinds, ids, order and times are the same there, and all else is equal in
//! distribution only.
//!
//! Which person or auction an event refers to is computed from its number: `last_person(n)` and `last_auction(n)` count those made so far. A
//! hot reference is the first (bidders: second) of the last hundred; a cold one is uniform over the last active ones and ten not yet made.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow_array::builder::{Int64Builder, StringBuilder, TimestampMillisecondBuilder};
use arrow_array::{Array, ArrayRef, StructArray};
use arrow_buffer::NullBufferBuilder;
use arrow_schema::{DataType as ArrowType, FieldRef};
#[cfg(test)]
use wiesel_core::types::DataType;
use wiesel_core::types::TypeKind;
use wiesel_core::{Error, Result};

/// The time of event 0: 2015-07-15 00:00:00.
pub(super) const BASE_TIME_MS: i64 = 1_436_918_400_000;
/// What 'avg-size' options may ask for.
pub(super) const EVENT_BYTES_MAX: i64 = 100_000;

const SEED: u64 = 0x6e65_786d_6172_6b00;
const FIRST_PERSON_ID: i64 = 1000;
const FIRST_AUCTION_ID: i64 = 1000;
const FIRST_CATEGORY_ID: i64 = 10;
const CATEGORIES: u64 = 5;
/// Hot ids are multiples of it.
const HOT_EVERY: i64 = 100;
const ACTIVE_PERSONS: i64 = 1000;
const AUCTIONS_IN_FLIGHT: i64 = 100;
/// References may be so far ahead of what exists.
const ID_LEAD: i64 = 10;
const COLD_CHANNELS: usize = 10_000;
/// `extra` columns are cut from a pool of letters of this size.
const POOL_BYTES: usize = 1 << 20;

const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const CITIES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];

/// The type of an event's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldKind {
    Number,
    Text,
    Time,
}

impl FieldKind {
    pub(super) fn fits(self, kind: &TypeKind) -> bool {
        match self {
            Number => *kind == TypeKind::BigInt,
            Text => kind.is_string(),
            Time => matches!(kind, TypeKind::Timestamp(3)),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Number => "BIGINT",
            Text => "STRING",
            Time => "TIMESTAMP(3)",
        }
    }

    #[cfg(test)]
    pub(super) fn data_type(self) -> DataType {
        match self {
            Number => DataType::bigint(),
            Text => DataType::string(),
            Time => DataType::new(TypeKind::Timestamp(3)),
        }
    }
}

use FieldKind::{Number, Text, Time};

pub(super) const PERSON_FIELDS: &[(&str, FieldKind)] = &[
    ("id", Number),
    ("name", Text),
    ("emailAddress", Text),
    ("creditCard", Text),
    ("city", Text),
    ("state", Text),
    ("dateTime", Time),
    ("extra", Text),
];
pub(super) const AUCTION_FIELDS: &[(&str, FieldKind)] = &[
    ("id", Number),
    ("itemName", Text),
    ("description", Text),
    ("initialBid", Number),
    ("reserve", Number),
    ("dateTime", Time),
    ("expires", Time),
    ("seller", Number),
    ("category", Number),
    ("extra", Text),
];
pub(super) const BID_FIELDS: &[(&str, FieldKind)] = &[
    ("auction", Number),
    ("bidder", Number),
    ("price", Number),
    ("channel", Text),
    ("url", Text),
    ("dateTime", Time),
    ("extra", Text),
];

/// The options that shape the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GeneratorOptions {
    /// 0: without end.
    pub(super) events: i64,
    /// Events per second of event time.
    pub(super) rate: i64,
    pub(super) persons: i64,
    pub(super) auctions: i64,
    pub(super) bids: i64,
    pub(super) person_bytes: i64,
    pub(super) auction_bytes: i64,
    pub(super) bid_bytes: i64,
    pub(super) hot_auctions: i64,
    pub(super) hot_bidders: i64,
    pub(super) hot_sellers: i64,
}

/// What an event is; the numbers are those of `event_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventKind {
    Person = 0,
    Auction = 1,
    Bid = 2,
}

impl GeneratorOptions {
    fn epoch(&self) -> i64 {
        self.persons.saturating_add(self.auctions).saturating_add(self.bids)
    }

    pub(super) fn kind(&self, event: i64) -> EventKind {
        match event % self.epoch() {
            place if place < self.persons => EventKind::Person,
            place if place < self.persons + self.auctions => EventKind::Auction,
            _ => EventKind::Bid,
        }
    }

    fn time_ms(&self, event: i64) -> i64 {
        let ms = i128::from(event) * 1000 / i128::from(self.rate);
        BASE_TIME_MS.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX))
    }

    /// The number of the last person made, counted from 0.
    fn last_person(&self, event: i64) -> i64 {
        let (epoch, place) = (event / self.epoch(), event % self.epoch());
        epoch * self.persons + place.min(self.persons - 1)
    }

    /// The number of the last auction made, counted from 0; -1 before the first.
    fn last_auction(&self, event: i64) -> i64 {
        let (epoch, place) = (event / self.epoch(), event % self.epoch());
        epoch * self.auctions + (place - self.persons).clamp(-1, self.auctions - 1)
    }

    fn any_person(&self, event: i64, random: &mut Random) -> i64 {
        let made = self.last_person(event) + 1;
        let active = made.min(ACTIVE_PERSONS);
        made - active + random.below_i64(active + ID_LEAD)
    }

    fn any_auction(&self, event: i64, random: &mut Random) -> i64 {
        let last = self.last_auction(event);
        let first = (last - AUCTIONS_IN_FLIGHT).max(0);
        first + random.below_i64(last - first + 1 + ID_LEAD)
    }
}

/// A random sequence of one event: splitmix64.
struct Random(u64);

impl Random {
    fn of(event: i64) -> Random {
        let mut random = Random(SEED ^ (event as u64).wrapping_mul(0xa24b_aed4_963e_e407));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; the tiny bias of the multiplication does not matter here.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    fn below_i64(&mut self, bound: i64) -> i64 {
        self.below(bound.max(1) as u64) as i64
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }

    /// True for all but one of `ratio`.
    fn is_hot(&mut self, ratio: i64) -> bool {
        self.below_i64(ratio) > 0
    }

    /// Log-uniform from 100 to 100 000 000.
    fn price(&mut self) -> i64 {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (10_f64.powf(unit * 6.0) * 100.0).round() as i64
    }

    /// Lower-case letters, now and then the special character; 3 to `length_max` - 1 of them.
    fn append_text(&mut self, length_max: u64, special: char, out: &mut String) {
        let length = 3 + self.below(length_max - 3);
        for _ in 0..length {
            match self.below(13) {
                0 => out.push(special),
                _ => out.push(char::from(b'a' + self.below(26) as u8)),
            }
        }
    }

    /// Letters that bring an event of `bytes` to the average size, give or take a fifth.
    fn extra<'a>(&mut self, pool: &'a str, bytes: i64, average: i64) -> &'a str {
        let missing = (average - bytes).max(0);
        let delta = (missing + 2) / 5;
        let length = (missing - delta + self.below_i64(2 * delta)) as usize;
        let start = self.below((POOL_BYTES - length) as u64) as usize;
        pool.get(start..start + length).unwrap_or_default()
    }
}

/// What all generators share.
struct Words {
    pool: String,
    hot_urls: Vec<String>,
    cold_channels: Vec<String>,
    cold_urls: Vec<String>,
}

fn words() -> &'static Words {
    static WORDS: OnceLock<Words> = OnceLock::new();
    WORDS.get_or_init(|| {
        let mut random = Random::of(-1);
        let pool = (0..POOL_BYTES).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
        let hot_urls = (0..HOT_CHANNELS.len()).map(|_| url(&mut random)).collect();
        let mut cold_urls = Vec::with_capacity(COLD_CHANNELS);
        for channel in 0..COLD_CHANNELS {
            let mut text = url(&mut random);
            if random.below(10) > 0 {
                let id = (channel as u32).reverse_bits() as i32;
                append(&mut text, format_args!("&channel_id={}", id.unsigned_abs()));
            }
            cold_urls.push(text);
        }
        let cold_channels = (0..COLD_CHANNELS).map(|channel| format!("channel-{channel}")).collect();
        Words { pool, hot_urls, cold_channels, cold_urls }
    })
}

fn url(random: &mut Random) -> String {
    let mut text = "https://www.nexmark.com/".to_owned();
    for _ in 0..3 {
        random.append_text(5, '_', &mut text);
        text.push('/');
    }
    text.push_str("item.htm?query=1");
    text
}

fn append(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a String cannot fail");
}

/// One kind of events in the rows of all: NULL where an event is of another kind.
pub(super) struct EventRows {
    columns: Vec<ArrayRef>,
    nulls: Option<arrow_buffer::NullBuffer>,
}

impl EventRows {
    /// The rows as a column of the table's own field names.
    pub(super) fn as_struct(&self, field: &FieldRef) -> Result<ArrayRef> {
        let ArrowType::Struct(fields) = field.data_type() else {
            return Err(Error::internal(format!("column `{}` is no ROW", field.name())));
        };
        let array = StructArray::try_new(fields.clone(), self.columns.clone(), self.nulls.clone())?;
        debug_assert_eq!(array.data_type(), field.data_type());
        Ok(Arc::new(array))
    }
}

/// Columns under construction: those of one kind of event.
struct RowsBuilder {
    columns: Vec<FieldBuilder>,
    nulls: NullBufferBuilder,
    /// Rows of other kinds since the last of this one.
    others: usize,
    next: usize,
}

enum FieldBuilder {
    Number(Int64Builder),
    Text(StringBuilder),
    Time(TimestampMillisecondBuilder),
}

impl RowsBuilder {
    fn new(fields: &[(&str, FieldKind)], rows: usize) -> Self {
        let column = |(_, kind): &(&str, FieldKind)| match kind {
            Number => FieldBuilder::Number(Int64Builder::with_capacity(rows)),
            Text => FieldBuilder::Text(StringBuilder::with_capacity(rows, rows * 16)),
            Time => FieldBuilder::Time(TimestampMillisecondBuilder::with_capacity(rows)),
        };
        RowsBuilder {
            columns: fields.iter().map(column).collect(),
            nulls: NullBufferBuilder::new(rows),
            others: 0,
            next: 0,
        }
    }

    fn skip(&mut self) {
        self.others += 1;
    }

    fn begin(&mut self) {
        self.fill();
        self.nulls.append_non_null();
        self.next = 0;
    }

    fn fill(&mut self) {
        let count = std::mem::take(&mut self.others);
        if count == 0 {
            return;
        }
        self.nulls.append_n_nulls(count);
        for column in &mut self.columns {
            match column {
                FieldBuilder::Number(values) => values.append_nulls(count),
                FieldBuilder::Text(values) => (0..count).for_each(|_| values.append_null()),
                FieldBuilder::Time(values) => values.append_nulls(count),
            }
        }
    }

    fn number(&mut self, value: i64) {
        if let Some(FieldBuilder::Number(values)) = self.columns.get_mut(self.next) {
            values.append_value(value);
        }
        self.next += 1;
    }

    fn text(&mut self, value: &str) {
        if let Some(FieldBuilder::Text(values)) = self.columns.get_mut(self.next) {
            values.append_value(value);
        }
        self.next += 1;
    }

    fn time(&mut self, value: i64) {
        if let Some(FieldBuilder::Time(values)) = self.columns.get_mut(self.next) {
            values.append_value(value);
        }
        self.next += 1;
    }

    fn finish(mut self) -> EventRows {
        self.fill();
        let finish = |column: &mut FieldBuilder| -> ArrayRef {
            match column {
                FieldBuilder::Number(values) => Arc::new(values.finish()),
                FieldBuilder::Text(values) => Arc::new(values.finish()),
                FieldBuilder::Time(values) => Arc::new(values.finish()),
            }
        };
        EventRows { columns: self.columns.iter_mut().map(finish).collect(), nulls: self.nulls.finish() }
    }
}

/// Makes events.
pub(super) struct Generator {
    options: GeneratorOptions,
    words: &'static Words,
    scratch: String,
}

impl Generator {
    pub(super) fn new(options: GeneratorOptions) -> Self {
        Generator { options, words: words(), scratch: String::new() }
    }

    pub(super) fn options(&self) -> &GeneratorOptions {
        &self.options
    }

    pub(super) fn persons(&mut self, events: Range<i64>) -> EventRows {
        let mut rows = RowsBuilder::new(PERSON_FIELDS, (events.end - events.start) as usize);
        for event in events {
            if self.options.kind(event) != EventKind::Person {
                rows.skip();
                continue;
            }
            let random = &mut Random::of(event);
            rows.begin();
            rows.number(self.options.last_person(event) + FIRST_PERSON_ID);
            let mut bytes = 8;
            for part in 0..5 {
                self.scratch.clear();
                let text = &mut self.scratch;
                match part {
                    0 => {
                        let (first, last) = (random.pick(&FIRST_NAMES), random.pick(&LAST_NAMES));
                        append(text, format_args!("{first} {last}"));
                    }
                    1 => {
                        random.append_text(7, ' ', text);
                        text.push('@');
                        random.append_text(5, ' ', text);
                        text.push_str(".com");
                    }
                    2 => {
                        let mut group = || random.below(10_000);
                        let (a, b, c, d) = (group(), group(), group(), group());
                        append(text, format_args!("{a:04} {b:04} {c:04} {d:04}"));
                    }
                    3 => text.push_str(random.pick(&CITIES)),
                    _ => text.push_str(random.pick(&STATES)),
                }
                bytes += text.len() as i64;
                rows.text(text);
            }
            rows.time(self.options.time_ms(event));
            rows.text(random.extra(&self.words.pool, bytes, self.options.person_bytes));
        }
        rows.finish()
    }

    pub(super) fn auctions(&mut self, events: Range<i64>) -> EventRows {
        let mut rows = RowsBuilder::new(AUCTION_FIELDS, (events.end - events.start) as usize);
        // So many events make the auctions that are in flight at once.
        let ahead = AUCTIONS_IN_FLIGHT * self.options.epoch() / self.options.auctions;
        for event in events {
            if self.options.kind(event) != EventKind::Auction {
                rows.skip();
                continue;
            }
            let random = &mut Random::of(event);
            let time = self.options.time_ms(event);
            let seller = if random.is_hot(self.options.hot_sellers) {
                self.options.last_person(event) / HOT_EVERY * HOT_EVERY
            } else {
                self.options.any_person(event, random)
            };
            let category = FIRST_CATEGORY_ID + random.below(CATEGORIES) as i64;
            let initial_bid = random.price();
            let horizon_ms = self.options.time_ms(event.saturating_add(ahead)) - time;
            let expires = time + 1 + random.below_i64(horizon_ms.saturating_mul(2));
            rows.begin();
            rows.number(self.options.last_auction(event) + FIRST_AUCTION_ID);
            let mut bytes = 48;
            for length_max in [20, 100] {
                self.scratch.clear();
                random.append_text(length_max, ' ', &mut self.scratch);
                bytes += self.scratch.len() as i64;
                rows.text(&self.scratch);
            }
            rows.number(initial_bid);
            rows.number(initial_bid + random.price());
            rows.time(time);
            rows.time(expires);
            rows.number(seller + FIRST_PERSON_ID);
            rows.number(category);
            rows.text(random.extra(&self.words.pool, bytes, self.options.auction_bytes));
        }
        rows.finish()
    }

    pub(super) fn bids(&mut self, events: Range<i64>) -> EventRows {
        let mut rows = RowsBuilder::new(BID_FIELDS, (events.end - events.start) as usize);
        for event in events {
            if self.options.kind(event) != EventKind::Bid {
                rows.skip();
                continue;
            }
            let random = &mut Random::of(event);
            let auction = if random.is_hot(self.options.hot_auctions) {
                self.options.last_auction(event) / HOT_EVERY * HOT_EVERY
            } else {
                self.options.any_auction(event, random)
            };
            let bidder = if random.is_hot(self.options.hot_bidders) {
                self.options.last_person(event) / HOT_EVERY * HOT_EVERY + 1
            } else {
                self.options.any_person(event, random)
            };
            rows.begin();
            rows.number(auction + FIRST_AUCTION_ID);
            // The public generator adds the first id twice here, so bids refer to other persons than auctions do.
            rows.number(bidder + 2 * FIRST_PERSON_ID);
            rows.number(random.price());
            if random.below(2) == 0 {
                let hot = random.below(HOT_CHANNELS.len() as u64) as usize;
                rows.text(HOT_CHANNELS[hot]);
                rows.text(&self.words.hot_urls[hot]);
            } else {
                let cold = random.below(COLD_CHANNELS as u64) as usize;
                rows.text(&self.words.cold_channels[cold]);
                rows.text(&self.words.cold_urls[cold]);
            }
            rows.time(self.options.time_ms(event));
            rows.text(random.extra(&self.words.pool, 32, self.options.bid_bytes));
        }
        rows.finish()
    }
}
