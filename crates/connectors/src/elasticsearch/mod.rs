//! The connectors elasticsearch-6, -7 and -8, opensearch and opensearch-2: rows as documents.
//!
//! All speak the same `_bulk` requests, without a type (elasticsearch-6: with the type that the table names), which servers 7.8 to 9 and
//! OpenSearch take; the names differ in their options only. Run against real servers 7.17, 8.19 and 9.5
//! and OpenSearch 2.19; OpenSearch 3 and Elasticsearch 6 are known by their documents.
//!
//! - Delivery: with a primary key effectively-once by key (a document ends with its row's last content; after a restart it may show older
//!   values until the replay has caught up), without one at-least-once.
//! - At a checkpoint everything received so far is flushed, and the checkpoint waits until the server acknowledged it; nothing is committed.
//! - Order: changes of one document are sent in order, one bulk at a time per instance. While one is under way, later changes of a
//!   document replace earlier ones (`folded`).
//! - `SET 'wiesel.sink.<table>.versioned' = 'true'`: whole documents with versions, so that an overtaken run cannot step back what a newer
//!   one wrote (`versions.rs`).
//! - Wire form, as Flink's: with a key +I and +U are an `update` with the row as `doc` and `upsert`, so fields merge into an existing
//!   document, -D is a `delete`; without a key +I is an `index`. Mappings are left to the server.
//! - An outage is waited for, with back-off; a refused document ends the job (the table in `sink.rs`).
//!
//! | Option | Meaning |
//! |---|---|
//! | `hosts` | `http://host:port`, several separated by `;`: used in turn, and for each other when one is away |
//! | `index` | one name, or one with a part in braces that depends on the row or the time (`index.rs`) |
//! | `document-type` | elasticsearch-6, required there: the type of the documents |
//! | `document-id.key-delimiter` | joins the key columns' values into `_id`; `_` unless set |
//! | `username`, `password` | basic authentication |
//! | `sink.bulk-flush.max-actions`, `.max-size`, `.interval` | a bulk goes at 1000 changes, 2 MB or after 1 s; 0 switches the limit off |
//! | `sink.bulk-flush.backoff.strategy`, `.delay`, `.max-retries` | what happens at 429 and 503; unset: retried until it works |
//! | `sink.delivery-guarantee`, `sink.flush-on-checkpoint` | `none` or `false`: checkpoints do not wait |
//! | `sink.retry-on-conflicts` | `retry_on_conflict` of updates |
//! | `connection.path-prefix`, `connection.timeout`, `socket.timeout` | path before every request, time limits |
//! | `format`, `json.*` | how a row becomes a document; json |
//! | `connection.request-timeout`, `sink.parallelism`, `failure-handler` = `fail` | taken without effect |

mod buffer;
mod client;
mod id;
mod index;
mod options;
mod sink;
#[cfg(test)]
mod tests;
mod versions;

use std::sync::Arc;
use std::time::Duration;

use wiesel_core::sink::SinkFactory;
use wiesel_core::table::{ConnectorInfo, SinkRequest, TableDescriptor};
use wiesel_core::{ChangelogMode, Error, Result};

use crate::registry::{ConnectorContext, schema};
use client::{Answer, Client, Request, whole_reason};
use id::DocumentIds;
use options::ElasticsearchOptions;
use versions::Versions;

/// How long `wiesel check` waits for a server.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

fn read_options(table: &TableDescriptor, context: &ConnectorContext) -> Result<ElasticsearchOptions> {
    let all: Vec<usize> = (0..table.columns.len()).collect();
    ElasticsearchOptions::read(table, schema(table, &all)?, "UTC", context)
}

/// Checks the table's options and says what the connector can do.
pub fn info(table: &TableDescriptor, context: &ConnectorContext) -> Result<ConnectorInfo> {
    let options = read_options(table, context)?;
    let is_keyed = !table.primary_key.is_empty();
    let is_versioned = table.sink_settings.versioned;
    if is_versioned && !is_keyed {
        return Err(Error::config(format!(
            "setting 'wiesel.sink.{}.versioned': the table has no primary key, so its documents have no versions",
            table.name
        ))
        .hint("declare PRIMARY KEY (...) NOT ENFORCED"));
    }
    Ok(ConnectorInfo {
        is_source: false,
        is_lookup: false,
        is_bounded: false,
        watermark_push_down: false,
        source_mode: ChangelogMode::Insert,
        is_sink: true,
        sink_mode: Some(if is_keyed { ChangelogMode::Upsert } else { ChangelogMode::Insert }),
        sink_folds_by_key: is_keyed,
        delivery: match (is_keyed, is_versioned) {
            (true, true) => "effectively-once by key, versioned",
            (true, false) => "effectively-once by key",
            (false, _) => "at-least-once",
        },
        metadata: Vec::new(),
        notes: options.notes,
    })
}

/// A sink for the table.
pub fn sink(
    table: &TableDescriptor,
    request: &SinkRequest,
    context: &ConnectorContext,
) -> Result<Box<dyn SinkFactory>> {
    let schema = schema(table, &request.columns)?;
    let options = ElasticsearchOptions::read(table, schema.clone(), &request.time_zone, context)?;
    let ids = match table.primary_key.as_slice() {
        [] => None,
        key => Some(Arc::new(DocumentIds::new(&schema, key, &options.key_delimiter)?)),
    };
    let versions = table
        .sink_settings
        .versioned
        .then(|| Arc::new(Versions::new(options.connection.clone(), &request.run_key, &table.name, request.ordinal)));
    Ok(Box::new(sink::ElasticsearchFactory {
        table: table.name.clone(),
        options: Arc::new(options),
        ids,
        hands_over_refused: request.hands_over_refused,
        versions,
    }))
}

/// Connects, and checks password, rights and the index.
pub fn probe(table: &TableDescriptor, _as_sink: bool, context: &ConnectorContext) -> Result<()> {
    let options = read_options(table, context)?;
    let mut connection = options.connection;
    connection.connect_timeout = connection.connect_timeout.min(PROBE_TIMEOUT);
    connection.socket_timeout = connection.socket_timeout.min(PROBE_TIMEOUT);
    let has_user = connection.authorization.is_some();
    let mut client = Client::new(connection, 0);
    // Names that rows bring are not known yet; the server itself is asked for then.
    let (index, path) = match &options.index.dynamic {
        None => (options.index.name.clone(), format!("/{}", options.index.name)),
        Some(dynamic) => (dynamic.wildcard(), "/_cluster/health".to_owned()),
    };
    let (index, is_dynamic) = (index.as_str(), options.index.dynamic.is_some());
    let exists = match client.request(&path, &if is_dynamic { Request::Get } else { Request::Head })? {
        Answer::Away(why) => return Err(Error::unavailable(format!("cannot reach {why}"))),
        Answer::Status { status: 200, .. } => !is_dynamic,
        Answer::Status { status: 404, .. } => false,
        // Writing does not need the right to look at the index.
        Answer::Status { status: 403, .. } => true,
        Answer::Status { status, body, host } => {
            return Err(sink::refused_request(status, &whole_reason(&body), &host, index));
        }
    };
    if has_user {
        check_rights(&mut client, index, exists)?;
    }
    Ok(())
}

/// Asks the server's security module, where there is one, whether the user may write.
fn check_rights(client: &mut Client, index: &str, exists: bool) -> Result<()> {
    let privileges: &[&str] = if exists { &["write"] } else { &["write", "create_index"] };
    let question = serde_json::json!({ "index": [{ "names": [index], "privileges": privileges }] }).to_string();
    let path = "/_security/user/_has_privileges";
    let Answer::Status { status: 200, body, host } = client.request(path, &Request::PostJson(question.as_bytes()))?
    else {
        return Ok(());
    };
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    if answer.get("has_all_requested").and_then(serde_json::Value::as_bool) == Some(false) {
        let lacking = format!("lacks one of the rights {} on index `{index}`", privileges.join(", "));
        return Err(Error::permission(format!("the user of table's 'username' {lacking} at {host}")));
    }
    Ok(())
}
