//! The datagen connector: rows made up by column, endless or bounded, as fast as asked for.
//!
//! Every value is a function of a seed, the column and the row's number (`generator.rs`), so position n of the one split `datagen-0` always
//! holds the same row: two runs agree, and a restored job continues with exactly the next row. Only values that mean "now"
//! (DATE, TIME, TIMESTAMP) follow the clock. Columns are built directly, there is nothing to decode.
//!
//! | Option | Meaning |
//! |---|---|
//! | `rows-per-second` | rate limit, 10000 unless set |
//! | `number-of-rows` | the source ends after so many rows; a `sequence` column ends it too |
//! | `seed` | another number gives other rows |
//! | `fields.<column>.kind` | `random`, `sequence`, or one of those below |
//! | `fields.<column>.min`, `.max` | bounds of random numbers, both included |
//! | `fields.<column>.start`, `.end` | first and last value of a sequence |
//! | `fields.<column>.max-past` | TIMESTAMPs lie between now and so long ago |
//! | `fields.<column>.length`, `.var-len` | length of strings, bytes and collections; `var-len` makes it the maximum |
//! | `fields.<column>.null-rate` | share of NULL values, 0 to 1 |
//! | `fields.<column>.element.*`, `.key.*`, `.value.*`, `.<field>.*` | the same for what an ARRAY, MULTISET, MAP or ROW holds |
//!
//! Flink's datagen has the kinds `random` and `sequence` alone, and no `seed`. Rows that look like those of real systems take these kinds:
//!
//! | `fields.<column>.kind` | Values | Options |
//! |---|---|---|
//! | `choice` | one of those given; texts, numbers, BOOLEAN | `.values` separated by `;`, `.weights` likewise, or `.skew` |
//! | `pattern` | `ord-####-??`: `#` is a digit, `?` a letter | `.pattern`, `.distinct`, `.skew` |
//! | `first-name`, `last-name`, `name`, `email`, `city`, `country`, `word`, `sentence`, `ipv4`, `uuid`, `url`, `user-agent` | texts of that form; addresses of hosts end with `.example` | `.distinct`, `.skew` |
//! | `event-time` | TIMESTAMPs that go on with the rows | `.start` in UTC, `.step` (1 s), `.late` (share of rows that are late), `.late-by` (how much at most) |
//!
//! `.distinct`: so many different values at most; every row has its own unless set. `.skew`: few values are frequent, the n-th comes as
//! if it had the weight n^-skew (1 is what words of a language or clicks on pages show); random integers take it too, the lowest most often.

mod generator;
mod made_up;
mod options;
mod realistic;
mod source;

use wiesel_core::table::{ConnectorInfo, SourceRequest, TableDescriptor};
use wiesel_core::{ChangelogMode, Result};

use crate::registry::{ConnectorContext, schema};
use options::DatagenOptions;

/// Checks the table's options and says what the connector can do.
pub fn info(table: &TableDescriptor, _context: &ConnectorContext) -> Result<ConnectorInfo> {
    let options = DatagenOptions::read(table)?;
    Ok(ConnectorInfo {
        is_source: true,
        is_lookup: false,
        is_bounded: options.rows_total.is_some(),
        watermark_push_down: false,
        source_mode: ChangelogMode::Insert,
        is_sink: false,
        sink_mode: Some(ChangelogMode::Insert),
        sink_folds_by_key: false,
        delivery: "",
        metadata: Vec::new(),
        notes: options.notes,
    })
}

/// A source for the table.
pub fn source(
    table: &TableDescriptor,
    request: &SourceRequest,
    _context: &ConnectorContext,
) -> Result<Box<dyn wiesel_core::source::SourceFactory>> {
    let options = DatagenOptions::read(table)?;
    let schema = schema(table, &request.columns)?;
    Ok(Box::new(source::DatagenFactory::new(options, request, schema)))
}

/// Nothing to connect to.
pub fn probe(table: &TableDescriptor, _as_sink: bool, context: &ConnectorContext) -> Result<()> {
    info(table, context).map(|_| ())
}
