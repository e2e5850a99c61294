//! The record of an exactly-once sink in the database: one row of `wiesel_commit`, changed in the same transaction as the rows themselves.
//!
//! Whoever changes it holds its row lock, so a transaction that a dead connection left behind is waited for, and what it did is seen. The
//! server ends a transaction that a stopped process holds open after [`IDLE_MAX`].

use postgres::{Client, Transaction};
use wiesel_core::{Error, Result};

use super::target::{Failure, Target};
use crate::epoch::Record;

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

/// Which row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordKey {
    pub(super) job: String,
    pub(super) sink: String,
}

/// Makes the table when it is not there.
pub(super) fn ensure_table(target: &Target, client: &mut Client) -> Result<(), Failure> {
    let row =
        client.query_one("SELECT to_regclass('wiesel_commit') IS NOT NULL", &[]).map_err(|e| target.failure(&e))?;
    if row.get(0) {
        return Ok(());
    }
    match client.batch_execute(CREATE) {
        Ok(()) => Ok(()),
        // Two sinks make it at the same time.
        Err(e) if e.code().is_some_and(|c| ["23505", "42P07", "42710"].contains(&c.code())) => Ok(()),
        Err(e) if e.code().is_some_and(|c| c.code() == "42501") => Err(Failure::Fatal(
            Error::permission(format!(
                "exactly-once delivery keeps a table wiesel_commit, which this user may not make: {e}"
            ))
            .hint(format!("let its owner make it, and GRANT SELECT, INSERT, UPDATE ON wiesel_commit: {CREATE}")),
        )),
        Err(e) => Err(target.failure(&e)),
    }
}

/// Begins a transaction that holds the record, made if it is missing.
pub(super) fn lock<'a>(
    target: &Target,
    client: &'a mut Client,
    key: &RecordKey,
) -> Result<(Transaction<'a>, Record), Failure> {
    let failure = |e: postgres::Error| target.failure(&e);
    let mut transaction = client.transaction().map_err(failure)?;
    transaction.batch_execute(IDLE_MAX).map_err(failure)?;
    transaction.execute(INSERT, &[&key.job, &key.sink]).map_err(failure)?;
    let row = transaction.query_one(SELECT, &[&key.job, &key.sink]).map_err(failure)?;
    let number = |column: usize| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    let record = Record { generation: number(0), epoch: number(1), writer: number(2), is_last: row.get(3) };
    Ok((transaction, record))
}

/// Changes the record inside the transaction that holds it.
pub(super) fn store(
    target: &Target,
    transaction: &mut Transaction<'_>,
    key: &RecordKey,
    record: &Record,
) -> Result<(), Failure> {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let Record { generation, writer, epoch, is_last } = record;
    let (generation, epoch, writer) = (number(*generation), number(*epoch), number(*writer));
    transaction
        .execute(UPDATE, &[&key.job, &key.sink, &generation, &epoch, &writer, is_last])
        .map_err(|e| target.failure(&e))?;
    Ok(())
}
