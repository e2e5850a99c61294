//! The connection that asks: one statement brings all keys as arrays and joins the table to them.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use postgres::types::{ToSql, Type};
use postgres::{Client, Statement};
use wiesel_core::{Error, Field, Schema};

use super::catalog::{find_columns, find_table};
use super::connect;
use super::failure::failure;
use super::parameter::{ColumnParameter, parameter_type};
use super::row_decoder::decode;
use super::statement;
use crate::jdbc::dialect::{Failure, RowLookup};
use crate::jdbc::target::Target;

/// A connection and its statement.
pub(super) struct PostgresLookup {
    target: Arc<Target>,
    client: Client,
    statement: Statement,
    /// The columns that are delivered; the target's schema has the keys behind them.
    schema: Schema,
}

impl PostgresLookup {
    /// Connects, finds the table and its columns, and prepares the statement.
    pub(super) fn open(target: &Arc<Target>, delivered: usize) -> Result<Self, Failure> {
        let mut client = connect(target)?;
        let (table, sql_name) = find_table(target, &mut client)?;
        let columns = find_columns(target, &mut client, table)?;
        let (columns, keys) = columns.split_at(delivered.min(columns.len()));
        let (fields, key_fields) = target.schema.fields().split_at(delivered.min(target.schema.len()));
        let types: Vec<Type> = key_fields
            .iter()
            .filter_map(|f| parameter_type(&f.data_type.kind))
            .map(|(_, array_type)| array_type)
            .collect();
        let statement = client
            .prepare_typed(&statement::lookup(&sql_name, columns, keys), &types)
            .map_err(|e| failure(target, &e))?;
        Ok(PostgresLookup { target: Arc::clone(target), client, statement, schema: Schema::new(fields.to_vec()) })
    }
}

impl RowLookup for PostgresLookup {
    fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    fn ask(&mut self, keys: &RecordBatch) -> Result<(RecordBatch, Vec<u32>), Failure> {
        let fields = self.target.schema.fields().get(self.schema.len()..).unwrap_or_default();
        let columns: Vec<(&Field, &ArrayRef)> = fields.iter().zip(keys.columns()).collect();
        let parameters: Vec<ColumnParameter<'_>> =
            columns.iter().map(|(field, array)| ColumnParameter { data_type: &field.data_type, array }).collect();
        let references: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|p| p as &(dyn ToSql + Sync)).collect();
        let rows = self.client.query(&self.statement, &references).map_err(|e| failure(&self.target, &e))?;
        let mut key_index = Vec::with_capacity(rows.len());
        for row in &rows {
            // WITH ORDINALITY counts from 1.
            let number: i64 = row.try_get(0).map_err(|e| failure(&self.target, &e))?;
            key_index.push(u32::try_from(number - 1).map_err(|_| Error::internal("a key's number"))?);
        }
        let (batch, _) = decode(&rows, 1, &self.schema, &self.target.name)?;
        Ok((batch, key_index))
    }
}
