//! The datagen source: one split whose positions are row numbers, paced by the wall clock.

use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use wiesel_core::env::{monotonic, wall_clock_ms};
use wiesel_core::source::{RowReader, RowsBatch, Source, SourceContext, SourceEvent, SourceFactory, Split, SplitIndex};
use wiesel_core::table::SourceRequest;
use wiesel_core::{Error, Result, Schema};

use super::generator::{Generator, Now};
use super::options::DatagenOptions;

/// The one split.
const SPLIT_NAME: &str = "datagen-0";
/// The most rows of a batch.
const BATCH_ROWS_MAX: u64 = 64 * 1024;
/// Rows are handed out in lots of this much time, so that a slow rate does not mean a batch per row.
const LOT_MS: u64 = 20;
/// What was missed while the job was held back is made up for, but never more than this.
const BURST_MS_MAX: u64 = 1000;

pub(super) struct DatagenFactory {
    rows_per_second: u64,
    rows_total: Option<u64>,
    generators: Vec<Generator>,
    schema: Schema,
    time_zone: String,
}

impl DatagenFactory {
    pub(super) fn new(options: DatagenOptions, request: &SourceRequest, schema: Schema) -> Self {
        DatagenFactory {
            rows_per_second: options.rows_per_second,
            rows_total: options.rows_total,
            generators: request.columns.iter().filter_map(|i| options.generators.get(*i).cloned()).collect(),
            schema,
            time_zone: request.time_zone.clone(),
        }
    }
}

impl SourceFactory for DatagenFactory {
    fn open(&self, context: SourceContext) -> Result<Box<dyn Source>> {
        let start = context.restored.iter().find(|s| s.name == SPLIT_NAME).map_or(0, |s| s.start);
        let position = u64::try_from(start)
            .map_err(|_| Error::internal(format!("a datagen split cannot start at row {start}")))?;
        let time_zone = jiff::tz::TimeZone::get(&self.time_zone)
            .map_err(|e| Error::config(format!("time zone '{}' is unknown: {e}", self.time_zone)))?;
        Ok(Box::new(DatagenSource {
            splits: vec![Split { name: SPLIT_NAME.to_owned(), start }],
            generators: self.generators.clone(),
            schema: self.schema.clone(),
            time_zone,
            rows_total: self.rows_total,
            position,
            is_finished: false,
            opened: monotonic(),
            pace: Pace::new(self.rows_per_second),
        }))
    }

    fn reader(&self) -> Result<Option<Box<dyn RowReader>>> {
        Ok(None)
    }
}

/// How many rows may be handed out: a bucket that fills with time.
#[derive(Debug)]
struct Pace {
    rows_per_second: u64,
    /// What the bucket held since the start, less what was lost by overflow.
    granted: u128,
}

impl Pace {
    fn new(rows_per_second: u64) -> Self {
        Pace { rows_per_second, granted: 0 }
    }

    fn rows_in(&self, ms: u128) -> u128 {
        ms.saturating_mul(self.rows_per_second.into()) / 1000
    }

    /// The rows that may be handed out `elapsed` after the start. The first lot is due at once.
    fn due(&mut self, elapsed: Duration) -> u64 {
        let lot = self.lot();
        let earned = self.rows_in(elapsed.as_millis()).saturating_add(lot.into());
        let burst = self.rows_in(BURST_MS_MAX.into()).max(1);
        self.granted = self.granted.max(earned.saturating_sub(burst));
        let due = u64::try_from(earned - self.granted.min(earned)).unwrap_or(u64::MAX);
        if due >= lot { due } else { 0 }
    }

    fn lot(&self) -> u64 {
        (self.rows_per_second.saturating_mul(LOT_MS) / 1000).max(1)
    }

    fn take(&mut self, rows: u64) {
        self.granted += u128::from(rows);
    }

    /// How long it takes until a lot is due.
    fn until_due(&self, elapsed: Duration) -> Duration {
        let wanted_ms = (self.granted * 1000).div_ceil(self.rows_per_second.max(1).into());
        let wanted = Duration::from_millis(u64::try_from(wanted_ms).unwrap_or(u64::MAX));
        wanted.saturating_sub(elapsed).max(Duration::from_millis(1))
    }
}

struct DatagenSource {
    splits: Vec<Split>,
    generators: Vec<Generator>,
    schema: Schema,
    time_zone: jiff::tz::TimeZone,
    rows_total: Option<u64>,
    position: u64,
    is_finished: bool,
    opened: Instant,
    pace: Pace,
}

impl DatagenSource {
    fn now(&self) -> Now {
        let epoch_ms = wall_clock_ms();
        let local = jiff::Timestamp::from_millisecond(epoch_ms).unwrap_or_default().to_zoned(self.time_zone.clone());
        let local_ms = epoch_ms + i64::from(local.offset().seconds()) * 1000;
        Now {
            epoch_ms,
            local_day: i32::try_from(local_ms.div_euclid(86_400_000)).unwrap_or(0),
            local_ms_of_day: i32::try_from(local_ms.rem_euclid(86_400_000)).unwrap_or(0),
        }
    }

    fn rows(&self, count: u64) -> Result<RecordBatch> {
        let now = self.now();
        let rows = self.position..self.position + count;
        let columns = self.generators.iter().map(|g| g.column(rows.clone(), now)).collect::<Result<Vec<_>>>()?;
        let options = arrow_array::RecordBatchOptions::new().with_row_count(usize::try_from(count).ok());
        Ok(RecordBatch::try_new_with_options(self.schema.arrow().clone(), columns, &options)?)
    }
}

/// Waits without asking the processor; returning early does no harm.
fn pause(time: Duration) {
    std::thread::park_timeout(time);
}

impl Source for DatagenSource {
    fn splits(&self) -> &[Split] {
        &self.splits
    }

    fn poll(&mut self, bytes_max: usize, wait: Duration, events: &mut Vec<SourceEvent>) -> Result<()> {
        let left = self.rows_total.map_or(u64::MAX - self.position, |total| total.saturating_sub(self.position));
        if left == 0 {
            if self.is_finished {
                pause(wait);
            } else {
                self.is_finished = true;
                events.push(SourceEvent::Finished(0));
            }
            return Ok(());
        }
        let mut due = self.pace.due(self.opened.elapsed());
        if due == 0 {
            events.push(SourceEvent::CaughtUp(0));
            pause(wait.min(self.pace.until_due(self.opened.elapsed())));
            due = self.pace.due(self.opened.elapsed());
        }
        let width: usize = self.generators.iter().map(Generator::width).sum();
        let fitting = (bytes_max / width.max(1)).max(1) as u64;
        let count = due.min(left).min(fitting).min(BATCH_ROWS_MAX);
        if count == 0 {
            return Ok(());
        }
        let rows = self.rows(count)?;
        self.pace.take(count);
        self.position += count;
        let next = i64::try_from(self.position).map_err(|_| Error::data("a datagen source ran out of row numbers"))?;
        events.push(SourceEvent::Rows(RowsBatch { split: 0, rows, next }));
        if left == count {
            self.is_finished = true;
            events.push(SourceEvent::Finished(0));
        } else if self.rows_total.is_some() {
            events.push(SourceEvent::Lag(0, left - count));
        }
        Ok(())
    }

    fn checkpoint_complete(&mut self, _positions: &[(SplitIndex, i64)]) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Int64Type, TimestampMillisecondType};
    use arrow_array::{Array, RecordBatch};
    use wiesel_core::env::Waker;
    use wiesel_core::table::TableDescriptor;
    use wiesel_core::{DataType, Field, TypeKind, Value};

    use super::*;
    use crate::registry::tests::table;
    use crate::registry::{ConnectorContext, schema};

    fn request(table: &TableDescriptor) -> SourceRequest {
        SourceRequest {
            columns: (0..table.columns.len()).collect(),
            time_zone: "UTC".to_owned(),
            workers: 1,
            job_name: "test".to_owned(),
        }
    }

    fn read(table: &TableDescriptor, start: i64, bytes_max: usize) -> Vec<RecordBatch> {
        let factory = super::super::source(table, &request(table), &ConnectorContext::default()).unwrap();
        let restored = vec![Split { name: SPLIT_NAME.to_owned(), start }];
        let waker = Waker::default();
        let context = SourceContext {
            restored,
            restored_ends: Vec::new(),
            is_restored: start > 0,
            buffer_bytes_max: 1 << 20,
            waker,
            cache_folder: None,
        };
        let mut source = factory.open(context).unwrap();
        let mut events = Vec::new();
        while !matches!(events.last(), Some(SourceEvent::Finished(0))) {
            source.poll(bytes_max, Duration::from_millis(1), &mut events).unwrap();
        }
        let batches = events.into_iter().filter_map(|e| if let SourceEvent::Rows(b) = e { Some(b.rows) } else { None });
        batches.collect()
    }

    fn values(table: &TableDescriptor, batches: &[RecordBatch]) -> Vec<Vec<Value>> {
        let types: Vec<DataType> = table.columns.iter().map(|c| c.data_type.clone()).collect();
        let mut rows = Vec::new();
        for batch in batches {
            for row in 0..batch.num_rows() {
                let values = types.iter().zip(batch.columns());
                rows.push(values.map(|(t, c)| Value::from_array(c, t, row)).collect());
            }
        }
        rows
    }

    fn all_types() -> TableDescriptor {
        let int = || Box::new(DataType::int());
        let columns: &[(&str, DataType)] = &[
            ("b", DataType::boolean()),
            ("ti", DataType::new(TypeKind::TinyInt)),
            ("si", DataType::new(TypeKind::SmallInt)),
            ("i", DataType::int()),
            ("l", DataType::bigint()),
            ("f", DataType::new(TypeKind::Float)),
            ("d", DataType::double()),
            ("dec", DataType::new(TypeKind::Decimal { precision: 10, scale: 2 })),
            ("c", DataType::new(TypeKind::Char(5))),
            ("s", DataType::string()),
            ("v", DataType::new(TypeKind::VarBinary(7))),
            ("a", DataType::new(TypeKind::Array(int()))),
            ("m", DataType::new(TypeKind::Map(Box::new(DataType::string()), int()))),
            ("ms", DataType::new(TypeKind::Multiset(Box::new(DataType::string())))),
            ("r", DataType::new(TypeKind::Row(vec![Field::new("x", DataType::int())]))),
            ("iv", DataType::new(TypeKind::IntervalDayTime)),
            ("q", DataType::string()),
        ];
        let options: &[(&str, &str)] = &[
            ("connector", "datagen"),
            ("rows-per-second", "100000000"),
            ("number-of-rows", "1000"),
            ("fields.i.min", "-3"),
            ("fields.i.max", "3"),
            ("fields.s.length", "20"),
            ("fields.s.var-len", "true"),
            ("fields.a.length", "4"),
            ("fields.a.var-len", "true"),
            ("fields.l.null-rate", "0.5"),
            ("fields.r.x.max", "9"),
            ("fields.r.x.min", "8"),
            ("fields.q.kind", "sequence"),
            ("fields.q.start", "10"),
            ("fields.q.end", "2000"),
        ];
        table(columns, &[], options)
    }

    #[test]
    fn rows_depend_on_their_number_alone_so_a_restored_source_continues_exactly() {
        let table = all_types();
        let whole = values(&table, &read(&table, 0, 1 << 20));
        let in_pieces = values(&table, &read(&table, 0, 1000));
        let tail = values(&table, &read(&table, 900, 5000));
        assert_eq!(whole.len(), 1000);
        assert_eq!(whole, in_pieces);
        assert_eq!(whole[900..], tail);
    }

    #[test]
    fn values_keep_to_their_bounds() {
        let table = all_types();
        let rows = values(&table, &read(&table, 0, 1 << 20));
        let mut nulls = 0;
        let mut ints = std::collections::BTreeSet::new();
        for (number, row) in rows.iter().enumerate() {
            let (Value::Int(i), Value::String(c), Value::String(s)) = (&row[3], &row[8], &row[9]) else { panic!() };
            ints.insert(*i);
            assert_eq!(c.len(), 5);
            assert!((1..=20).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_hexdigit()));
            nulls += usize::from(row[4].is_null());
            let (Value::Array(items), Value::Row(fields)) = (&row[11], &row[14]) else { panic!() };
            assert!((1..=4).contains(&items.len()));
            assert!(matches!(fields[0], Value::Int(8 | 9)));
            assert_eq!(row[16], Value::String((number + 10).to_string()));
        }
        assert_eq!(ints.into_iter().collect::<Vec<_>>(), (-3..=3).collect::<Vec<_>>());
        assert!((400..600).contains(&nulls), "{nulls}");
    }

    #[test]
    fn a_sequence_ends_the_source() {
        let options: &[(&str, &str)] = &[
            ("connector", "datagen"),
            ("rows-per-second", "1000000"),
            ("fields.n.kind", "sequence"),
            ("fields.n.start", "1"),
            ("fields.n.end", "5"),
        ];
        let timestamp = DataType::new(TypeKind::Timestamp(3));
        let table = table(&[("n", DataType::bigint()), ("ts", timestamp)], &[], options);
        assert!(super::super::info(&table, &ConnectorContext::default()).unwrap().is_bounded);
        let before = wall_clock_ms();
        let batches = read(&table, 0, 1 << 20);
        let batch = &batches[0];
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[1, 2, 3, 4, 5]);
        let times = batch.column(1).as_primitive::<TimestampMillisecondType>();
        assert!(times.values().iter().all(|t| *t >= before));
        assert_eq!(times.null_count(), 0);
    }

    /// Rows as a shop would send them.
    fn orders(seed: &str) -> TableDescriptor {
        let price = TypeKind::Decimal { precision: 10, scale: 2 };
        let columns: &[(&str, DataType)] = &[
            ("customer", DataType::string()),
            ("item", DataType::bigint()),
            ("state", DataType::string()),
            ("price", DataType::new(price)),
            ("is_paid", DataType::boolean()),
            ("at", DataType::new(TypeKind::Timestamp(3))),
            ("mail", DataType::string()),
            ("tags", DataType::new(TypeKind::Array(Box::new(DataType::string())))),
        ];
        let options: &[(&str, &str)] = &[
            ("connector", "datagen"),
            ("rows-per-second", "100000000"),
            ("number-of-rows", "20000"),
            ("seed", seed),
            ("fields.customer.kind", "pattern"),
            ("fields.customer.pattern", "c-######"),
            ("fields.customer.distinct", "50"),
            ("fields.customer.skew", "1.0"),
            ("fields.item.min", "100"),
            ("fields.item.max", "199"),
            ("fields.item.skew", "2"),
            ("fields.state.kind", "choice"),
            ("fields.state.values", "new; sent ;lost"),
            ("fields.state.weights", "6;3;1"),
            ("fields.price.kind", "choice"),
            ("fields.price.values", "19.99;5"),
            ("fields.is_paid.kind", "choice"),
            ("fields.is_paid.values", "true;false"),
            ("fields.is_paid.weights", "1;0"),
            ("fields.at.kind", "event-time"),
            ("fields.at.start", "2024-01-01 00:00:00"),
            ("fields.at.step", "100 ms"),
            ("fields.at.late", "0.05"),
            ("fields.at.late-by", "10 s"),
            ("fields.mail.kind", "email"),
            ("fields.mail.null-rate", "0.5"),
            ("fields.tags.length", "2"),
            ("fields.tags.element.kind", "word"),
        ];
        table(columns, &[], options)
    }

    #[test]
    fn rows_look_like_those_of_a_system() {
        let table = orders("1");
        let rows = values(&table, &read(&table, 0, 1 << 20));
        assert_eq!(rows.len(), 20_000);
        let share = |is: &dyn Fn(&[Value]) -> bool| rows.iter().filter(|row| is(row)).count() as f64 / 20_000.0;
        let near =
            |found: f64, expected: f64| assert!((found - expected).abs() < 0.015, "{found}, expected {expected}");
        let customers: std::collections::BTreeSet<String> = rows.iter().map(|row| format!("{:?}", row[0])).collect();
        assert!((45..=50).contains(&customers.len()), "{}", customers.len());
        near(share(&|row| row[1] == Value::Int(100)), 0.505);
        assert!(rows.iter().all(|row| matches!(row[1], Value::Int(100..=199))));
        let text = |text: &str| Value::String(text.to_owned());
        near(share(&|row| row[2] == text("new")), 0.6);
        near(share(&|row| row[2] == text("sent")), 0.3);
        near(share(&|row| row[2] == text("lost")), 0.1);
        let price = |value: &Value| format!("{value:?}");
        let prices: std::collections::BTreeSet<String> = rows.iter().map(|row| price(&row[3])).collect();
        assert!(
            prices.len() == 2 && prices.iter().any(|p| p.contains("1999")) && prices.iter().any(|p| p.contains("500")),
            "{prices:?}"
        );
        assert!(rows.iter().all(|row| row[4] == Value::Boolean(true)));
        let start = 1_704_067_200_000;
        let behind = |(number, row): (usize, &Vec<Value>)| {
            let Value::Timestamp(at) = row[5] else { panic!("{row:?}") };
            start + i64::try_from(number).unwrap() * 100 - at
        };
        let late: Vec<i64> = rows.iter().enumerate().map(behind).filter(|by| *by != 0).collect();
        near(late.len() as f64 / 20_000.0, 0.05);
        assert!(late.iter().all(|by| (1..=10_000).contains(by)));
        near(share(&|row| row[6].is_null()), 0.5);
        assert!(rows.iter().all(|row| matches!(&row[7], Value::Array(tags) if tags.len() == 2)));
        // The same seed gives the same rows, also in pieces and from the middle; another seed others.
        assert_eq!(rows, values(&table, &read(&table, 0, 3000)));
        assert_eq!(rows[15_000..], values(&table, &read(&table, 15_000, 1 << 20)));
        let other = orders("2");
        assert_ne!(rows[..100], values(&other, &read(&other, 0, 1 << 20))[..100]);
    }

    #[test]
    fn the_pace_follows_the_clock_and_forgets_a_long_stop() {
        let mut pace = Pace::new(1000);
        assert_eq!(pace.due(Duration::ZERO), 20);
        pace.take(20);
        assert_eq!(pace.due(Duration::from_millis(10)), 0);
        assert_eq!(pace.until_due(Duration::from_millis(10)), Duration::from_millis(10));
        assert_eq!(pace.due(Duration::from_millis(500)), 500);
        pace.take(500);
        assert_eq!(pace.due(Duration::from_secs(3600)), 1000);
        let mut slow = Pace::new(1);
        assert_eq!(slow.due(Duration::ZERO), 1);
        slow.take(1);
        assert_eq!(slow.due(Duration::from_millis(999)), 0);
        assert_eq!(slow.due(Duration::from_millis(1000)), 1);
    }

    #[test]
    fn options_that_do_not_fit_are_refused() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("rows-per-second", "0")], "expected a number above 0"),
            (&[("fields.n.min", "300")], "bounds in order that fit TINYINT"),
            (&[("fields.n.kind", "sequence")], "needs both 'fields.n.start' and 'fields.n.end'"),
            (&[("fields.ok.kind", "sequence")], "random, the only kind for BOOLEAN"),
            (&[("fields.n.null-rate", "2")], "a share between 0 and 1"),
            (&[("fields.missing.min", "2")], "unknown option 'fields.missing.min'"),
            (&[("fields.n.skew", "-1")], "a number between 0 and 20"),
            (&[("fields.n.kind", "choice")], "lacks the required option 'fields.n.values'"),
            (&[("fields.n.kind", "choice"), ("fields.n.values", "1;200")], "values that fit TINYINT"),
            (
                &[("fields.n.kind", "choice"), ("fields.n.values", "1;2"), ("fields.n.weights", "1")],
                "2 numbers, one for each value",
            ),
            (
                &[
                    ("fields.n.kind", "choice"),
                    ("fields.n.values", "1;2"),
                    ("fields.n.weights", "1;2"),
                    ("fields.n.skew", "1"),
                ],
                "both say how often a value comes",
            ),
            (&[("fields.n.kind", "name")], "a kind that TINYINT can hold; this one is for STRING"),
            (&[("fields.n.kind", "event-time")], "this one is for TIMESTAMP and TIMESTAMP_LTZ"),
            (&[("fields.s.kind", "email")], "STRING, or VARCHAR("),
            (&[("fields.s.kind", "pattern"), ("fields.s.pattern", "")], "`#` is a digit"),
            (
                &[("fields.s.kind", "pattern"), ("fields.s.pattern", "#"), ("fields.s.skew", "1")],
                "needs 'fields.s.distinct'",
            ),
            (&[("fields.t.kind", "event-time"), ("fields.t.start", "yesterday")], "a time such as 2024-01-01 00:00:00"),
            (
                &[("fields.t.kind", "event-time"), ("fields.t.start", "2024-01-01 00:00:00"), ("fields.t.late", "0.1")],
                "'fields.t.late' and 'fields.t.late-by' go together",
            ),
        ];
        for (options, message) in cases {
            let mut all = vec![("connector", "datagen")];
            all.extend(*options);
            let columns = &[
                ("n", DataType::new(TypeKind::TinyInt)),
                ("ok", DataType::boolean()),
                ("s", DataType::new(TypeKind::VarChar(10))),
                ("t", DataType::new(TypeKind::Timestamp(3))),
            ];
            let table = table(columns, &[], &all);
            let error = super::super::info(&table, &ConnectorContext::default()).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn only_the_requested_columns_are_made() {
        let table = all_types();
        let request = SourceRequest { columns: vec![9, 3], ..request(&table) };
        let factory = super::super::source(&table, &request, &ConnectorContext::default()).unwrap();
        let context = SourceContext {
            restored: Vec::new(),
            restored_ends: Vec::new(),
            is_restored: false,
            buffer_bytes_max: 1 << 20,
            waker: Waker::default(),
            cache_folder: None,
        };
        let mut source = factory.open(context).unwrap();
        let mut events = Vec::new();
        source.poll(1 << 20, Duration::from_millis(1), &mut events).unwrap();
        let Some(SourceEvent::Rows(batch)) = events.first() else { panic!("{events:?}") };
        assert_eq!(batch.rows.schema(), *schema(&table, &[9, 3]).unwrap().arrow());
    }
}
