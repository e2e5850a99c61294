//! Avro over Kafka, with other programs on the other side: Confluent's serializers, fastavro, and a schema registry that goes away.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::e2e::context::Context;
use crate::services::schema_registry::SchemaRegistry;

/// What every table of these cases says of its cluster.
const SERVERS: &str = "'properties.bootstrap.servers' = 'kafka:9092'";
/// A read of what is there.
const ALL: &str = "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'";

/// The schema that Flink, and wiesel, derive from `COLUMNS`.
const SCHEMA: &str = r#"{"type":"record","name":"record","namespace":"org.apache.flink.avro.generated","fields":[
    {"name":"id","type":["null","int"],"default":null},
    {"name":"name","type":["null","string"],"default":null},
    {"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}],"default":null},
    {"name":"day_","type":["null",{"type":"int","logicalType":"date"}],"default":null},
    {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-millis"}],"default":null},
    {"name":"tags","type":["null",{"type":"array","items":["null","string"]}],"default":null},
    {"name":"m","type":["null",{"type":"map","values":["null","long"]}],"default":null},
    {"name":"r","type":["null",{"type":"record","name":"record_r","fields":[
        {"name":"x","type":["null","double"],"default":null},{"name":"b","type":["null","bytes"],"default":null}]}],"default":null}]}"#;
const COLUMNS: &str = "id INT, name STRING, price DECIMAL(10, 2), day_ DATE, `at` TIMESTAMP(3), tags ARRAY<STRING>, \
                       m MAP<STRING, BIGINT>, r ROW<x DOUBLE, b BYTES>";

/// One row of all columns, and one of NULLs, as the clients of `avro_client.py` take them.
fn rows() -> String {
    json!([
        {"id": 1, "name": "grüß", "price": {"decimal": "-12.50"}, "day_": {"date": "2024-02-29"}, "at": {"ms": 1_700_000_000_123_i64},
         "tags": ["a", null], "m": {"k": 7}, "r": {"x": 1.5, "b": {"bytes": "00ff"}}},
        {"id": 2, "name": null, "price": null, "day_": null, "at": null, "tags": null, "m": null, "r": null}
    ])
    .to_string()
}

/// The same rows as those clients show them.
fn shown() -> Vec<Value> {
    vec![
        json!({"id": 1, "name": "grüß", "price": "-12.50", "day_": "2024-02-29", "at": "2023-11-14T22:13:20.123000+00:00",
            "tags": ["a", null], "m": {"k": 7}, "r": {"x": 1.5, "b": "00ff"}}),
        json!({"id": 2, "name": null, "price": null, "day_": null, "at": null, "tags": null, "m": null, "r": null}),
    ]
}

/// And as wiesel prints them.
const PRINTED: [&str; 2] = [
    "+I[1, grüß, -12.50, 2024-02-29, 2023-11-14T22:13:20.123, [a, null], {k=7}, +I[1.5, [0, -1]]]",
    "+I[2, null, null, null, null, null, null, null]",
];

fn address(context: &Context) -> Result<String> {
    Ok(format!("kafka:9092={}", context.services().kafka()?.plaintext()))
}

fn brokers(context: &Context) -> Result<String> {
    Ok(context.services().kafka()?.plaintext())
}

/// Runs a job to its end and gives its lines, sorted.
fn lines(context: &Context, name: &str, sql: &str) -> Result<Vec<String>> {
    let job = context.write(&format!("{name}.sql"), sql)?;
    let finished = context.run(["run", &job, "--map", &address(context)?], 90)?.expect_code(0)?;
    let mut lines: Vec<String> = finished.stdout.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

fn table(name: &str, topic: &str, format: &str) -> String {
    format!(
        "CREATE TABLE {name} ({COLUMNS}) WITH ('connector' = 'kafka', 'topic' = '{topic}', {SERVERS}, {ALL}, {format});\n"
    )
}

fn console() -> String {
    format!("CREATE TABLE console ({COLUMNS}) WITH ('connector' = 'print');\n")
}

pub(crate) fn plain_records_are_those_of_fastavro(context: &Context) -> Result<()> {
    let (from, to) = (context.unique("avro-in"), context.unique("avro-out"));
    let kafka = context.kafka()?;
    kafka.create_topic(&from, 1)?;
    kafka.create_topic(&to, 1)?;
    let registry = SchemaRegistry::start(context.folder())?;
    let brokers = brokers(context)?;
    registry.client(&["plain-produce", &brokers, &from, SCHEMA, &rows()])?;
    let format = "'format' = 'avro', 'avro.encoding' = 'binary', 'avro.timestamp_mapping.legacy' = 'true'";
    let copy = format!(
        "{}{}{}INSERT INTO console SELECT * FROM i;\nINSERT INTO o SELECT * FROM i;\n",
        table("i", &from, format),
        table("o", &to, format),
        console()
    );
    let found = lines(context, "plain", &copy)?;
    ensure!(found == PRINTED, "found {found:?}");
    let found = registry.client(&["plain-consume", &brokers, &to, SCHEMA])?;
    ensure!(found == shown(), "found {found:?}");
    Ok(())
}

pub(crate) fn registered_records_are_those_of_confluents_client(context: &Context) -> Result<()> {
    let (from, to) = (context.unique("registered-in"), context.unique("registered-out"));
    let kafka = context.kafka()?;
    kafka.create_topic(&from, 1)?;
    kafka.create_topic(&to, 1)?;
    let registry = SchemaRegistry::start(context.folder())?;
    let (brokers, url) = (brokers(context)?, registry.url());
    registry.client(&["produce", &brokers, &from, &url, SCHEMA, &rows()])?;
    let keyed = format!(
        "CREATE TABLE o ({COLUMNS}) WITH ('connector' = 'kafka', 'topic' = '{to}', {SERVERS}, 'key.format' = 'avro-confluent', \
         'key.avro-confluent.url' = 'http://registry:8081', 'key.fields' = 'id', 'value.format' = 'avro-confluent', \
         'value.avro-confluent.url' = 'http://registry:8081', 'value.avro-confluent.subject' = 'private-{to}', \
         'value.avro-confluent.basic-auth.credentials-source' = 'USER_INFO', \
         'value.avro-confluent.basic-auth.user-info' = 'reader:canary-registry-secret');\n"
    );
    let copy = format!(
        "{}{keyed}{}INSERT INTO console SELECT * FROM i;\nINSERT INTO o SELECT * FROM i;\n",
        table("i", &from, "'format' = 'avro-confluent', 'avro-confluent.url' = 'http://registry:8081'"),
        console()
    );
    let job = context.write("copy.sql", &copy)?;
    let registry_address = format!("registry:8081={}", url.trim_start_matches("http://"));
    let finished =
        context.run(["run", &job, "--map", &address(context)?, "--map", &registry_address], 90)?.expect_code(0)?;
    let mut found: Vec<&str> = finished.stdout.lines().collect();
    found.sort_unstable();
    ensure!(found == PRINTED, "found {found:?}");
    ensure!(!finished.stderr.contains("canary-registry-secret"), "the password was said");
    let found = registry.client(&["consume", &brokers, &to, &url])?;
    let expected: Vec<Value> = shown().into_iter().map(|row| json!({"key": {"id": row["id"]}, "value": row})).collect();
    ensure!(found == expected, "found {found:?}");
    // The schema is the one that Flink derives, under the subjects that Flink names.
    let asked = registry.requests();
    ensure!(asked.contains(&format!("/subjects/{to}-key/versions")), "asked {asked}");
    ensure!(asked.contains(&format!("/subjects/private-{to}/versions")), "asked {asked}");
    Ok(())
}

/// Schemas of a subject that grew: a new field, another order, an int that became a long.
const GREW: &str = r#"{"type":"record","name":"record","fields":[{"name":"more","type":"string","default":""},
    {"name":"v","type":"string"},{"name":"id","type":"int"}]}"#;
const BEGAN: &str =
    r#"{"type":"record","name":"record","fields":[{"name":"id","type":"int"},{"name":"v","type":["null","string"]}]}"#;
const ANOTHER: &str =
    r#"{"type":"record","name":"record","fields":[{"name":"v","type":"string"},{"name":"id","type":"int"}]}"#;
const BROKE: &str = r#"{"type":"record","name":"record","fields":[{"name":"id","type":"string"}]}"#;

pub(crate) fn a_registry_that_is_away_holds_up_new_schemas_alone(context: &Context) -> Result<()> {
    let topic = context.unique("evolves");
    context.kafka()?.create_topic(&topic, 1)?;
    let mut registry = SchemaRegistry::start(context.folder())?;
    let (brokers, url) = (brokers(context)?, registry.url());
    let produce = |registry: &SchemaRegistry, schema: &str, rows: Value| {
        registry.client(&["produce", &brokers, &topic, &url, schema, &rows.to_string()]).map(drop)
    };
    produce(&registry, BEGAN, json!([{"id": 1, "v": "a"}]))?;
    produce(&registry, GREW, json!([{"more": "x", "v": "b", "id": 2}]))?;
    let job = context.write(
        "job.sql",
        &format!(
            "SET 'execution.checkpointing.interval' = '200 ms';\n\
             CREATE TABLE i (id BIGINT, v STRING, w STRING) WITH ('connector' = 'kafka', 'topic' = '{topic}', {SERVERS}, \
             'scan.startup.mode' = 'earliest-offset', 'format' = 'avro-confluent', 'avro-confluent.url' = '{url}');\n\
             CREATE TABLE console (id BIGINT, v STRING, w STRING) WITH ('connector' = 'print');\n\
             INSERT INTO console SELECT * FROM i;\n"
        ),
    )?;
    let state = context.folder().join("state").display().to_string();
    let map = address(context)?;
    let start = || context.spawn(["run", &job, "--map", &map, "--state", &state]);
    let shows = |row: &'static str| move |program: &crate::e2e::program::Program| program.stdout().contains(row);
    let program = start()?;
    program.wait_until(60, "the rows of both schemas", |p| shows("+I[1, a, null]")(p) && shows("+I[2, b, null]")(p))?;
    // The third schema is registered by a record elsewhere, and then nobody can ask for it.
    let elsewhere = context.unique("elsewhere");
    context.kafka()?.create_topic(&elsewhere, 1)?;
    registry.client(&["produce", &brokers, &elsewhere, &url, ANOTHER, r#"[{"v": "z", "id": 9}]"#])?;
    registry.stop()?;
    let raw = |registry: &SchemaRegistry, hex: &str| registry.client(&["raw", &brokers, &topic, hex]).map(drop);
    // id = 3, v = "c" in the first schema; then v = "d", id = 4 in the third, which is unknown.
    raw(&registry, "000000000106020263")?;
    program.wait_until(60, "a row of a known schema while the registry is away", shows("+I[3, c, null]"))?;
    raw(&registry, "0000000003026408")?;
    program.wait_until(60, "the wait to be said", |p| p.stderr().contains("schema 3 is not known yet"))?;
    program.terminate()?;
    program.wait(60)?.expect_code(0)?;
    // A restart knows what was known, and waits for the rest.
    let program = start()?;
    program.wait_until(60, "the wait to be said again", |p| p.stderr().contains("schema 3 is not known yet"))?;
    registry.start_again()?;
    program.wait_until(60, "the row of the third schema", shows("+I[4, d, null]"))?;
    ensure!(!registry.requests().contains("/schemas/ids/1"), "schema 1 was asked for again");
    // A schema that does not fit ends the job and is named.
    produce(&registry, BROKE, json!([{"id": "x"}]))?;
    let finished = program.wait(60)?.expect_code(1)?;
    finished.expect_stderr("schema 4 of")?.expect_stderr("string does not become BIGINT")?;
    Ok(())
}
