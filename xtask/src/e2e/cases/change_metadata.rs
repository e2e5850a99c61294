//! What debezium, canal and maxwell say of a change beside its row, as metadata columns of Kafka tables.

use anyhow::{Result, ensure};

use crate::e2e::context::Context;

/// What every table of this case says of its cluster.
const SERVERS: &str = "'properties.bootstrap.servers' = 'kafka:9092'";
/// A read of what is there.
const ALL: &str = "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'";

/// Its source is in the middle of a batch, so that the third document has none.
const DEBEZIUM: [&str; 3] = [
    r#"{"before":null,"after":{"id":1},"op":"c","ts_ms":1704067200123,"source":{"db":"shop","schema":"public","table":"orders","ts_ms":1704067199000,"version":"2.7"}}"#,
    r#"{"before":{"id":1},"after":{"id":2},"op":"u","ts_ms":1704067201000,"source":{"db":"shop","schema":"public","table":"orders","ts_ms":1704067200500,"version":"2.7"}}"#,
    r#"{"before":null,"after":{"id":3},"op":"c"}"#,
];
const CANAL: [&str; 2] = [
    r#"{"data":[{"id":"1"},{"id":"2"}],"type":"INSERT","database":"shop","table":"orders","sqlType":{"id":4},"pkNames":["id"],"ts":1704067200123,"es":1704067199000}"#,
    r#"{"data":[{"id":"2"}],"type":"DELETE","database":"shop","table":"orders","sqlType":null,"pkNames":null,"ts":1704067201000,"es":1704067200500}"#,
];
const MAXWELL: [&str; 2] = [
    r#"{"data":{"id":1},"type":"insert","database":"shop","table":"orders","primary_key_columns":["id"],"ts":1704067200}"#,
    r#"{"data":{"id":1},"type":"delete","database":"shop","table":"orders","ts":1704067201}"#,
];

fn lines(context: &Context, name: &str, records: &[&str], table: &str, select: &str) -> Result<Vec<String>> {
    let topic = context.unique(name);
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 1)?;
    kafka.produce(&topic, records)?;
    let table = table.replace("TOPIC", &topic).replace("CLUSTER", &format!("{SERVERS}, {ALL}"));
    let job = context.write(&format!("{name}.sql"), &format!("{table}{select}"))?;
    let address = format!("kafka:9092={}", context.services().kafka()?.plaintext());
    let finished = context.run(["run", &job, "--map", &address], 60)?.expect_code(0)?;
    Ok(finished.stdout.lines().map(str::to_owned).collect())
}

pub(crate) fn columns_say_where_a_change_comes_from(context: &Context) -> Result<()> {
    let found = lines(
        context,
        "debezium",
        &DEBEZIUM,
        "SET 'table.local-time-zone' = 'Asia/Tokyo';\n\
         CREATE TABLE t (id INT, sch STRING METADATA FROM 'value.schema' VIRTUAL, \
         seen TIMESTAMP(3) METADATA FROM 'value.ingestion-timestamp' VIRTUAL, \
         made TIMESTAMP_LTZ(3) METADATA FROM 'value.source.timestamp' VIRTUAL, \
         db STRING METADATA FROM 'value.source.database' VIRTUAL, space STRING METADATA FROM 'value.source.schema' VIRTUAL, \
         tab STRING METADATA FROM 'value.source.table' VIRTUAL, \
         props MAP<STRING, STRING> METADATA FROM 'value.source.properties' VIRTUAL, n BIGINT METADATA FROM 'offset' VIRTUAL) \
         WITH ('connector' = 'kafka', 'topic' = 'TOPIC', CLUSTER, 'format' = 'debezium-json');\n",
        "CREATE TABLE p (n BIGINT, id INT, sch STRING, seen STRING, made STRING, place STRING, version STRING) WITH ('connector' = 'print');\n\
         INSERT INTO p SELECT n, id, sch, CAST(seen AS STRING), CAST(made AS STRING), db || '.' || space || '.' || tab, props['version'] FROM t;\n",
    )?;
    let expected = [
        "+I[0, 1, null, 2024-01-01 09:00:00.123, 2024-01-01 08:59:59.000, shop.public.orders, 2.7]",
        "-U[1, 1, null, 2024-01-01 09:00:01.000, 2024-01-01 09:00:00.500, shop.public.orders, 2.7]",
        "+U[1, 2, null, 2024-01-01 09:00:01.000, 2024-01-01 09:00:00.500, shop.public.orders, 2.7]",
        "+I[2, 3, null, null, null, null, null]",
    ];
    ensure!(found == expected, "debezium: found {found:?}");
    let found = lines(
        context,
        "canal",
        &CANAL,
        "CREATE TABLE t (id INT, db STRING METADATA FROM 'value.database' VIRTUAL, tab STRING METADATA FROM 'value.table' VIRTUAL, \
         kinds MAP<STRING, INT> METADATA FROM 'value.sql-type' VIRTUAL, keys ARRAY<STRING> METADATA FROM 'value.pk-names' VIRTUAL, \
         seen TIMESTAMP_LTZ(3) METADATA FROM 'value.ingestion-timestamp' VIRTUAL, \
         made TIMESTAMP_LTZ(3) METADATA FROM 'value.event-timestamp' VIRTUAL) \
         WITH ('connector' = 'kafka', 'topic' = 'TOPIC', CLUSTER, 'format' = 'canal-json');\n",
        "CREATE TABLE p (id INT, place STRING, kind INT, key STRING, seen STRING, made STRING) WITH ('connector' = 'print');\n\
         INSERT INTO p SELECT id, db || '.' || tab, kinds['id'], keys[1], CAST(seen AS STRING), CAST(made AS STRING) FROM t;\n",
    )?;
    let first = "shop.orders, 4, id, 2024-01-01 00:00:00.123, 2023-12-31 23:59:59.000]";
    let expected = [
        format!("+I[1, {first}"),
        format!("+I[2, {first}"),
        "-D[2, shop.orders, null, null, 2024-01-01 00:00:01.000, 2024-01-01 00:00:00.500]".to_owned(),
    ];
    ensure!(found == expected, "canal: found {found:?}");
    let found = lines(
        context,
        "maxwell",
        &MAXWELL,
        "CREATE TABLE t (id INT, db STRING METADATA FROM 'value.database' VIRTUAL, tab STRING METADATA FROM 'value.table' VIRTUAL, \
         keys ARRAY<STRING> METADATA FROM 'value.primary-key-columns' VIRTUAL, \
         seen TIMESTAMP_LTZ(3) METADATA FROM 'value.ingestion-timestamp' VIRTUAL) \
         WITH ('connector' = 'kafka', 'topic' = 'TOPIC', CLUSTER, 'format' = 'maxwell-json');\n",
        "CREATE TABLE p (id INT, place STRING, key STRING, seen STRING) WITH ('connector' = 'print');\n\
         INSERT INTO p SELECT id, db || '.' || tab, keys[1], CAST(seen AS STRING) FROM t;\n",
    )?;
    let expected =
        ["+I[1, shop.orders, id, 1970-01-20 17:21:07.200]", "-D[1, shop.orders, null, 1970-01-20 17:21:07.201]"];
    ensure!(found == expected, "maxwell: found {found:?}");
    Ok(())
}
