//! Options of search sinks that show only when the network or the server is not at its best, and those of the oldest wire form.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::e2e::context::Context;
use crate::e2e::program::newest_manifest;
use crate::faults::proxy::{Answer, HttpProxy, Mode, Proxy};
use crate::services::elasticsearch::Line;

/// One row into an index.
fn one_row(connector: &str, address: &str, index: &str, options: &str) -> String {
    format!(
        "CREATE TABLE o (id INT, name STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = '{connector}', \
         'hosts' = 'http://{address}', 'index' = '{index}'{options});\nINSERT INTO o VALUES (1, 'a');\n"
    )
}

pub(crate) fn of_its_network(context: &Context) -> Result<()> {
    let server = context.services().elasticsearch(Line::Seven)?.url().trim_start_matches("http://").to_owned();
    retries_are_counted(context, &server).context("sink.bulk-flush.backoff")?;
    a_prefix_stands_before_each_path(context, &server).context("connection.path-prefix")?;
    a_type_is_written(context, &server).context("document-type")?;
    time_limits_are_kept(context, &server).context("time limits")?;
    checkpoints_do_not_wait(context, &server).context("sink.flush-on-checkpoint")
}

/// The server says "not now" twice or for ever; three tries are one and two retries.
fn retries_are_counted(context: &Context, server: &str) -> Result<()> {
    for (strategy, refused_count, is_done) in [("CONSTANT", 2, true), ("EXPONENTIAL", 2, true), ("CONSTANT", 99, false)]
    {
        let tries = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&tries);
        let proxy = HttpProxy::start(server, move |request| {
            if request.path.contains("_bulk") && seen.fetch_add(1, Relaxed) < refused_count {
                Answer::Instead(429, "{\"error\":\"busy\"}".to_owned())
            } else {
                Answer::Pass
            }
        })?;
        let options = format!(
            ", 'sink.bulk-flush.backoff.strategy' = '{strategy}', 'sink.bulk-flush.backoff.max-retries' = '2', \
             'sink.bulk-flush.backoff.delay' = '10 ms'"
        );
        let index = context.unique("retried");
        let job = context.write("retries.sql", &one_row("elasticsearch-7", proxy.address(), &index, &options))?;
        let run = context.run(["run", &job, "--fresh"], 60)?.expect_code(i32::from(!is_done))?;
        let found = tries.load(Relaxed);
        ensure!(found == 3, "{strategy}: {found} tries; {}", run.stderr);
        ensure!(is_done || run.stderr.contains("429"), "found: {}", run.stderr);
    }
    Ok(())
}

/// The server itself says which path it was asked for.
fn a_prefix_stands_before_each_path(context: &Context, server: &str) -> Result<()> {
    let index = context.unique("prefixed");
    let options = ", 'connection.path-prefix' = '/behind/a/door/'";
    let job = context.write("prefix.sql", &one_row("elasticsearch-7", server, &index, options))?;
    let run = context.run(["run", &job, "--fresh"], 60)?.expect_code(1)?;
    ensure!(run.stderr.contains("/behind/a/door/_bulk"), "found: {}", run.stderr);
    Ok(())
}

/// The last server that knows types shows the one that a document has.
fn a_type_is_written(context: &Context, server: &str) -> Result<()> {
    let index = context.unique("typed");
    let options = ", 'document-type' = 'letter'";
    let job = context.write("typed.sql", &one_row("elasticsearch-6", server, &index, options))?;
    context.run(["run", &job, "--fresh"], 60)?.expect_code(0)?;
    let document = context.elasticsearch(Line::Seven)?.expect("GET", &format!("/{index}/letter/1"), None)?;
    ensure!(document["_type"] == "letter" && document["_source"]["name"] == "a", "found {document}");
    Ok(())
}

/// A server that takes connections and never answers, and one that takes no more connections: both are said within their limits, long
/// before the defaults would have said them.
fn time_limits_are_kept(context: &Context, server: &str) -> Result<()> {
    let silent = Proxy::start("127.0.0.1:0", server)?;
    silent.set(Mode::Silent);
    let full = TcpListener::bind("127.0.0.1:0")?;
    let address = full.local_addr()?;
    let mut waiting = Vec::new();
    while let Ok(connection) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(connection);
        ensure!(waiting.len() <= 100_000, "the queue of a listener has no end here");
    }
    let limits = ", 'connection.timeout' = '300 ms', 'socket.timeout' = '300 ms'";
    for (number, address) in [silent.address().to_owned(), address.to_string()].into_iter().enumerate() {
        let index = context.unique("silent");
        let name = format!("limits-{number}.sql");
        let endless = "CREATE TABLE t (id INT) WITH ('connector' = 'datagen', 'rows-per-second' = '10');\n";
        let rows =
            one_row("elasticsearch-7", &address, &index, limits).replace("VALUES (1, 'a')", "SELECT id, 'a' FROM t");
        let job = context.write(&name, &format!("{endless}{rows}"))?;
        let program = context.spawn(["run", &job, "--fresh"])?;
        // One try with either default takes 10 s and more.
        program.wait_until(8, "the word that the server does not answer", |p| p.stderr().contains("timeout"))?;
        program.kill()?;
    }
    drop(waiting);
    Ok(())
}

/// The server falls silent with rows under way: checkpoints go on, because this sink promises nothing.
fn checkpoints_do_not_wait(context: &Context, server: &str) -> Result<()> {
    let proxy = Proxy::start("127.0.0.1:0", server)?;
    let index = context.unique("unflushed");
    let job = context.write(
        "unflushed.sql",
        &format!(
            "SET 'execution.checkpointing.interval' = '100 ms';\n\
             CREATE TABLE t (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '10', 'fields.id.kind' = 'sequence', \
             'fields.id.start' = '1', 'fields.id.end' = '100000');\n\
             CREATE TABLE o (id BIGINT) WITH ('connector' = 'elasticsearch-7', 'hosts' = 'http://{}', 'index' = '{index}', \
             'sink.flush-on-checkpoint' = 'false', 'sink.bulk-flush.interval' = '100 ms');\nINSERT INTO o SELECT * FROM t;\n",
            proxy.address()
        ),
    )?;
    let state = context.folder().join("unflushed-state");
    let program = context.spawn(["run", &job, "--state", &state.display().to_string()])?;
    let client = context.elasticsearch(Line::Seven)?;
    context.wait_until(60, "the first documents", || Ok(client.documents(&index)?.len() > 2))?;
    proxy.set(Mode::Silent);
    let before = newest_manifest(&state)?;
    context.wait_until(60, "checkpoints after the silence", || Ok(newest_manifest(&state)? > before + 5))?;
    program.kill()?;
    program.wait(30)?;
    Ok(())
}
