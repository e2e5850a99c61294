//! A small PostgreSQL client for tests: everything comes back as text, which is what an expected table is written in.

use anyhow::{Context as _, Result};
use postgres::{Client, NoTls, SimpleQueryMessage};

/// One connection.
pub(crate) struct PostgresClient {
    client: Client,
}

impl PostgresClient {
    /// Connects to the database at `url`.
    pub(crate) fn connect(url: &str) -> Result<PostgresClient> {
        Ok(PostgresClient { client: Client::connect(url, NoTls).context("connect to PostgreSQL")? })
    }

    /// Runs statements that return nothing.
    pub(crate) fn execute(&mut self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).with_context(|| format!("run `{sql}`"))
    }

    /// Runs a query; NULL comes back as `NULL`.
    pub(crate) fn query(&mut self, sql: &str) -> Result<Vec<Vec<String>>> {
        let mut rows = Vec::new();
        for message in self.client.simple_query(sql).with_context(|| format!("run `{sql}`"))? {
            if let SimpleQueryMessage::Row(row) = message {
                rows.push((0..row.len()).map(|column| row.get(column).unwrap_or("NULL").to_owned()).collect());
            }
        }
        Ok(rows)
    }
}
