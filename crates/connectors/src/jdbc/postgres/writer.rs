//! The connection that writes, and the record of an exactly-once sink: one row of `wiesel_commit`, changed in the same transaction as the
//! rows themselves.
//!
//! Whoever changes the record holds its row lock, so a transaction that a dead connection left behind is waited for, and what it did is
//! seen. The server ends a transaction that a stopped process holds open after [`IDLE_MAX`].

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, new_empty_array};
use postgres::types::{ToSql, Type};
use postgres::{Client, Statement};
use wiesel_core::{DataType, Error, Result};

use super::catalog::{find_columns, find_table};
use super::connect;
use super::failure::failure;
use super::parameter::{ColumnParameter, parameter_type};
use super::statement::{self, StatementColumn};
use crate::epoch::Record;
use crate::jdbc::dialect::{Failure, RecordKey, RowWriter, Savepoints};
use crate::jdbc::target::Target;

/// How long the server lets a transaction of ours stand still.
const IDLE_MAX: &str = "SET LOCAL idle_in_transaction_session_timeout = '30s'";

const CREATE: &str = "CREATE TABLE IF NOT EXISTS wiesel_commit (job text NOT NULL, sink text NOT NULL, generation bigint NOT NULL, \
     epoch bigint NOT NULL, writer bigint NOT NULL, is_last boolean NOT NULL, changed_at timestamptz NOT NULL, \
     PRIMARY KEY (job, sink))";
const INSERT: &str =
    "INSERT INTO wiesel_commit VALUES ($1, $2, 0, 0, 0, false, now()) ON CONFLICT (job, sink) DO NOTHING";
const SELECT: &str =
    "SELECT generation, epoch, writer, is_last FROM wiesel_commit WHERE job = $1 AND sink = $2 FOR UPDATE";
const UPDATE: &str = "UPDATE wiesel_commit SET generation = $3, epoch = $4, writer = $5, is_last = $6, changed_at = now() \
     WHERE job = $1 AND sink = $2";

/// A connection with its statements.
pub(super) struct PostgresWriter {
    target: Arc<Target>,
    client: Client,
    /// Takes every column as an array.
    insert: Statement,
    /// Takes the columns of the key as arrays; `None` without one.
    delete: Option<Statement>,
    /// The table's number.
    table: u32,
    savepoints: Savepoints,
}

impl PostgresWriter {
    /// Connects, finds the table and its columns, and prepares the statements.
    pub(super) fn open(target: &Arc<Target>) -> Result<Self, Failure> {
        let mut client = connect(target)?;
        let (table, sql_name) = find_table(target, &mut client)?;
        let columns = find_columns(target, &mut client, table)?;
        let key = target.key_positions();
        let all: Vec<usize> = (0..target.schema.len()).collect();
        let insert = prepare(target, &mut client, &statement::insert(&sql_name, &columns, &key), &all)?;
        let delete = if key.is_empty() {
            None
        } else {
            let of_key: Vec<StatementColumn> = key.iter().filter_map(|i| columns.get(*i).cloned()).collect();
            Some(prepare(target, &mut client, &statement::delete(&sql_name, &of_key), &key)?)
        };
        Ok(PostgresWriter {
            target: Arc::clone(target),
            client,
            insert,
            delete,
            table,
            savepoints: Savepoints::default(),
        })
    }
}

/// Prepares a statement that takes the columns at `positions`. It is explained first: planning finds a missing unique constraint
/// and, for the insert, a missing right, which preparing alone does not.
fn prepare(target: &Target, client: &mut Client, sql: &str, positions: &[usize]) -> Result<Statement, Failure> {
    let fields: Vec<&DataType> =
        positions.iter().filter_map(|i| target.schema.fields().get(*i)).map(|f| &f.data_type).collect();
    let types: Vec<Type> =
        fields.iter().filter_map(|t| parameter_type(&t.kind)).map(|(_, array_type)| array_type).collect();
    let nothing: Vec<ArrayRef> = fields.iter().map(|t| new_empty_array(&t.to_arrow())).collect();
    let empty: Vec<ColumnParameter<'_>> =
        fields.iter().zip(&nothing).map(|(data_type, array)| ColumnParameter { data_type, array }).collect();
    let references: Vec<&(dyn ToSql + Sync)> = empty.iter().map(|p| p as &(dyn ToSql + Sync)).collect();
    let explain = client.prepare_typed(&format!("EXPLAIN {sql}"), &types).map_err(|e| failure(target, &e))?;
    client.query(&explain, &references).map_err(|e| failure(target, &e))?;
    client.prepare_typed(sql, &types).map_err(|e| failure(target, &e))
}

/// Runs a statement that takes the columns at `positions`.
fn execute(
    target: &Target,
    client: &mut Client,
    statement: &Statement,
    rows: &RecordBatch,
    positions: &[usize],
) -> Result<(), Failure> {
    let fields = target.schema.fields();
    let parameters: Vec<ColumnParameter<'_>> = positions
        .iter()
        .filter_map(|i| Some(ColumnParameter { data_type: &fields.get(*i)?.data_type, array: rows.columns().get(*i)? }))
        .collect();
    let references: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|p| p as &(dyn ToSql + Sync)).collect();
    client.execute(statement, &references).map_err(|e| failure(target, &e))?;
    Ok(())
}

impl RowWriter for PostgresWriter {
    fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    fn run(&mut self, sql: &str) -> Result<(), Failure> {
        self.client.batch_execute(sql).map_err(|e| failure(&self.target, &e))
    }

    fn savepoints(&mut self) -> &mut Savepoints {
        &mut self.savepoints
    }

    fn begin(&mut self) -> Result<(), Failure> {
        self.savepoints.clear();
        self.run("BEGIN")
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.run("COMMIT")
    }

    fn rollback(&mut self) -> Result<(), Failure> {
        self.run("ROLLBACK")
    }

    fn check_constraints_at_once(&mut self) -> Result<(), Failure> {
        self.run("SET CONSTRAINTS ALL IMMEDIATE")
    }

    fn insert(&mut self, rows: &RecordBatch) -> Result<(), Failure> {
        let positions: Vec<usize> = (0..rows.num_columns()).collect();
        execute(&self.target, &mut self.client, &self.insert, rows, &positions)
    }

    fn delete(&mut self, rows: &RecordBatch) -> Result<(), Failure> {
        match &self.delete {
            Some(statement) => execute(&self.target, &mut self.client, statement, rows, &self.target.key_positions()),
            None => Ok(()),
        }
    }

    fn check_rights(&mut self) -> Result<()> {
        let target = Arc::clone(&self.target);
        let wanted: &[&str] =
            if target.key.is_empty() { &["INSERT"] } else { &["INSERT", "UPDATE", "DELETE", "SELECT"] };
        let mut lacking = Vec::new();
        for right in wanted {
            // Rights on single columns are enough, but there are none to delete.
            let function = if *right == "DELETE" { "has_table_privilege" } else { "has_any_column_privilege" };
            let sql = format!("SELECT pg_catalog.{function}($1::oid, '{right}')");
            let row = self.client.query_one(sql.as_str(), &[&self.table]);
            if !row.map_err(|e| Error::from(failure(&target, &e)))?.get::<_, bool>(0) {
                lacking.push(*right);
            }
        }
        if lacking.is_empty() {
            return Ok(());
        }
        let (names, server, name) = (lacking.join(", "), &target.server, &target.name);
        Err(Error::permission(format!("{server}: the user lacks the right to {names} on `{name}`"))
            .hint(format!("GRANT {names} ON {name} TO that user")))
    }

    fn prepare_record(&mut self) -> Result<(), Failure> {
        let row = self.client.query_one("SELECT to_regclass('wiesel_commit') IS NOT NULL", &[]);
        if row.map_err(|e| failure(&self.target, &e))?.get(0) {
            return Ok(());
        }
        match self.client.batch_execute(CREATE) {
            Ok(()) => Ok(()),
            // Two sinks make it at the same time.
            Err(e) if e.code().is_some_and(|c| ["23505", "42P07", "42710"].contains(&c.code())) => Ok(()),
            Err(e) if e.code().is_some_and(|c| c.code() == "42501") => Err(Failure::Fatal(
                Error::permission(format!(
                    "exactly-once delivery keeps a table wiesel_commit, which this user may not make: {e}"
                ))
                .hint(format!("let its owner make it, and GRANT SELECT, INSERT, UPDATE ON wiesel_commit: {CREATE}")),
            )),
            Err(e) => Err(failure(&self.target, &e)),
        }
    }

    fn lock_record(&mut self, key: &RecordKey) -> Result<Record, Failure> {
        self.run(IDLE_MAX)?;
        let failure = |e: postgres::Error| failure(&self.target, &e);
        self.client.execute(INSERT, &[&key.job, &key.sink]).map_err(failure)?;
        let row = self.client.query_one(SELECT, &[&key.job, &key.sink]).map_err(failure)?;
        let number = |column: usize| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
        Ok(Record { generation: number(0), epoch: number(1), writer: number(2), is_last: row.get(3) })
    }

    fn store_record(&mut self, key: &RecordKey, record: &Record) -> Result<(), Failure> {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let Record { generation, writer, epoch, is_last } = record;
        let (generation, epoch, writer) = (number(*generation), number(*epoch), number(*writer));
        self.client
            .execute(UPDATE, &[&key.job, &key.sink, &generation, &epoch, &writer, is_last])
            .map_err(|e| failure(&self.target, &e))?;
        Ok(())
    }
}
