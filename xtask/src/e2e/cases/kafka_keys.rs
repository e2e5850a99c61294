//! What records of Kafka hold beside their values: keys, tombstones, headers and metadata; changes in records; topics and partitions that
//! come while a job runs.

use anyhow::{Context as _, Result, ensure};

use crate::e2e::context::Context;

/// What every table of these cases says of its cluster.
const SERVERS: &str = "'properties.bootstrap.servers' = 'kafka:9092'";
/// A read of what is there.
const ALL: &str = "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'";

/// Runs a job of its own state to its end and gives its lines, sorted.
fn lines(context: &Context, name: &str, sql: &str) -> Result<Vec<String>> {
    let job = context.write(&format!("{name}.sql"), sql)?;
    let address = format!("kafka:9092={}", context.services().kafka()?.plaintext());
    let finished = context.run(["run", &job, "--map", &address], 60)?.expect_code(0)?;
    let mut lines: Vec<String> = finished.stdout.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

pub(crate) fn keys_are_written_and_read(context: &Context) -> Result<()> {
    let topic = context.unique("keys");
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 2)?;
    let table = |name: &str, more: &str| {
        format!(
            "CREATE TABLE {name} (k_id INT, v STRING, k_town STRING{more}) WITH ('connector' = 'kafka', \
             'topic' = '{topic}', {SERVERS}, {ALL}, 'key.format' = 'json', 'key.fields' = 'k_town;k_id', \
             'key.fields-prefix' = 'k_', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY');\n"
        )
    };
    let write = format!(
        "{}INSERT INTO t VALUES (1, 'a', 'Bern'), (2, 'b', 'Basel'), (3, CAST(NULL AS STRING), 'Bern');\n",
        table("t", "")
    );
    lines(context, "write", &write)?;
    let mut found: Vec<(String, String)> = Vec::new();
    for message in kafka.consume_all(&topic)? {
        found.push((message.key.context("a key")?, message.value.context("a value")?));
    }
    found.sort();
    let expected = [
        ("{\"town\":\"Basel\",\"id\":2}", "{\"v\":\"b\"}"),
        ("{\"town\":\"Bern\",\"id\":1}", "{\"v\":\"a\"}"),
        ("{\"town\":\"Bern\",\"id\":3}", "{\"v\":null}"),
    ];
    ensure!(found.iter().map(|(k, v)| (k.as_str(), v.as_str())).eq(expected), "found {found:?}");
    // A record without a key gives no row of a table with keys, as in Flink; one without a value neither.
    kafka.produce(&topic, ["{\"v\":\"lost\"}"])?;
    kafka.produce_keyed(&topic, [("{\"id\":9}", None)])?;
    let metadata = ", topic STRING METADATA FROM 'topic' VIRTUAL, kind STRING METADATA FROM 'timestamp-type' VIRTUAL, \
                    part INT METADATA FROM 'partition' VIRTUAL, headers MAP<STRING, BYTES> METADATA FROM 'headers' VIRTUAL";
    let print = "CREATE TABLE console (a INT, b STRING, c STRING, d BOOLEAN, e STRING, f BOOLEAN, g INT) WITH ('connector' = 'print');\n\
                 INSERT INTO console SELECT k_id, v, k_town, topic LIKE 'keys%', kind, part IN (0, 1), CARDINALITY(headers) FROM t;\n";
    let found = lines(context, "read", &format!("{}{print}", table("t", metadata)))?;
    let expected = [
        "+I[1, a, Bern, true, CreateTime, true, 0]",
        "+I[2, b, Basel, true, CreateTime, true, 0]",
        "+I[3, null, Bern, true, CreateTime, true, 0]",
    ];
    ensure!(found == expected, "found {found:?}");
    // Without EXCEPT_KEY the value counts where both sides have a column.
    kafka.produce_keyed(&topic, [("{\"id\":5}", Some("{\"id\":6,\"v\":\"both\"}"))])?;
    let both = format!(
        "CREATE TABLE t (id INT, v STRING) WITH ('connector' = 'kafka', 'topic' = '{topic}', {SERVERS}, {ALL}, \
         'key.format' = 'json', 'key.fields' = 'id', 'value.format' = 'json', 'value.fields-include' = 'ALL');\n\
         CREATE TABLE console (a INT, b STRING) WITH ('connector' = 'print');\n\
         INSERT INTO console SELECT * FROM t WHERE v = 'both';\n"
    );
    let found = lines(context, "both", &both)?;
    ensure!(found == ["+I[6, both]"], "found {found:?}");
    Ok(())
}

/// A table of upserts.
fn upserts(name: &str, topic: &str, more: &str) -> String {
    format!(
        "CREATE TABLE {name} (id INT, v STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', \
         'topic' = '{topic}', {SERVERS}, 'key.format' = 'json', 'value.format' = 'json'{more});\n"
    )
}

pub(crate) fn upserts_are_read_with_tombstones(context: &Context) -> Result<()> {
    let (topic, to) = (context.unique("upserts"), context.unique("copied"));
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 2)?;
    kafka.create_topic(&to, 2)?;
    let records = [
        ("{\"id\":1}", Some("{\"id\":1,\"v\":\"a\"}")),
        ("{\"id\":2}", Some("{\"id\":2,\"v\":\"b\"}")),
        ("{\"id\":1}", Some("{\"id\":1,\"v\":\"c\"}")),
        ("{\"id\":2}", None),
        ("{\"id\":3}", Some("{\"id\":3,\"v\":\"d\"}")),
        ("{\"id\":4}", None),
        ("{\"id\":2}", Some("{\"id\":2,\"v\":\"e\"}")),
        ("{\"id\":3}", None),
    ];
    kafka.produce_keyed(&topic, records)?;
    let bounded = ", 'scan.bounded.mode' = 'latest-offset'";
    let read = format!(
        "{}CREATE TABLE console (id INT, v STRING) WITH ('connector' = 'print');\n\
         INSERT INTO console SELECT * FROM t;\n",
        upserts("t", &topic, bounded)
    );
    let found = lines(context, "read", &read)?;
    let mut expected = ["+I[1, a]", "+I[2, b]", "-U[1, a]", "+U[1, c]", "-D[2, b]", "+I[3, d]", "+I[2, e]", "-D[3, d]"];
    expected.sort_unstable();
    ensure!(found == expected, "found {found:?}");
    // Copied, changes are records and tombstones again, in the order of each key.
    for (name, more) in
        [("copy", ""), ("fold", ", 'sink.buffer-flush.max-rows' = '1000', 'sink.buffer-flush.interval' = '1 h'")]
    {
        let to = if name == "copy" { to.clone() } else { context.unique("folded") };
        if name == "fold" {
            kafka.create_topic(&to, 2)?;
        }
        let copy = format!(
            "SET 'execution.checkpointing.interval' = '1 h';\n{}{}INSERT INTO o SELECT * FROM t;\n",
            upserts("t", &topic, bounded),
            upserts("o", &to, more)
        );
        lines(context, name, &copy)?;
        let of_key = |id: usize| -> Result<Vec<String>> {
            let key = format!("{{\"id\":{id}}}");
            let messages = kafka.consume_all(&to)?.into_iter().filter(|m| m.key.as_deref() == Some(&key));
            Ok(messages.map(|m| m.value.unwrap_or_else(|| "none".to_owned())).collect())
        };
        let all = [of_key(1)?, of_key(2)?, of_key(3)?, of_key(4)?];
        let value = |id: usize, v: &str| format!("{{\"id\":{id},\"v\":\"{v}\"}}");
        let none = || "none".to_owned();
        let expected = if name == "copy" {
            [
                vec![value(1, "a"), value(1, "c")],
                vec![value(2, "b"), none(), value(2, "e")],
                vec![value(3, "d"), none()],
                vec![],
            ]
        } else {
            [vec![value(1, "c")], vec![value(2, "e")], vec![none()], vec![]]
        };
        ensure!(all == expected, "{name}: found {all:?}");
    }
    Ok(())
}

pub(crate) fn upserts_are_written_exactly_once(context: &Context) -> Result<()> {
    let (from, to) = (context.unique("changes"), context.unique("totals"));
    let kafka = context.kafka()?;
    kafka.create_topic(&from, 1)?;
    kafka.create_topic(&to, 2)?;
    kafka.produce(
        &from,
        [
            r#"{"before":null,"after":{"town":"Bern","n":2},"op":"c"}"#,
            r#"{"before":null,"after":{"town":"Chur","n":7},"op":"r"}"#,
            r#"{"before":{"town":"Bern","n":2},"after":{"town":"Basel","n":3},"op":"u"}"#,
            r#"{"before":{"town":"Chur","n":7},"after":null,"op":"d"}"#,
            r#"{"before":null,"after":{"town":"Basel","n":4},"op":"c"}"#,
        ],
    )?;
    let job = format!(
        "SET 'execution.checkpointing.interval' = '100 ms';\n\
         CREATE TABLE c (town STRING, n INT) WITH ('connector' = 'kafka', 'topic' = '{from}', {SERVERS}, {ALL}, \
         'format' = 'debezium-json');\n\
         CREATE TABLE o (k_town STRING, total BIGINT, PRIMARY KEY (k_town) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', \
         'topic' = '{to}', {SERVERS}, 'key.format' = 'json', 'value.format' = 'json', 'key.fields-prefix' = 'k_', \
         'value.fields-include' = 'EXCEPT_KEY', 'sink.delivery-guarantee' = 'exactly-once', \
         'sink.transactional-id-prefix' = '{to}');\n\
         INSERT INTO o SELECT town, SUM(n) FROM c GROUP BY town;\n"
    );
    lines(context, "job", &job)?;
    let messages = kafka.consume_all(&to)?;
    let last = |town: &str| {
        let key = format!("{{\"town\":\"{town}\"}}");
        messages.iter().rfind(|m| m.key.as_deref() == Some(&key)).map(|m| m.value.clone())
    };
    let found = [last("Basel"), last("Bern"), last("Chur")];
    ensure!(
        found == [Some(Some("{\"total\":7}".to_owned())), Some(None), Some(None)],
        "found {found:?} in {messages:?}"
    );
    Ok(())
}

pub(crate) fn changes_are_written_as_documents(context: &Context) -> Result<()> {
    let (from, to) = (context.unique("canal"), context.unique("maxwell"));
    let kafka = context.kafka()?;
    kafka.create_topic(&from, 1)?;
    kafka.create_topic(&to, 1)?;
    kafka.produce(
        &from,
        [
            r#"{"data":[{"id":"1","v":"a"},{"id":"2","v":"b"}],"type":"INSERT"}"#,
            r#"{"data":[{"id":"1","v":"c"}],"old":[{"v":"a"}],"type":"UPDATE"}"#,
            r#"{"data":[{"id":"2","v":"b"}],"type":"DELETE"}"#,
        ],
    )?;
    let table = |name: &str, topic: &str, format: &str| {
        format!(
            "CREATE TABLE {name} (id INT, v STRING) WITH ('connector' = 'kafka', 'topic' = '{topic}', {SERVERS}, {ALL}, \
             'format' = '{format}');\n"
        )
    };
    let job = format!(
        "{}{}INSERT INTO m SELECT * FROM c;\n",
        table("c", &from, "canal-json"),
        table("m", &to, "maxwell-json")
    );
    lines(context, "job", &job)?;
    let found: Vec<String> = kafka.consume_all(&to)?.into_iter().filter_map(|message| message.value).collect();
    let document =
        |id: usize, v: &str, word: &str| format!("{{\"data\":{{\"id\":{id},\"v\":\"{v}\"}},\"type\":\"{word}\"}}");
    let expected = [
        document(1, "a", "insert"),
        document(2, "b", "insert"),
        document(1, "a", "delete"),
        document(1, "c", "insert"),
        document(2, "b", "delete"),
    ];
    ensure!(found == expected, "found {found:?}");
    Ok(())
}

pub(crate) fn new_partitions_and_topics_are_found(context: &Context) -> Result<()> {
    let prefix = context.unique("found");
    let (first, second, other) = (format!("{prefix}-a"), format!("{prefix}-b"), format!("x-{prefix}-a"));
    let kafka = context.kafka()?;
    kafka.create_topic(&first, 2)?;
    kafka.create_topic(&other, 1)?;
    kafka.produce(&first, (0..4).map(|id| format!("{{\"id\":{id}}}")))?;
    kafka.produce(&other, ["{\"id\":-1}"])?;
    let job = format!(
        "SET 'execution.checkpointing.interval' = '200 ms';\n\
         CREATE TABLE t (id INT) WITH ('connector' = 'kafka', 'topic-pattern' = '{prefix}-.*', {SERVERS}, \
         'scan.startup.mode' = 'earliest-offset', 'scan.topic-partition-discovery.interval' = '300 ms', 'format' = 'json');\n\
         CREATE TABLE console (id INT) WITH ('connector' = 'print');\n\
         INSERT INTO console SELECT * FROM t;\n"
    );
    let job = context.write("job.sql", &job)?;
    let address = format!("kafka:9092={}", context.services().kafka()?.plaintext());
    let program = context.spawn(["run", &job, "--map", &address])?;
    let has = |count: usize| move |program: &crate::e2e::program::Program| program.stdout().lines().count() >= count;
    program.wait_until(60, "the first rows", has(4))?;
    // Two partitions become four, and a topic comes that the pattern names, too.
    kafka.create_partitions(&first, 4)?;
    context.wait_until(30, "four partitions", || Ok(kafka.partitions(&first)?.len() == 4))?;
    kafka.produce(&first, (4..12).map(|id| format!("{{\"id\":{id}}}")))?;
    kafka.create_topic(&second, 1)?;
    kafka.produce(&second, (12..15).map(|id| format!("{{\"id\":{id}}}")))?;
    program.wait_until(60, "the rows of new partitions and of a new topic", has(15))?;
    program.terminate()?;
    program.wait(20)?.expect_code(0)?;
    // What was found is in the checkpoint: a restart goes on behind it.
    kafka.produce(&first, (15..19).map(|id| format!("{{\"id\":{id}}}")))?;
    let again = context.spawn(["run", &job, "--map", &address])?;
    again.wait_until(60, "the rows since the stop", has(4))?;
    again.terminate()?;
    let after = again.wait(20)?.expect_code(0)?.stdout;
    let mut all: Vec<i64> = Vec::new();
    for line in program.stdout().lines().chain(after.lines()) {
        all.push(line.trim_start_matches("+I[").trim_end_matches(']').parse()?);
    }
    all.sort_unstable();
    ensure!(all == (0..19).collect::<Vec<i64>>(), "found {all:?}");
    Ok(())
}

pub(crate) fn partitions_are_chosen_as_asked(context: &Context) -> Result<()> {
    let kafka = context.kafka()?;
    for (partitioner, expected) in [("fixed", vec![6]), ("round-robin", vec![2, 2, 2])] {
        let topic = context.unique(partitioner);
        kafka.create_topic(&topic, 3)?;
        let job = format!(
            "SET 'parallelism.default' = '1';\n\
             CREATE TABLE t (id INT) WITH ('connector' = 'kafka', 'topic' = '{topic}', {SERVERS}, 'format' = 'json', \
             'sink.partitioner' = '{partitioner}');\n\
             INSERT INTO t VALUES (1), (2), (3), (4), (5), (6);\n"
        );
        lines(context, partitioner, &job)?;
        let messages = kafka.consume_all(&topic)?;
        let of = |partition: i32| messages.iter().filter(|m| m.partition == partition).count();
        let found: Vec<usize> = (0..3).map(of).filter(|count| *count > 0).collect();
        ensure!(found == expected, "{partitioner}: found {found:?}");
    }
    Ok(())
}

pub(crate) fn aborted_transactions_are_hidden_on_request(context: &Context) -> Result<()> {
    let topic = context.unique("aborted");
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 1)?;
    kafka.produce_in_transaction(&topic, &topic, &["{\"id\":1}".to_owned()], false)?;
    kafka.produce_in_transaction(&topic, &topic, &["{\"id\":2}".to_owned()], true)?;
    for (level, expected) in [("read_committed", vec!["+I[2]"]), ("read_uncommitted", vec!["+I[1]", "+I[2]"])] {
        let job = format!(
            "CREATE TABLE t (id INT) WITH ('connector' = 'kafka', 'topic' = '{topic}', {SERVERS}, {ALL}, 'format' = 'json', \
             'properties.isolation.level' = '{level}');\n\
             CREATE TABLE console (id INT) WITH ('connector' = 'print');\n\
             INSERT INTO console SELECT * FROM t;\n"
        );
        let found = lines(context, level, &job)?;
        ensure!(found == expected, "{level}: found {found:?}");
    }
    Ok(())
}

pub(crate) fn headers_are_written_and_read(context: &Context) -> Result<()> {
    for guarantee in ["at-least-once", "exactly-once"] {
        let topic = context.unique(&format!("headers-{guarantee}"));
        let kafka = context.kafka()?;
        kafka.create_topic(&topic, 1)?;
        let more = if guarantee == "exactly-once" { ", 'sink.transactional-id-prefix' = 'h'" } else { "" };
        let write = format!(
            "CREATE TABLE t (id INT, h MAP<STRING, BYTES> METADATA FROM 'headers', ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp') \
             WITH ('connector' = 'kafka', 'topic' = '{topic}', {SERVERS}, 'format' = 'json', \
             'sink.delivery-guarantee' = '{guarantee}'{more});\n\
             INSERT INTO t VALUES (1, MAP['trace', CAST('abc' AS BYTES), 'none', CAST(NULL AS BYTES)], TO_TIMESTAMP_LTZ(5, 3)), \
             (2, CAST(NULL AS MAP<STRING, BYTES>), TO_TIMESTAMP_LTZ(6, 3));\n"
        );
        lines(context, &format!("write-{guarantee}"), &write)?;
        let found = kafka.first_headers(&topic, 0)?;
        let expected = [("trace".to_owned(), Some("abc".to_owned())), ("none".to_owned(), None)];
        ensure!(found == expected, "{guarantee}: found {found:?}");
        let read = format!(
            "CREATE TABLE t (id INT, l ARRAY<ROW<key STRING, `value` BYTES>> METADATA FROM 'header-list' VIRTUAL, \
             ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL) \
             WITH ('connector' = 'kafka', 'topic' = '{topic}', {SERVERS}, {ALL}, 'format' = 'json');\n\
             CREATE TABLE console (id INT, n INT, name STRING, v STRING, ms BIGINT) WITH ('connector' = 'print');\n\
             INSERT INTO console SELECT id, CARDINALITY(l), l[1].key, CAST(l[1].`value` AS STRING), \
             EXTRACT(MILLISECOND FROM ts) FROM t;\n"
        );
        let found = lines(context, &format!("read-{guarantee}"), &read)?;
        ensure!(found == ["+I[1, 2, trace, abc, 5]", "+I[2, 0, null, null, 6]"], "{guarantee}: found {found:?}");
    }
    Ok(())
}
