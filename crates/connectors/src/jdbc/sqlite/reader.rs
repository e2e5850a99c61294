//! The connections that read. A scan goes through the table by row number, page by page, each page a statement of its own: an open
//! statement would hold a lock that nobody could write beside, also not the sink of the same job. So rows that are written meanwhile are
//! seen when they come behind the current page. Views and tables without row numbers are paged by counting.

use std::sync::Arc;

use arrow_array::RecordBatch;
use rusqlite::Connection;
use wiesel_core::{Error, Schema};

use super::table::Table;
use super::value::{bind, push_row};
use super::{connect, failure};
use crate::jdbc::dialect::{Failure, RowLookup, RowScan, ScanRange};
use crate::jdbc::rows::Rows;
use crate::jdbc::target::Target;

/// A scan, and where it is.
pub(super) struct SqliteScan {
    target: Arc<Target>,
    connection: Connection,
    table: Table,
    page: String,
    /// The row number that the next page begins at, or how many rows were read; `None`: there is no more.
    next: Option<i64>,
}

impl SqliteScan {
    /// Opens the file and finds the table.
    pub(super) fn open(target: &Arc<Target>) -> Result<Self, Failure> {
        let connection = connect(target)?;
        let table = Table::find(target, &connection)?;
        let page = table.page(None);
        connection.prepare(&page).map_err(|e| failure(target, &e))?;
        Ok(SqliteScan { target: Arc::clone(target), connection, table, page, next: None })
    }
}

impl RowScan for SqliteScan {
    fn is_closed(&self) -> bool {
        false
    }

    fn open(&mut self, range: Option<&ScanRange>, row: i64) -> Result<(), Failure> {
        self.page = self.table.page(range);
        self.next = if !self.table.has_row_numbers() {
            Some(row)
        } else if row == 0 {
            Some(i64::MIN)
        } else {
            match self.connection.query_row(&self.table.number_of(range), [row - 1], |row| row.get::<_, i64>(0)) {
                Ok(number) => number.checked_add(1),
                Err(rusqlite::Error::QueryReturnedNoRows) => None,
                Err(e) => return Err(failure(&self.target, &e)),
            }
        };
        Ok(())
    }

    fn fetch(&mut self, rows_max: usize) -> Result<(RecordBatch, usize), Failure> {
        let failure = |e: rusqlite::Error| failure(&self.target, &e);
        let schema = &self.target.schema;
        let mut rows = Rows::new(schema);
        let Some(next) = self.next else { return Ok(rows.finish(schema)?) };
        let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare(&self.page).map_err(failure)?;
        let mut found = statement.query([next, limit]).map_err(failure)?;
        let mut last = next;
        while let Some(row) = found.next().map_err(failure)? {
            last = row.get(0).map_err(failure)?;
            push_row(&mut rows, row, schema, &self.target)?;
        }
        self.next = match (rows.len(), self.table.has_row_numbers()) {
            (0, _) => None,
            (_, true) => last.checked_add(1),
            (count, false) => next.checked_add(i64::try_from(count).unwrap_or(i64::MAX)),
        };
        Ok(rows.finish(schema)?)
    }

    fn close(&mut self) -> Result<(), Failure> {
        self.next = None;
        Ok(())
    }
}

/// A statement per key: there is no network in between.
pub(super) struct SqliteLookup {
    target: Arc<Target>,
    connection: Connection,
    sql: String,
    /// The columns that are delivered; the target's schema has the keys behind them.
    schema: Schema,
}

impl SqliteLookup {
    /// Opens the file and finds the table.
    pub(super) fn open(target: &Arc<Target>, delivered: usize) -> Result<Self, Failure> {
        let connection = connect(target)?;
        let sql = Table::find(target, &connection)?.lookup(delivered);
        connection.prepare(&sql).map_err(|e| failure(target, &e))?;
        let fields = target.schema.fields().get(..delivered).unwrap_or_default();
        Ok(SqliteLookup { target: Arc::clone(target), connection, sql, schema: Schema::new(fields.to_vec()) })
    }
}

impl RowLookup for SqliteLookup {
    fn is_closed(&self) -> bool {
        false
    }

    fn ask(&mut self, keys: &RecordBatch) -> Result<(RecordBatch, Vec<u32>), Failure> {
        let failure = |e: rusqlite::Error| failure(&self.target, &e);
        let fields = self.target.schema.fields().get(self.schema.len()..).unwrap_or_default();
        let mut statement = self.connection.prepare(&self.sql).map_err(failure)?;
        let mut rows = Rows::new(&self.schema);
        let mut key_index = Vec::new();
        let mut scratch = String::new();
        for key in 0..keys.num_rows() {
            for (place, (field, array)) in (1..).zip(fields.iter().zip(keys.columns())) {
                bind(&self.target, &mut statement, place, (&field.data_type.kind, array, key), &mut scratch)?;
            }
            let mut found = statement.raw_query();
            while let Some(row) = found.next().map_err(failure)? {
                push_row(&mut rows, row, &self.schema, &self.target)?;
                key_index.push(u32::try_from(key).map_err(|_| Error::internal("a key's number"))?);
            }
        }
        Ok((rows.finish(&self.schema)?.0, key_index))
    }
}
