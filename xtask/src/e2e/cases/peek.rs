//! `wiesel peek`: what lies in a topic, and a table that reads it.

use anyhow::{Result, ensure};

use crate::e2e::context::Context;
use crate::e2e::program::Finished;

/// Looks into a topic.
fn peek(context: &Context, topic: &str, more: &[&str]) -> Result<Finished> {
    let servers = context.services().kafka()?.plaintext();
    let mut arguments = vec!["peek", topic, "--bootstrap-servers", &servers];
    arguments.extend(more);
    context.run(arguments, 60)
}

/// The offsets of what was shown, as `partition@offset`.
fn places(found: &Finished) -> Result<Vec<String>> {
    let place = |line: &str| -> Result<String> {
        let record: serde_json::Value = serde_json::from_str(line)?;
        Ok(format!("{}@{}", record["partition"], record["offset"]))
    };
    found.stdout.lines().map(place).collect()
}

pub(crate) fn shows_the_newest_records_and_a_table_that_reads_them(context: &Context) -> Result<()> {
    let topic = context.unique("looked_into");
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 2)?;
    let line = |id: u32| {
        format!(
            r#"{{"orderId":{id},"payAmount":{}.5,"ts":"2025-05-20 10:11:{:02}","user":{{"name":"n","password":"verborgen-91"}},"tags":["a"]}}"#,
            id,
            id % 60
        )
    };
    // By turns: offset n of partition p is line 2n + p.
    kafka.produce(&topic, (0..40).map(line))?;

    let newest = peek(context, &topic, &["--json", "--count", "3"])?.expect_code(0)?;
    let expected = ["0@17", "0@18", "0@19", "1@17", "1@18", "1@19"];
    ensure!(places(&newest)? == expected, "{}", newest.stdout);
    for (from, expected) in [("earliest", ["1@0", "1@1"]), ("7", ["1@7", "1@8"])] {
        let found =
            peek(context, &topic, &["--json", "--count", "2", "--partition", "1", "--from", from])?.expect_code(0)?;
        ensure!(places(&found)? == expected, "from {from}: {}", found.stdout);
    }
    let later = peek(context, &topic, &["--json", "--from", "2100-01-01"])?.expect_code(0)?;
    ensure!(later.stdout.is_empty(), "nothing is as late: {}", later.stdout);

    let text = peek(context, &topic, &[])?.expect_code(0)?.expect_stdout(&format!("{topic}-1 @ 19  20"))?;
    ensure!(!text.stdout.contains("verborgen-91"), "a password is shown: {}", text.stdout);
    let shown = peek(context, &topic, &["--show-secrets"])?.expect_code(0)?;
    ensure!(shown.stdout.contains("verborgen-91"), "it was asked for: {}", shown.stdout);

    // The guess is a statement that runs, over all that the topic holds.
    let table = peek(context, &topic, &["--table"])?.expect_code(0)?.stdout;
    let job = format!(
        "SET 'execution.runtime-mode' = 'batch';\n{table}SELECT SUM(orderId) AS ids, SUM(payAmount) AS amounts, MAX(ts) AS last_time, \
         MAX(`user`.name) AS name, MAX(tags[1]) AS tag FROM {topic};\n"
    );
    let job = context.write("guess.sql", &job)?;
    let bounded = format!("{topic}.scan.bounded.mode=latest-offset");
    let run = context.run(["run", &job, "--table-option", &bounded], 60)?.expect_code(0)?;
    let cells = ["780", "800.0", "2025-05-20 10:11:39.000", "n", "a"];
    ensure!(cells.iter().all(|cell| run.stdout.contains(&format!(" {cell} |"))), "{}\n{}", table, run.stdout);
    Ok(())
}

pub(crate) fn shows_keys_tombstones_and_what_is_no_text(context: &Context) -> Result<()> {
    let topic = context.unique("keyed");
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 1)?;
    kafka.produce_keyed(&topic, [("k1", Some("{\"a\":1}")), ("k2", None)])?;
    let found = peek(context, &topic, &[])?.expect_code(0)?;
    for part in ["key k1", "key k2", "(tombstone: no value)", "'key.fields' = 'record_key'", "record_key STRING"] {
        ensure!(found.stdout.contains(part), "`{part}` in {}", found.stdout);
    }
    kafka.produce(&topic, [vec![0_u8, 0, 0, 0, 9, 2, 255]])?;
    peek(context, &topic, &["--count", "1"])?
        .expect_code(0)?
        .expect_stdout("(7 bytes, perhaps of schema 9) 000000000902ff")?;
    peek(context, &topic, &["--partition", "4"])?.expect_code(1)?.expect_stderr("has 1 partitions, and no 4")?;
    peek(context, &format!("{topic}x"), &[])?.expect_code(1)?.expect_stderr(&format!("did you mean `{topic}`?"))?;
    Ok(())
}
