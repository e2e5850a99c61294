//! nexmark: the events of the Nexmark benchmark, an online auction: persons, auctions, bids.
//!
//! - Order: one split; event `n` is a person, an auction or a bid by its number alone, and everything in it follows from its number and a
//!   fixed seed (`generator.rs`). So any two runs bring the same bytes, a restored job continues exactly, and any worker can make any event:
//!   the source thread hands out numbers only.
//! - Bounded when 'events.num' is set.
//! - The time of event `n` is `generator::BASE_TIME_MS` plus `n` divided by the rate; the source never waits.
//!
//! The table has the columns `event_type INT` (0 person, 1 auction, 2 bid) and `person`, `auction`, `bid`, each a ROW of the benchmark's
//! fields, of which one is not NULL; `tests/nexmark/ddl.sql` has them, and the usual views over them.
//!
//! | option | default | |
//! |---|---|---|
//! | events.num | 0 | the number of events; 0 is without end |
//! | first-event.rate, next-event.rate | 10000 | events per second of event time; the two must be equal |
//! | person.proportion, auction.proportion, bid.proportion | 1, 3, 46 | of one epoch of events, in this order |
//! | person.avg-size, auction.avg-size, bid.avg-size | 200, 500, 100 | bytes, reached by the column `extra` |
//! | bid.hot-ratio.auctions, bid.hot-ratio.bidders, auction.hot-ratio.sellers | 2, 4, 4 | of so many, all but one are hot |

mod generator;

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int32Array, RecordBatch, RecordBatchOptions};
use bytes::Bytes;
use wiesel_core::options::Options;
use wiesel_core::source::{
    RawBatch, RawRecord, ReadRows, RowReader, Source, SourceContext, SourceEvent, SourceFactory, Split, SplitIndex,
};
use wiesel_core::table::{ConnectorInfo, SourceRequest, TableDescriptor};
use wiesel_core::types::{DataType, TypeKind};
use wiesel_core::{ChangelogMode, Error, Result, Schema};

use crate::registry::{ConnectorContext, columns, refuse_metadata, schema};
use generator::{Generator, GeneratorOptions};

/// The source's only split.
const SPLIT_NAME: &str = "events";
/// Events of one batch.
const BATCH_EVENTS_MAX: i64 = 65_536;

/// What a column of the table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventColumn {
    Type,
    Person,
    Auction,
    Bid,
}

/// Checks every option and column of the table.
pub fn info(table: &TableDescriptor, _context: &ConnectorContext) -> Result<ConnectorInfo> {
    refuse_metadata(table)?;
    let options = read_options(table)?;
    for column in &table.columns {
        event_column(table, &column.name, &column.data_type)?;
    }
    Ok(ConnectorInfo {
        is_source: true,
        is_lookup: false,
        is_bounded: options.events > 0,
        watermark_push_down: false,
        source_mode: ChangelogMode::Insert,
        is_sink: false,
        sink_mode: None,
        sink_folds_by_key: false,
        delivery: "",
        metadata: Vec::new(),
        notes: Vec::new(),
    })
}

/// A source for the table.
pub fn source(
    table: &TableDescriptor,
    request: &SourceRequest,
    context: &ConnectorContext,
) -> Result<Box<dyn SourceFactory>> {
    info(table, context)?;
    let wanted = columns(table, &request.columns)?;
    let wanted: Result<Vec<EventColumn>> =
        wanted.into_iter().map(|c| event_column(table, &c.name, &c.data_type)).collect();
    Ok(Box::new(NexmarkFactory {
        options: read_options(table)?,
        columns: wanted?,
        schema: schema(table, &request.columns)?,
    }))
}

/// There is nothing to connect to.
pub fn probe(table: &TableDescriptor, _as_sink: bool, context: &ConnectorContext) -> Result<()> {
    info(table, context).map(|_| ())
}

fn read_options(table: &TableDescriptor) -> Result<GeneratorOptions> {
    let mut options = Options::new(&table.name, &table.options);
    let mut number = |key: &str, default: i64, least: i64| -> Result<i64> {
        let value = options.integer(key)?.unwrap_or(default);
        if value < least {
            return Err(options.invalid(key, &value.to_string(), &format!("a number of at least {least}")));
        }
        Ok(value)
    };
    let first_rate = number("first-event.rate", 10_000, 1)?;
    let next_rate = number("next-event.rate", first_rate, 1)?;
    let read = GeneratorOptions {
        events: number("events.num", 0, 0)?,
        rate: first_rate,
        persons: number("person.proportion", 1, 1)?,
        auctions: number("auction.proportion", 3, 1)?,
        bids: number("bid.proportion", 46, 0)?,
        person_bytes: number("person.avg-size", 200, 0)?,
        auction_bytes: number("auction.avg-size", 500, 0)?,
        bid_bytes: number("bid.avg-size", 100, 0)?,
        hot_auctions: number("bid.hot-ratio.auctions", 2, 1)?,
        hot_bidders: number("bid.hot-ratio.bidders", 4, 1)?,
        hot_sellers: number("auction.hot-ratio.sellers", 4, 1)?,
    };
    if first_rate != next_rate {
        return Err(options.unsupported("next-event.rate", "set it to 'first-event.rate': the rate does not change"));
    }
    if options.boolean("rate.limited", false)? {
        return Err(options.unsupported("rate.limited", "events come as fast as they are processed"));
    }
    // How a rate changes means nothing when it does not.
    options.get("rate.shape");
    options.duration("rate.period")?;
    for key in ["keep-alive", "stop-at", "max-emit-speed"] {
        if options.get(key).is_some() {
            return Err(options.unsupported(key, "bound the source by 'events.num'"));
        }
    }
    for (key, bytes) in [
        ("person.avg-size", read.person_bytes),
        ("auction.avg-size", read.auction_bytes),
        ("bid.avg-size", read.bid_bytes),
    ] {
        if bytes > generator::EVENT_BYTES_MAX {
            return Err(options.invalid(key, &bytes.to_string(), &format!("at most {}", generator::EVENT_BYTES_MAX)));
        }
    }
    options.finish()?;
    Ok(read)
}

/// The column of that name, when it has the benchmark's type.
fn event_column(table: &TableDescriptor, name: &str, data_type: &DataType) -> Result<EventColumn> {
    let (column, fields) = match name {
        "event_type" => (EventColumn::Type, &[][..]),
        "person" => (EventColumn::Person, generator::PERSON_FIELDS),
        "auction" => (EventColumn::Auction, generator::AUCTION_FIELDS),
        "bid" => (EventColumn::Bid, generator::BID_FIELDS),
        _ => {
            return Err(Error::config(format!("table `{}`: connector 'nexmark' has no column `{name}`", table.name))
                .hint("it has event_type, person, auction and bid; computed columns may stand beside them"));
        }
    };
    let fits = match &data_type.kind {
        TypeKind::Int => fields.is_empty(),
        TypeKind::Row(declared) => {
            !fields.is_empty()
                && declared.len() == fields.len()
                && declared.iter().zip(fields).all(|(d, (_, kind))| kind.fits(&d.data_type.kind))
        }
        _ => false,
    };
    if fits {
        return Ok(column);
    }
    let expected = if fields.is_empty() {
        "INT".to_owned()
    } else {
        let fields: Vec<String> = fields.iter().map(|(name, kind)| format!("{name} {}", kind.name())).collect();
        format!("ROW<{}>", fields.join(", "))
    };
    Err(Error::config(format!("table `{}`: connector 'nexmark' has `{name}` as {expected}", table.name))
        .hint("fields may have other names, not other types"))
}

struct NexmarkFactory {
    options: GeneratorOptions,
    columns: Vec<EventColumn>,
    schema: Schema,
}

impl SourceFactory for NexmarkFactory {
    fn open(&self, context: SourceContext) -> Result<Box<dyn Source>> {
        let start = context.restored.iter().find(|s| s.name == SPLIT_NAME).map_or(0, |s| s.start);
        Ok(Box::new(NexmarkSource {
            splits: vec![Split { name: SPLIT_NAME.to_owned(), start }],
            end: if self.options.events > 0 { self.options.events } else { i64::MAX },
            next: start,
            is_finished: false,
        }))
    }

    fn reader(&self) -> Result<Option<Box<dyn RowReader>>> {
        Ok(Some(Box::new(NexmarkReader {
            generator: Generator::new(self.options.clone()),
            columns: self.columns.clone(),
            schema: self.schema.clone(),
        })))
    }
}

/// Hands out event numbers.
struct NexmarkSource {
    splits: Vec<Split>,
    end: i64,
    next: i64,
    is_finished: bool,
}

impl Source for NexmarkSource {
    fn splits(&self) -> &[Split] {
        &self.splits
    }

    fn poll(&mut self, bytes_max: usize, wait: Duration, events: &mut Vec<SourceEvent>) -> Result<()> {
        if self.next >= self.end {
            if self.is_finished {
                std::thread::park_timeout(wait);
            } else {
                self.is_finished = true;
                events.push(SourceEvent::Finished(0));
            }
            return Ok(());
        }
        let fitting = i64::try_from(bytes_max / size_of::<RawRecord>()).unwrap_or(BATCH_EVENTS_MAX);
        let until = self.end.min(self.next.saturating_add(fitting.clamp(1, BATCH_EVENTS_MAX)));
        let record = |offset| RawRecord {
            key_start: 0,
            key_end: 0,
            value_start: 0,
            value_end: 0,
            offset,
            timestamp_ms: -1,
            has_key: false,
            has_value: true,
            tag: 0,
        };
        let records = (self.next..until).map(record).collect();
        events.push(SourceEvent::Raw(RawBatch { split: 0, arena: Bytes::new(), records, next: until }));
        self.next = until;
        Ok(())
    }

    fn checkpoint_complete(&mut self, _positions: &[(SplitIndex, i64)]) -> Result<()> {
        Ok(())
    }
}

/// Makes events out of their numbers.
struct NexmarkReader {
    generator: Generator,
    columns: Vec<EventColumn>,
    schema: Schema,
}

impl RowReader for NexmarkReader {
    fn read(&mut self, batch: &RawBatch, range: std::ops::Range<usize>) -> Result<ReadRows> {
        let records = batch.records.get(range).unwrap_or_default();
        let numbers = match (records.first(), records.last()) {
            (Some(first), Some(last)) => first.offset..last.offset + 1,
            _ => 0..0,
        };
        let wants = |column: EventColumn| self.columns.contains(&column);
        let options = self.generator.options();
        let kinds: Int32Array = numbers.clone().map(|n| options.kind(n) as i32).collect();
        let persons = wants(EventColumn::Person).then(|| self.generator.persons(numbers.clone()));
        let auctions = wants(EventColumn::Auction).then(|| self.generator.auctions(numbers.clone()));
        let bids = wants(EventColumn::Bid).then(|| self.generator.bids(numbers.clone()));
        let kinds: ArrayRef = Arc::new(kinds);
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (column, field) in self.columns.iter().zip(self.schema.arrow().fields()) {
            let rows = match column {
                EventColumn::Type => {
                    arrays.push(Arc::clone(&kinds));
                    continue;
                }
                EventColumn::Person => &persons,
                EventColumn::Auction => &auctions,
                EventColumn::Bid => &bids,
            };
            let rows = rows.as_ref().ok_or_else(|| Error::internal("an event column that nobody asked for"))?;
            arrays.push(rows.as_struct(field)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(self.schema.arrow()), arrays, &options)?;
        Ok(ReadRows { rows, kinds: None, skipped: 0 })
    }
}

#[cfg(test)]
mod tests {
    use wiesel_core::env::Waker;
    use wiesel_core::{Field, Value};

    use super::*;
    use crate::registry::tests::table;

    fn row(fields: &[(&str, generator::FieldKind)]) -> DataType {
        let field = |(name, kind): &(&str, generator::FieldKind)| Field::new(*name, kind.data_type());
        DataType::new(TypeKind::Row(fields.iter().map(field).collect()))
    }

    fn events(options: &[(&str, &str)]) -> TableDescriptor {
        let columns = [
            ("event_type", DataType::int()),
            ("person", row(generator::PERSON_FIELDS)),
            ("auction", row(generator::AUCTION_FIELDS)),
            ("bid", row(generator::BID_FIELDS)),
        ];
        let all: Vec<(&str, &str)> = [("connector", "nexmark")].into_iter().chain(options.iter().copied()).collect();
        table(&columns, &[], &all)
    }

    fn read(table: &TableDescriptor, start: i64, bytes_max: usize) -> Vec<Vec<Value>> {
        let request = SourceRequest {
            columns: (0..4).collect(),
            time_zone: "UTC".to_owned(),
            workers: 1,
            job_name: "job".to_owned(),
        };
        let factory = source(table, &request, &ConnectorContext::default()).unwrap();
        let context = SourceContext {
            restored: vec![Split { name: SPLIT_NAME.to_owned(), start }],
            restored_ends: Vec::new(),
            is_restored: start > 0,
            buffer_bytes_max: 1 << 20,
            waker: Waker::default(),
            cache_folder: None,
        };
        let mut source = factory.open(context).unwrap();
        let mut reader = factory.reader().unwrap().unwrap();
        let (mut polled, mut rows) = (Vec::new(), Vec::new());
        while !matches!(polled.last(), Some(SourceEvent::Finished(0))) {
            polled.clear();
            source.poll(bytes_max, Duration::from_millis(1), &mut polled).unwrap();
            for event in &polled {
                let SourceEvent::Raw(batch) = event else { continue };
                let read = reader.read(batch, 0..batch.records.len()).unwrap();
                for index in 0..read.rows.num_rows() {
                    let cells = table.columns.iter().zip(read.rows.columns());
                    rows.push(cells.map(|(c, a)| Value::from_array(a, &c.data_type, index)).collect());
                }
            }
        }
        rows
    }

    fn integer(row: &Value, index: usize) -> i64 {
        match row {
            Value::Row(fields) => match &fields[index] {
                Value::Int(value) | Value::Timestamp(value) => *value,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn text(row: &Value, index: usize) -> &str {
        match row {
            Value::Row(fields) => match &fields[index] {
                Value::String(value) => value,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn events_depend_on_their_number_alone() {
        let table = events(&[("events.num", "1000")]);
        let whole = read(&table, 0, 1 << 20);
        assert_eq!(whole.len(), 1000);
        assert_eq!(read(&table, 0, 1000), whole);
        assert_eq!(read(&table, 730, 1 << 20), whole[730..]);
    }

    #[test]
    fn an_epoch_has_one_person_three_auctions_and_their_bids() {
        let rows = read(&events(&[("events.num", "5000"), ("first-event.rate", "1000")]), 0, 1 << 20);
        for (number, event) in rows.iter().enumerate() {
            let kind = match number % 50 {
                0 => 0,
                1..=3 => 1,
                _ => 2,
            };
            assert_eq!(event[0], Value::Int(kind));
            for (index, column) in event[1..].iter().enumerate() {
                assert_eq!(column.is_null(), i64::try_from(index).unwrap() != kind, "event {number}");
            }
        }
        let epoch = |n: usize| n / 50;
        let times = |row: &Value, index: usize, number: usize| {
            assert_eq!(integer(row, index), generator::BASE_TIME_MS + i64::try_from(number).unwrap());
        };
        for (number, event) in rows.iter().enumerate() {
            let (person, auction, bid) = (&event[1], &event[2], &event[3]);
            if !person.is_null() {
                assert_eq!(integer(person, 0), 1000 + i64::try_from(epoch(number)).unwrap());
                assert!(text(person, 2).ends_with(".com") && text(person, 3).len() == 19);
                times(person, 6, number);
            }
            if !auction.is_null() {
                assert_eq!(integer(auction, 0), 1000 + i64::try_from(epoch(number) * 3 + number % 50 - 1).unwrap());
                assert!(integer(auction, 4) > integer(auction, 3));
                assert!(integer(auction, 6) > integer(auction, 5));
                assert!((10..15).contains(&integer(auction, 8)));
                times(auction, 5, number);
            }
            if !bid.is_null() {
                assert!((100..=100_000_000).contains(&integer(bid, 2)));
                assert!(integer(bid, 0) >= 1000 && integer(bid, 1) >= 2000);
                assert!(text(bid, 4).starts_with("https://www.nexmark.com/"));
                times(bid, 5, number);
            }
        }
        let bids: Vec<&Value> = rows.iter().map(|e| &e[3]).filter(|b| !b.is_null()).collect();
        let hot = |index: usize, rest: i64| bids.iter().filter(|b| integer(b, index) % 100 == rest).count();
        let share = |count: usize| count * 100 / bids.len();
        assert!((45..57).contains(&share(hot(0, 0))), "hot auctions {}", share(hot(0, 0)));
        assert!((70..80).contains(&share(hot(1, 1))), "hot bidders {}", share(hot(1, 1)));
        let cold = bids.iter().filter(|b| text(b, 3).starts_with("channel-")).count();
        assert!((45..56).contains(&share(cold)), "cold channels {}", share(cold));
        let bytes: usize = bids.iter().map(|b| 32 + text(b, 6).len()).sum::<usize>() / bids.len();
        assert!((97..=103).contains(&bytes), "{bytes}");
    }

    #[test]
    fn other_columns_and_options_are_refused() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("event.num", "1")], "unknown option 'event.num'"),
            (&[("bid.proportion", "-1")], "at least 0"),
            (&[("next-event.rate", "5")], "'next-event.rate' of table `t` is not supported yet"),
            (&[("rate.limited", "true")], "'rate.limited' of table `t` is not supported yet"),
        ];
        for (options, expected) in cases {
            let error = info(&events(options), &ConnectorContext::default()).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
        }
        let options = [("connector", "nexmark")];
        let wrong =
            table(&[("bid", DataType::new(TypeKind::Row(vec![Field::new("a", DataType::int())])))], &[], &options);
        let error = info(&wrong, &ConnectorContext::default()).unwrap_err();
        assert!(error.message().contains("has `bid` as ROW<auction BIGINT, bidder BIGINT"), "{error}");
        let unknown = table(&[("seller", DataType::int())], &[], &options);
        assert!(info(&unknown, &ConnectorContext::default()).is_err());
    }
}
