//! The connections that read. A scan is one statement whose rows are taken from the connection as they are wanted; the server sees one
//! state of the table while it answers.

use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_select::take::take_record_batch;
use wiesel_core::{Error, Schema};

use super::client::{Client, ClientError};
use super::table::Table;
use super::value::{push_row, to_send};
use super::writer::statement_rows;
use super::{connect, failure};
use crate::jdbc::dialect::{Failure, RowLookup, RowScan, ScanRange};
use crate::jdbc::rows::Rows;
use crate::jdbc::target::Target;

/// A scan. Its connection is dropped with an answer that was not read to its end.
pub(super) struct MysqlScan {
    target: Arc<Target>,
    table: Table,
    /// `None`: to be opened.
    client: Option<Client>,
    is_at_end: bool,
}

impl MysqlScan {
    /// Connects, and finds the table and its columns.
    pub(super) fn open(target: &Arc<Target>) -> Result<Self, Failure> {
        let mut client = connect(target)?;
        let table = Table::find(target, &mut client)?;
        // Preparing finds a missing right.
        client.prepare(&table.scan(None, 0)).map_err(|e| failure(target, &e))?;
        Ok(MysqlScan { target: Arc::clone(target), table, client: Some(client), is_at_end: true })
    }
}

impl RowScan for MysqlScan {
    fn is_closed(&self) -> bool {
        self.client.as_ref().is_some_and(Client::is_broken)
    }

    fn open(&mut self, range: Option<&ScanRange>, row: i64) -> Result<(), Failure> {
        let mut client = match self.client.take().filter(|_| self.is_at_end) {
            Some(client) => client,
            None => connect(&self.target)?,
        };
        client.query(&self.table.scan(range, row), &[]).map_err(|e| failure(&self.target, &e))?;
        self.client = Some(client);
        self.is_at_end = false;
        Ok(())
    }

    fn fetch(&mut self, rows_max: usize) -> Result<(RecordBatch, usize), Failure> {
        let schema = &self.target.schema;
        let mut rows = Rows::new(schema);
        let Some(client) = &mut self.client else { return Ok(rows.finish(schema)?) };
        while !self.is_at_end && rows.len() < rows_max {
            match client.next_row().map_err(|e| failure(&self.target, &e))? {
                Some(row) => {
                    push_row(&mut rows, row, schema, &self.target)?;
                }
                None => self.is_at_end = true,
            }
        }
        Ok(rows.finish(schema)?)
    }

    fn close(&mut self) -> Result<(), Failure> {
        if !self.is_at_end {
            self.client = None;
            self.is_at_end = true;
        }
        Ok(())
    }
}

/// A connection and its question.
pub(super) struct MysqlLookup {
    target: Arc<Target>,
    client: Client,
    table: Table,
    /// The columns that are delivered; the target's schema has the keys behind them.
    schema: Schema,
    /// An answer was not read to its end.
    is_closed: bool,
}

impl MysqlLookup {
    /// Connects, finds the table and its columns.
    pub(super) fn open(target: &Arc<Target>, delivered: usize) -> Result<Self, Failure> {
        let mut client = connect(target)?;
        let table = Table::find(target, &mut client)?;
        client.prepare(&table.lookup(1, delivered)).map_err(|e| failure(target, &e))?;
        let schema = Schema::new(target.schema.fields().get(..delivered).unwrap_or_default().to_vec());
        Ok(MysqlLookup { target: Arc::clone(target), client, table, schema, is_closed: false })
    }

    fn ask_some(&mut self, keys: &RecordBatch, start: usize, rows: &mut Rows) -> Result<(usize, Vec<u32>), Failure> {
        let fields = self.target.schema.fields().get(self.schema.len()..).unwrap_or_default();
        let count = statement_rows(keys.num_rows() - start, fields.len());
        let mut values = Vec::with_capacity(count * fields.len());
        for key in start..start + count {
            for (field, array) in fields.iter().zip(keys.columns()) {
                values.push(to_send(&self.target, &field.data_type.kind, array, key)?);
            }
        }
        let sql = self.table.lookup(count, self.schema.len());
        let failure = |e: ClientError| failure(&self.target, &e);
        self.client.query(&sql, &values).map_err(failure)?;
        let mut places = Vec::new();
        while let Some(row) = self.client.next_row().map_err(failure)? {
            let place = usize::try_from(push_row(rows, row, &self.schema, &self.target)?).unwrap_or(0);
            places.push(u32::try_from(start + place).map_err(|_| Error::internal("a key's number"))?);
        }
        Ok((count, places))
    }
}

impl RowLookup for MysqlLookup {
    fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn ask(&mut self, keys: &RecordBatch) -> Result<(RecordBatch, Vec<u32>), Failure> {
        let mut rows = Rows::new(&self.schema);
        let mut key_index = Vec::new();
        let mut start = 0;
        while start < keys.num_rows() {
            let outcome = self.ask_some(keys, start, &mut rows);
            self.is_closed |= outcome.is_err();
            let (count, places) = outcome?;
            key_index.extend(places);
            start += count;
        }
        let (rows, _) = rows.finish(&self.schema)?;
        if key_index.is_sorted() {
            return Ok((rows, key_index));
        }
        // No promise of MySQL keeps the parts of a UNION ALL in their order.
        let mut order: Vec<u32> = (0..).take(key_index.len()).collect();
        order.sort_by_key(|row| key_index.get(*row as usize).copied());
        key_index.sort_unstable();
        let rows = take_record_batch(&rows, &UInt32Array::from(order)).map_err(Error::from)?;
        Ok((rows, key_index))
    }
}
