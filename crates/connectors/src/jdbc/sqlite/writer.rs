//! The connection that writes: a statement per row, prepared once per batch. There is no network in between, so nothing is won by sending
//! rows together.

use std::sync::Arc;

use arrow_array::RecordBatch;
use rusqlite::Connection;
use wiesel_core::{Error, Result};

use super::table::Table;
use super::{connect, failure, value};
use crate::epoch::Record;
use crate::jdbc::dialect::{Failure, RecordKey, RowWriter, Savepoints};
use crate::jdbc::target::Target;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS wiesel_commit (job TEXT NOT NULL, sink TEXT NOT NULL, generation INTEGER NOT NULL, \
     epoch INTEGER NOT NULL, writer INTEGER NOT NULL, is_last INTEGER NOT NULL, changed_at TEXT NOT NULL, PRIMARY KEY (job, sink))";
const INSERT: &str = "INSERT OR IGNORE INTO wiesel_commit VALUES (?1, ?2, 0, 0, 0, 0, datetime())";
const SELECT: &str = "SELECT generation, epoch, writer, is_last FROM wiesel_commit WHERE job = ?1 AND sink = ?2";
const UPDATE: &str = "UPDATE wiesel_commit SET generation = ?3, epoch = ?4, writer = ?5, is_last = ?6, changed_at = datetime() \
     WHERE job = ?1 AND sink = ?2";

/// A connection and its statements.
pub(super) struct SqliteWriter {
    target: Arc<Target>,
    connection: Connection,
    insert: String,
    /// By key; empty without one.
    delete: String,
    savepoints: Savepoints,
}

impl SqliteWriter {
    /// Opens the file and finds the table; a statement that the table does not allow is found here.
    pub(super) fn open(target: &Arc<Target>) -> Result<Self, Failure> {
        let connection = connect(target)?;
        let failure = |e: rusqlite::Error| failure(target, &e);
        if connection.is_readonly("main").map_err(failure)? {
            let error = Error::permission(format!("{} may not be written", target.server));
            return Err(error.hint("the file and its folder must be writable for this user").into());
        }
        let table = Table::find(target, &connection)?;
        let key = target.key_positions();
        let insert = table.insert(&key);
        connection.prepare(&insert).map_err(failure)?;
        let delete = if key.is_empty() { String::new() } else { table.delete(&key) };
        let target = Arc::clone(target);
        Ok(SqliteWriter { target, connection, insert, delete, savepoints: Savepoints::default() })
    }

    /// Runs a statement that takes the columns at `positions` for every row.
    fn execute(&self, sql: &str, rows: &RecordBatch, positions: &[usize]) -> Result<(), Failure> {
        let failure = |e: rusqlite::Error| failure(&self.target, &e);
        let fields = self.target.schema.fields();
        let columns: Vec<_> =
            positions.iter().filter_map(|i| Some((&fields.get(*i)?.data_type.kind, rows.columns().get(*i)?))).collect();
        let mut statement = self.connection.prepare(sql).map_err(failure)?;
        let mut scratch = String::new();
        for row in 0..rows.num_rows() {
            for (place, (kind, array)) in (1..).zip(&columns) {
                value::bind(&self.target, &mut statement, place, (kind, array, row), &mut scratch)?;
            }
            statement.raw_execute().map_err(failure)?;
        }
        Ok(())
    }
}

impl RowWriter for SqliteWriter {
    fn is_closed(&self) -> bool {
        false
    }

    fn run(&mut self, sql: &str) -> Result<(), Failure> {
        self.connection.execute_batch(sql).map_err(|e| failure(&self.target, &e))
    }

    fn savepoints(&mut self) -> &mut Savepoints {
        &mut self.savepoints
    }

    fn begin(&mut self) -> Result<(), Failure> {
        self.savepoints.clear();
        // The write lock is taken here: taking it later would fail where another writer had come in between.
        self.run("BEGIN IMMEDIATE")
    }

    fn commit(&mut self) -> Result<(), Failure> {
        let outcome = self.run("COMMIT");
        // A COMMIT that failed leaves its transaction open.
        if outcome.is_err() {
            self.rollback()?;
        }
        outcome
    }

    fn rollback(&mut self) -> Result<(), Failure> {
        // Some errors, as a full disk, end the transaction by themselves.
        if self.connection.is_autocommit() { Ok(()) } else { self.run("ROLLBACK") }
    }

    fn check_constraints_at_once(&mut self) -> Result<(), Failure> {
        self.run("PRAGMA defer_foreign_keys = OFF")
    }

    fn insert(&mut self, rows: &RecordBatch) -> Result<(), Failure> {
        let positions: Vec<usize> = (0..rows.num_columns()).collect();
        self.execute(&self.insert, rows, &positions)
    }

    fn delete(&mut self, rows: &RecordBatch) -> Result<(), Failure> {
        if self.delete.is_empty() {
            return Ok(());
        }
        self.execute(&self.delete, rows, &self.target.key_positions())
    }

    fn check_rights(&mut self) -> Result<()> {
        // Whoever may write the file may write all of it.
        Ok(())
    }

    fn prepare_record(&mut self) -> Result<(), Failure> {
        self.run(CREATE)
    }

    fn lock_record(&mut self, key: &RecordKey) -> Result<Record, Failure> {
        let failure = |e: rusqlite::Error| failure(&self.target, &e);
        self.connection.execute(INSERT, (&key.job, &key.sink)).map_err(failure)?;
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        self.connection
            .query_row(SELECT, (&key.job, &key.sink), |row| {
                let (generation, epoch, writer) = (number(row.get(0)?), number(row.get(1)?), number(row.get(2)?));
                Ok(Record { generation, epoch, writer, is_last: row.get(3)? })
            })
            .map_err(failure)
    }

    fn store_record(&mut self, key: &RecordKey, record: &Record) -> Result<(), Failure> {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let numbers = (number(record.generation), number(record.epoch), number(record.writer));
        self.connection
            .execute(UPDATE, (&key.job, &key.sink, numbers.0, numbers.1, numbers.2, record.is_last))
            .map_err(|e| failure(&self.target, &e))?;
        Ok(())
    }
}
