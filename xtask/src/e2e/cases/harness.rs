//! Cases that test the harness itself: when one of these fails, no other case's failure says anything about wiesel.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::e2e::context::Context;
use crate::e2e::kafka::KafkaClient;
use crate::e2e::program::Program;
use crate::services::elasticsearch::Line;
use crate::services::kafka::{PASSWORD, USER};

pub(crate) fn kafka_gives_back_what_it_was_given(context: &Context) -> Result<()> {
    let kafka = context.kafka()?;
    let topic = context.unique("round_trip");
    kafka.create_topic(&topic, 4)?;
    let sent: Vec<String> = (0..1000).map(|number| format!("{{\"number\":{number:04}}}")).collect();
    kafka.produce(&topic, &sent)?;
    ensure!(kafka.values(&topic)? == sent, "what came back differs from what was sent");
    kafka.produce_keyed(&topic, [("key", Some("value")), ("key", None)])?;
    let keyed: Vec<_> = kafka.consume_all(&topic)?.into_iter().filter(|message| message.key.is_some()).collect();
    let values: Vec<Option<String>> = keyed.into_iter().map(|message| message.value).collect();
    ensure!(values == [Some("value".to_owned()), None], "a keyed message and its tombstone came back as {values:?}");
    kafka.delete_topic(&topic)
}

pub(crate) fn kafka_accepts_each_login_and_refuses_a_wrong_one(context: &Context) -> Result<()> {
    let (plain, encrypted, ca_file) = {
        let broker = context.services().kafka()?;
        (broker.sasl_plaintext(), broker.sasl_ssl(), broker.ca_file().display().to_string())
    };
    let topic = context.unique("login");
    context.kafka()?.create_topic(&topic, 1)?;
    let mut line_count = 0;
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let login = |client: KafkaClient| {
            client.with("sasl.mechanism", mechanism).with("sasl.username", USER).with("sasl.password", PASSWORD)
        };
        let unencrypted = login(KafkaClient::new(&plain).with("security.protocol", "sasl_plaintext"));
        let over_tls = KafkaClient::new(&encrypted).with("security.protocol", "sasl_ssl");
        let over_tls = login(over_tls.with("ssl.ca.location", &ca_file));
        for client in [unencrypted, over_tls] {
            client.produce(&topic, [mechanism])?;
            line_count += 1;
        }
        let wrong = KafkaClient::new(&plain)
            .with("security.protocol", "sasl_plaintext")
            .with("sasl.mechanism", mechanism)
            .with("sasl.username", USER)
            .with("sasl.password", "not-it")
            .with("socket.connection.setup.timeout.ms", "2000");
        ensure!(
            wrong.partitions_within(&topic, std::time::Duration::from_secs(2)).is_err(),
            "the broker let a wrong password in with {mechanism}"
        );
    }
    ensure!(context.kafka()?.values(&topic)?.len() == line_count, "not every login's line arrived");
    Ok(())
}

pub(crate) fn kafka_survives_a_kill_with_its_data(context: &Context) -> Result<()> {
    let topic = context.unique("survivor");
    context.kafka()?.create_topic(&topic, 2)?;
    context.kafka()?.produce(&topic, ["before the kill", "also before"])?;
    {
        let mut broker = context.services().kafka()?;
        broker.kill()?;
        broker.restart()?;
    }
    context.kafka()?.produce(&topic, ["after the restart"])?;
    let values = context.kafka()?.values(&topic)?;
    ensure!(values == ["after the restart", "also before", "before the kill"], "found {values:?}");
    Ok(())
}

pub(crate) fn elasticsearch_7_takes_a_bulk_and_finds_it(context: &Context) -> Result<()> {
    elasticsearch_takes_a_bulk_and_finds_it(context, Line::Seven)
}

pub(crate) fn elasticsearch_8_takes_a_bulk_and_finds_it(context: &Context) -> Result<()> {
    elasticsearch_takes_a_bulk_and_finds_it(context, Line::Eight)
}

fn elasticsearch_takes_a_bulk_and_finds_it(context: &Context, line: Line) -> Result<()> {
    let elasticsearch = context.elasticsearch(line)?;
    let root = elasticsearch.expect("GET", "/", None)?;
    ensure!(root["version"]["number"] == json!(line.version()), "the node says it is {}", root["version"]);
    let index = context.unique("clicks");
    ensure!(elasticsearch.count(&index)? == 0, "an index that nobody wrote to must count as empty");
    let mut lines = String::new();
    for id in ["a", "b"] {
        lines += &format!("{}\n", json!({"update": {"_index": index, "_id": id}}));
        lines += &format!("{}\n", json!({"doc": {"user": id, "total": 1.5}, "doc_as_upsert": true}));
    }
    elasticsearch.bulk(&lines)?;
    let expected: Vec<_> =
        ["a", "b"].into_iter().map(|id| (id.to_owned(), json!({"user": id, "total": 1.5}))).collect();
    let found = elasticsearch.documents(&index)?;
    ensure!(found == expected, "expected {expected:?}, found {found:?}");
    ensure!(elasticsearch.count(&index)? == 2, "both documents must be counted");
    let sum = elasticsearch.search(&index, &json!({"size": 0, "aggs": {"all": {"sum": {"field": "total"}}}}))?;
    ensure!(sum["aggregations"]["all"]["value"] == json!(3.0), "the sum came back as {sum}");
    elasticsearch.expect("DELETE", &format!("/{index}"), None).map(drop)
}

pub(crate) fn postgres_answers_a_query(context: &Context) -> Result<()> {
    let mut postgres = context.postgres()?;
    let table = context.unique("totals");
    postgres.execute(&format!("CREATE TABLE {table} (branch TEXT PRIMARY KEY, total NUMERIC(10, 2))"))?;
    postgres.execute(&format!("INSERT INTO {table} VALUES ('north', 12.50), ('south', NULL)"))?;
    let rows = postgres.query(&format!("SELECT branch, total FROM {table} ORDER BY branch"))?;
    ensure!(rows == [["north", "12.50"], ["south", "NULL"]], "found {rows:?}");
    postgres.execute(&format!("DROP TABLE {table}"))
}

pub(crate) fn servers_come_back_after_a_kill(context: &Context) -> Result<()> {
    let index = context.unique("survivor");
    for line in [Line::Seven, Line::Eight] {
        let body = json!({"kept": true}).to_string();
        context.elasticsearch(line)?.expect("PUT", &format!("/{index}/_doc/1?refresh=true"), Some(&body))?;
        {
            let mut node = context.services().elasticsearch(line)?;
            node.kill()?;
            node.restart()?;
        }
        let client = context.elasticsearch(line)?;
        context.wait_until(30, "the index", || Ok(client.call("GET", &format!("/{index}/_count"), None)?.0 == 200))?;
        ensure!(client.count(&index)? == 1, "the document is gone after the kill");
        client.expect("DELETE", &format!("/{index}"), None)?;
    }
    let create = format!("CREATE TABLE {index} AS SELECT 1 AS kept");
    context.postgres()?.execute(&create)?;
    {
        let mut server = context.services().postgres()?;
        server.kill()?;
        server.restart()?;
    }
    let rows = context.postgres()?.query(&format!("SELECT kept FROM {index}"))?;
    ensure!(rows == [["1"]], "after the kill PostgreSQL answers {rows:?}");
    context.postgres()?.execute(&format!("DROP TABLE {index}"))
}

pub(crate) fn programs_are_watched_and_killed(context: &Context) -> Result<()> {
    let script = context.write("script.sh", "echo to stdout; echo to stderr >&2; exit 3\n")?;
    let shell = |arguments: &[&str], ordinal: usize| {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Program::start(Path::new("/bin/sh"), &arguments, &[], context.folder(), ordinal)
    };
    context.note("the programs of this case are shells, not wiesel");
    let finished = shell(&[&script], 1)?.wait(10)?;
    finished.expect_code(3)?.expect_stdout("to stdout")?.expect_stderr("to stderr")?;

    // A program that only a signal ends.
    let endless = "echo begun; while true; do sleep 1; done";
    for is_polite in [false, true] {
        let program = shell(&["-c", endless], 2 + usize::from(is_polite))?;
        program.wait_until(10, "its first line", |program| program.stdout().contains("begun"))?;
        if is_polite {
            program.terminate()?;
        } else {
            program.kill()?;
        }
        ensure!(program.wait(10)?.code.is_none(), "a signal must have ended it");
    }
    ensure!(shell(&["-c", endless], 4)?.wait(0).is_err(), "a program past its limit must be an error");
    context.run(["--help"], 20)?.expect_code(0).map(drop)
}
