//! The connection that scans: a cursor inside one read-only transaction, which sees one state of the table.
//!
//! PostgreSQL promises no order without ORDER BY, but a plain scan that is told to begin at the table's beginning and to use one process
//! gives the same order as long as nobody writes; so the cursor of a job that resumes is moved over the rows it has seen.

use std::sync::Arc;

use arrow_array::RecordBatch;
use postgres::Client;

use super::catalog::{find_columns, find_table};
use super::connect;
use super::failure::failure;
use super::row_decoder::decode;
use super::statement;
use crate::jdbc::dialect::{Failure, RowScan, ScanRange};
use crate::jdbc::target::Target;

/// A connection, and the SELECT without its WHERE.
pub(super) struct PostgresScan {
    target: Arc<Target>,
    client: Client,
    select: String,
}

impl PostgresScan {
    /// Connects, and finds the table and its columns.
    pub(super) fn open(target: &Arc<Target>) -> Result<Self, Failure> {
        let mut client = connect(target)?;
        let (table, sql_name) = find_table(target, &mut client)?;
        let select = statement::select(&sql_name, &find_columns(target, &mut client, table)?);
        // Planning finds a missing right.
        client.batch_execute(&format!("EXPLAIN {select}")).map_err(|e| failure(target, &e))?;
        Ok(PostgresScan { target: Arc::clone(target), client, select })
    }
}

impl RowScan for PostgresScan {
    fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    fn open(&mut self, range: Option<&ScanRange>, row: i64) -> Result<(), Failure> {
        let range = range.map(|range| (range.column.as_str(), range.first, range.last));
        let mut script = statement::open_cursor(&self.select, range);
        if row > 0 {
            script.push_str(&format!("MOVE FORWARD {row} IN wiesel_scan;"));
        }
        self.client.batch_execute(&script).map_err(|e| failure(&self.target, &e))
    }

    fn fetch(&mut self, rows_max: usize) -> Result<(RecordBatch, usize), Failure> {
        let sql = format!("FETCH FORWARD {rows_max} FROM wiesel_scan");
        let rows = self.client.query(sql.as_str(), &[]).map_err(|e| failure(&self.target, &e))?;
        Ok(decode(&rows, 0, &self.target.schema, &self.target.name)?)
    }

    fn close(&mut self) -> Result<(), Failure> {
        self.client.batch_execute("ROLLBACK").map_err(|e| failure(&self.target, &e))
    }
}
