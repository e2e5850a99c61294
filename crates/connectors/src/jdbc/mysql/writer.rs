//! The connection that writes, and the record of an exactly-once sink: one row of `wiesel_commit`, changed in the same transaction as the
//! rows themselves.
//!
//! Rows go in statements of 128, 64, 32 and so on down to one, so that few statements are prepared whatever comes. Whoever changes the
//! record holds its row lock; the server closes a connection that stands still inside a transaction after [`IDLE_SECONDS_MAX`].

use std::sync::Arc;

use arrow_array::RecordBatch;
use wiesel_core::{Error, Result};

use super::client::{Client, ClientError, Sent};
use super::table::{Table, quote_ident};
use super::{connect, failure, value};
use crate::epoch::Record;
use crate::jdbc::dialect::{Failure, RecordKey, RowWriter, Savepoints};
use crate::jdbc::target::Target;

/// Rows of one statement.
pub(super) const STATEMENT_ROWS_MAX: usize = 128;
/// Bytes of one statement, about: servers take 16 MiB unless told otherwise.
const STATEMENT_BYTES_MAX: usize = 1 << 20;
/// The protocol counts a statement's values in 16 bits.
const STATEMENT_VALUES_MAX: usize = 65_535;
/// How long the server lets a transaction that holds the record stand still.
const IDLE_SECONDS_MAX: u32 = 30;
/// How long it lets a connection stand still that holds nothing.
const IDLE_SECONDS: u32 = 28_800;

/// A connection and its statements.
pub(super) struct MysqlWriter {
    target: Arc<Target>,
    client: Client,
    table: Table,
    savepoints: Savepoints,
    /// Whether the transaction holds the record.
    holds_record: bool,
}

impl MysqlWriter {
    /// Connects, finds the table and its columns, and prepares what will be sent, which the server checks rights for.
    pub(super) fn open(target: &Arc<Target>) -> Result<Self, Failure> {
        let mut client = connect(target)?;
        let table = Table::find(target, &mut client)?;
        let failure = |e: ClientError| failure(target, &e);
        client.prepare(&table.insert(1, !target.key.is_empty())).map_err(failure)?;
        if !target.key.is_empty() {
            client.prepare(&table.delete(1, &target.key_positions())).map_err(failure)?;
        }
        let (target, savepoints) = (Arc::clone(target), Savepoints::default());
        Ok(MysqlWriter { target, client, table, savepoints, holds_record: false })
    }

    fn execute(&mut self, sql: &str, values: &[Sent]) -> Result<(), Failure> {
        self.client.execute(sql, values).map_err(|e| failure(&self.target, &e))
    }

    /// Sends the columns at `positions` of all rows, in statements that `sql` makes for a number of rows.
    fn send(
        &mut self,
        rows: &RecordBatch,
        positions: &[usize],
        sql: impl Fn(&Table, usize) -> String,
    ) -> Result<(), Failure> {
        let target = Arc::clone(&self.target);
        let fields = target.schema.fields();
        let columns: Vec<_> =
            positions.iter().filter_map(|i| Some((&fields.get(*i)?.data_type.kind, rows.columns().get(*i)?))).collect();
        let mut start = 0;
        while start < rows.num_rows() {
            let most = statement_rows(rows.num_rows() - start, columns.len());
            let (mut values, mut bytes, mut count) = (Vec::with_capacity(most * columns.len()), 0, 0);
            while count < most && (count == 0 || bytes < STATEMENT_BYTES_MAX) {
                for (kind, array) in &columns {
                    let value = value::to_send(&target, kind, array, start + count)?;
                    bytes += if let Sent::Bytes(bytes) = &value { bytes.len() } else { 0 };
                    values.push(value);
                }
                count += 1;
            }
            count = statement_rows(count, columns.len());
            values.truncate(count * columns.len());
            let sql = sql(&self.table, count);
            self.execute(&sql, &values)?;
            start += count;
        }
        Ok(())
    }

    /// The table of records, in the database of the URL.
    fn record_table(&self) -> String {
        let database = self.target.url.database.as_deref().unwrap_or(&self.table.database);
        format!("{}.wiesel_commit", quote_ident(database))
    }

    fn end(&mut self, sql: &str) -> Result<(), Failure> {
        self.run(sql)?;
        if std::mem::take(&mut self.holds_record) {
            self.run(&format!("SET SESSION wait_timeout = {IDLE_SECONDS}"))?;
        }
        Ok(())
    }

    fn read_record(&mut self, key: &RecordKey) -> Result<Option<Record>, Failure> {
        let sql = format!(
            "SELECT generation, epoch, writer, is_last FROM {} WHERE job = ? AND sink = ? FOR UPDATE",
            self.record_table()
        );
        let found = self.client.rows(&sql, &values_of(key)).map_err(|e| failure(&self.target, &e))?;
        let Some(row) = found.first() else { return Ok(None) };
        let number = |place: usize| match row.get(place) {
            Some(Sent::Int(n)) => u64::try_from(*n).unwrap_or(0),
            _ => 0,
        };
        Ok(Some(Record { generation: number(0), epoch: number(1), writer: number(2), is_last: number(3) != 0 }))
    }
}

fn values_of(key: &RecordKey) -> [Sent; 2] {
    [Sent::from(key.job.as_str()), Sent::from(key.sink.as_str())]
}

/// How many of the rows that are left go in the next statement: a power of two.
pub(super) fn statement_rows(left: usize, width: usize) -> usize {
    let most = (STATEMENT_VALUES_MAX / width.max(1)).clamp(1, STATEMENT_ROWS_MAX);
    let count = left.clamp(1, most);
    1 << count.ilog2()
}

impl RowWriter for MysqlWriter {
    fn is_closed(&self) -> bool {
        self.client.is_broken()
    }

    fn run(&mut self, sql: &str) -> Result<(), Failure> {
        self.client.run(sql).map_err(|e| failure(&self.target, &e))
    }

    fn savepoints(&mut self) -> &mut Savepoints {
        &mut self.savepoints
    }

    fn begin(&mut self) -> Result<(), Failure> {
        self.savepoints.clear();
        self.run("START TRANSACTION")
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.end("COMMIT")
    }

    fn rollback(&mut self) -> Result<(), Failure> {
        self.end("ROLLBACK")
    }

    fn check_constraints_at_once(&mut self) -> Result<(), Failure> {
        // They always are.
        Ok(())
    }

    fn insert(&mut self, rows: &RecordBatch) -> Result<(), Failure> {
        let positions: Vec<usize> = (0..self.table.width()).collect();
        let is_keyed = !self.target.key.is_empty();
        self.send(rows, &positions, |table, count| table.insert(count, is_keyed))
    }

    fn delete(&mut self, rows: &RecordBatch) -> Result<(), Failure> {
        let key = self.target.key_positions();
        if key.is_empty() {
            return Ok(());
        }
        self.send(rows, &key, |table, count| table.delete(count, &key))
    }

    fn check_rights(&mut self) -> Result<()> {
        // Preparing the statements has asked for them.
        Ok(())
    }

    fn prepare_record(&mut self) -> Result<(), Failure> {
        if !self.table.is_transactional {
            let (table, server) = (&self.target.name, &self.target.server);
            let error = Error::config(format!(
                "table `{table}` of {server} is of an engine without transactions, so it cannot take rows exactly once"
            ));
            return Err(error.hint(format!("ALTER TABLE {table} ENGINE = InnoDB")).into());
        }
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {} (job VARCHAR(255) NOT NULL, sink VARCHAR(255) NOT NULL, generation BIGINT NOT NULL, \
             epoch BIGINT NOT NULL, writer BIGINT NOT NULL, is_last BOOLEAN NOT NULL, changed_at TIMESTAMP NOT NULL, \
             PRIMARY KEY (job, sink)) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            self.record_table()
        );
        let sql = format!("SELECT 1 FROM {} LIMIT 1", self.record_table());
        // Where it is there, the user need not be allowed to make it.
        if self.client.rows(&sql, &[]).is_ok() {
            return Ok(());
        }
        self.run(&create).map_err(|failure| match failure {
            Failure::Fatal(error) => Failure::Fatal(
                Error::permission(format!(
                    "exactly-once delivery keeps a table wiesel_commit, which could not be made: {}",
                    error.message()
                ))
                .hint(format!("let its owner make it, and GRANT SELECT, INSERT, UPDATE ON wiesel_commit: {create}")),
            ),
            failure => failure,
        })
    }

    fn lock_record(&mut self, key: &RecordKey) -> Result<Record, Failure> {
        self.holds_record = true;
        self.run(&format!("SET SESSION wait_timeout = {IDLE_SECONDS_MAX}"))?;
        if let Some(record) = self.read_record(key)? {
            return Ok(record);
        }
        let sql = format!("INSERT IGNORE INTO {} VALUES (?, ?, 0, 0, 0, FALSE, NOW())", self.record_table());
        self.execute(&sql, &values_of(key))?;
        let record = self.read_record(key)?;
        record.ok_or_else(|| Failure::Away(format!("{}: the record of the sink was taken away", self.target.server)))
    }

    fn store_record(&mut self, key: &RecordKey, record: &Record) -> Result<(), Failure> {
        let sql = format!(
            "UPDATE {} SET generation = ?, epoch = ?, writer = ?, is_last = ?, changed_at = NOW() WHERE job = ? AND sink = ?",
            self.record_table()
        );
        let [job, sink] = values_of(key);
        let numbers = [record.generation, record.epoch, record.writer].map(Sent::UInt);
        let [generation, epoch, writer] = numbers;
        self.execute(&sql, &[generation, epoch, writer, Sent::Int(record.is_last.into()), job, sink])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_a_power_of_two_of_rows_and_no_more_values_than_the_protocol_counts() {
        let cases = [(1, 3, 1), (3, 3, 2), (127, 3, 64), (5000, 3, 128), (5000, 1000, 64), (9, 70_000, 1)];
        for (left, width, expected) in cases {
            assert_eq!(statement_rows(left, width), expected, "{left} rows of {width}");
        }
    }
}
