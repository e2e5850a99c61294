//! The seam between the connector and the databases. Everything above it (options, buffers, delivery, scans, the lookup's cache) is the same
//! for all; everything that differs is one folder per database behind [`Dialect`]: forms of URLs, quoting, how rows travel, the upsert
//! statement, what a column is cast to, the record of exactly-once, and what an error means.
//!
//! ```text
//! Dialect --open_writer--> RowWriter   one connection with its statements: transactions of inserts, upserts, deletes, and the record
//!         --open_scan----> RowScan     one connection: a part of the table, a bounded number of rows at a time
//!         --open_lookup--> RowLookup   one connection: many keys, their rows
//! ```
//! The three speak in batches and not in rows or statements, because that is where databases differ most: PostgreSQL takes columns as
//! arrays, MySQL statements of many rows, SQLite one row after the other.

use std::sync::Arc;

use arrow_array::RecordBatch;
use wiesel_core::{Error, Result, TypeKind};

use super::target::Target;
use super::url::JdbcUrl;
use crate::epoch::Record;

/// All databases.
pub(super) const DIALECTS: &[&dyn Dialect] =
    &[&super::postgres::Postgres, &super::mysql::Mysql, &super::sqlite::Sqlite];

/// A database.
pub(super) trait Dialect: Send + Sync {
    /// Its name for messages.
    fn name(&self) -> &'static str;
    /// What stands behind `jdbc:` in its URLs.
    fn schemes(&self) -> &'static [&'static str];
    /// A URL to show.
    fn example(&self) -> &'static str;
    /// Classes of its Java driver.
    fn drivers(&self) -> &'static [&'static str];
    /// Reads what stands between the scheme and the parameters; `None`: it cannot be read.
    fn read_place(&self, place: &str, url: &mut JdbcUrl) -> Option<()>;
    /// Reads a parameter of the URL; `false`: there is none of that name.
    fn read_parameter(&self, name: &str, value: &str, url: &mut JdbcUrl) -> Result<bool>;
    /// Parameters that are read, for messages.
    fn parameters(&self) -> &'static [&'static str];
    /// Parameters of the Java driver that change how it works and not what it does.
    fn parameters_without_effect(&self) -> &'static [&'static str];
    /// Whether a column of this type can be read and written.
    fn carries(&self, kind: &TypeKind) -> bool;
    /// Connects, finds the table and prepares what writes it.
    fn open_writer(&self, target: &Arc<Target>) -> Result<Box<dyn RowWriter>, Failure>;
    /// Connects, finds the table and what reads it.
    fn open_scan(&self, target: &Arc<Target>) -> Result<Box<dyn RowScan>, Failure>;
    /// Connects and prepares the question: the first `delivered` columns of the target, by the others.
    fn open_lookup(&self, target: &Arc<Target>, delivered: usize) -> Result<Box<dyn RowLookup>, Failure>;
}

/// A connection that writes. What is written belongs to the transaction that was begun.
pub(super) trait RowWriter: Send {
    /// Whether the connection is known to be gone.
    fn is_closed(&self) -> bool;
    /// Runs a statement that gives no rows.
    fn run(&mut self, sql: &str) -> Result<(), Failure>;
    /// The open parts of the transaction.
    fn savepoints(&mut self) -> &mut Savepoints;
    fn begin(&mut self) -> Result<(), Failure>;
    fn commit(&mut self) -> Result<(), Failure>;
    fn rollback(&mut self) -> Result<(), Failure>;
    /// Begins a part of the transaction that can be taken back; parts nest.
    fn savepoint(&mut self) -> Result<(), Failure> {
        let sql = self.savepoints().begin();
        self.run(&sql)
    }
    /// Keeps the innermost part.
    fn release(&mut self) -> Result<(), Failure> {
        let sql = self.savepoints().release();
        self.run(&sql)
    }
    /// Takes the innermost part back, and ends it.
    fn rollback_to_savepoint(&mut self) -> Result<(), Failure> {
        let (back, end) = (self.savepoints().rollback(), self.savepoints().release());
        self.run(&back)?;
        self.run(&end)
    }
    /// Constraints that are checked at COMMIT are checked with each statement from here on.
    fn check_constraints_at_once(&mut self) -> Result<(), Failure>;
    /// Inserts rows, or upserts them when the target has a key.
    fn insert(&mut self, rows: &RecordBatch) -> Result<(), Failure>;
    /// Deletes rows by the target's key; the other columns are not looked at.
    fn delete(&mut self, rows: &RecordBatch) -> Result<(), Failure>;
    /// Whether the user may do what the sink does.
    fn check_rights(&mut self) -> Result<()>;
    /// Makes the table of records when it is not there, and refuses a table that is not part of transactions.
    fn prepare_record(&mut self) -> Result<(), Failure>;
    /// Inside a transaction: the record, made if it is missing, and held until the transaction ends.
    fn lock_record(&mut self, key: &RecordKey) -> Result<Record, Failure>;
    /// Inside the transaction that holds it: changes the record.
    fn store_record(&mut self, key: &RecordKey, record: &Record) -> Result<(), Failure>;
}

/// A connection that reads a table, or a part of it.
///
/// Contract: a part that nobody writes to comes in the same order each time (trusted), so a position is a number of rows.
pub(super) trait RowScan: Send {
    /// Whether the connection is known to be gone.
    fn is_closed(&self) -> bool;
    /// Begins a part behind its first `row` rows.
    fn open(&mut self, range: Option<&ScanRange>, row: i64) -> Result<(), Failure>;
    /// The next rows, and how many bytes their values have; fewer than `rows_max` are the last ones.
    fn fetch(&mut self, rows_max: usize) -> Result<(RecordBatch, usize), Failure>;
    /// Ends the part.
    fn close(&mut self) -> Result<(), Failure>;
}

/// A connection that asks for keys.
pub(super) trait RowLookup: Send {
    /// Whether the connection is known to be gone.
    fn is_closed(&self) -> bool;
    /// The rows of some keys, each with the place of its key, in the order of the keys.
    fn ask(&mut self, keys: &RecordBatch) -> Result<(RecordBatch, Vec<u32>), Failure>;
}

/// A part of a table: the rows whose column lies between two values, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScanRange {
    pub(super) column: String,
    pub(super) first: i64,
    pub(super) last: i64,
}

/// Which row of the table of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordKey {
    pub(super) job: String,
    pub(super) sink: String,
}

/// The open parts of a transaction, as SQL: all databases have the same words for them.
#[derive(Debug, Default)]
pub(super) struct Savepoints {
    depth: usize,
}

impl Savepoints {
    /// Begins a part.
    pub(super) fn begin(&mut self) -> String {
        self.depth += 1;
        format!("SAVEPOINT wiesel_{}", self.depth)
    }

    /// Ends the innermost part, which stays.
    pub(super) fn release(&mut self) -> String {
        let sql = format!("RELEASE SAVEPOINT wiesel_{}", self.depth);
        self.depth = self.depth.saturating_sub(1);
        sql
    }

    /// Takes back what the innermost part did; it stays open.
    pub(super) fn rollback(&self) -> String {
        format!("ROLLBACK TO SAVEPOINT wiesel_{}", self.depth)
    }

    /// A new transaction has none.
    pub(super) fn clear(&mut self) {
        self.depth = 0;
    }
}

/// What went wrong, sorted by what to do.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server is away or has no room: wait.
    Away(String),
    /// Another transaction was in the way: try again.
    Conflict(String),
    /// Two rows of one statement are one row in the database: send them one by one.
    SameRowTwice,
    /// A row does not fit.
    Row(Error),
    /// Trying again does not help.
    Fatal(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Fatal(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away(why) | Failure::Conflict(why) => Error::unavailable(why),
            Failure::SameRowTwice => Error::internal("two rows with one key in one statement"),
            Failure::Row(error) | Failure::Fatal(error) => error,
        }
    }
}

/// Does something in a transaction of its own, which is committed when it went well.
pub(super) fn in_transaction<T>(
    writer: &mut dyn RowWriter,
    work: impl FnOnce(&mut dyn RowWriter) -> Result<T, Failure>,
) -> Result<T, Failure> {
    writer.begin()?;
    let failure = match work(&mut *writer) {
        Ok(value) => return writer.commit().map(|()| value),
        Err(failure) => failure,
    };
    match (failure, writer.rollback()) {
        // A connection that cannot take back what it did is not used again.
        (Failure::Conflict(_) | Failure::SameRowTwice | Failure::Row(_), Err(lost)) => Err(lost),
        (failure, _) => Err(failure),
    }
}
