//! The sinks of search servers against each line of servers, and rights that are missing.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::e2e::context::Context;
use crate::services::elasticsearch::Line;

fn map(context: &Context, line: Line) -> Result<String> {
    let url = context.services().elasticsearch(line)?.url();
    Ok(format!("elasticsearch:9200={}", url.trim_start_matches("http://")))
}

fn sink(name: &str, index: &str, key: &str) -> String {
    format!(
        "CREATE TABLE {name} (branch STRING, day_ DATE, total DECIMAL(10, 2), n BIGINT{key}) WITH ('connector' = 'elasticsearch-7', \
         'hosts' = 'http://elasticsearch:9200', 'index' = '{index}');\n"
    )
}

const ROWS: &str = "(SELECT CAST(branch AS STRING) AS branch, day_, amount FROM (VALUES ('north', DATE '2024-01-01', 1.50), \
                    ('south', DATE '2024-01-01', 2.00), ('north', DATE '2024-01-01', 2.25), \
                    ('north', DATE '2024-01-02', 4.00)) AS t(branch, day_, amount))";

pub(crate) fn eight_takes_keyed_and_unkeyed_rows(context: &Context) -> Result<()> {
    let (keyed, unkeyed) = (context.unique("keyed"), context.unique("unkeyed"));
    let job = format!(
        "{}{}INSERT INTO keyed SELECT branch, day_, SUM(amount), COUNT(*) FROM {ROWS} GROUP BY branch, day_;\n\
         INSERT INTO unkeyed SELECT branch, day_, amount, 1 FROM {ROWS};\n",
        sink("keyed", &keyed, ", PRIMARY KEY (branch, day_) NOT ENFORCED"),
        sink("unkeyed", &unkeyed, ""),
    );
    let job = context.write("job.sql", &job)?;
    context.run(["run", &job, "--map", &map(context, Line::Eight)?], 60)?.expect_code(0)?;
    let client = context.elasticsearch(Line::Eight)?;
    let document =
        |branch: &str, day: &str, total: Value, n: i64| json!({"branch": branch, "day_": day, "total": total, "n": n});
    let expected: Vec<(String, Value)> = vec![
        ("north_2024-01-01".to_owned(), document("north", "2024-01-01", json!(3.75), 2)),
        ("north_2024-01-02".to_owned(), document("north", "2024-01-02", json!(4), 1)),
        ("south_2024-01-01".to_owned(), document("south", "2024-01-01", json!(2), 1)),
    ];
    let found = client.documents(&keyed)?;
    ensure!(found == expected, "expected {expected:?}, found {found:?}");
    // Without a key the server makes the ids, so only the documents count.
    let mut found: Vec<String> = client.documents(&unkeyed)?.into_iter().map(|(_, d)| d.to_string()).collect();
    found.sort();
    let mut expected: Vec<String> = [
        ("north", "01", json!(1.5)),
        ("south", "01", json!(2)),
        ("north", "01", json!(2.25)),
        ("north", "02", json!(4)),
    ]
    .map(|(branch, day, total)| document(branch, &format!("2024-01-{day}"), total, 1).to_string())
    .to_vec();
    expected.sort();
    ensure!(found == expected, "expected {expected:?}, found {found:?}");
    Ok(())
}

pub(crate) fn a_missing_right_ends_the_job_with_the_items_reason(context: &Context) -> Result<()> {
    for line in [Line::Seven, Line::Eight] {
        let index = context.unique(&format!("blocked{}", line.version().split('.').next().unwrap_or_default()));
        let client = context.elasticsearch(line)?;
        let settings = json!({"settings": {"index.blocks.write": true}}).to_string();
        client.expect("PUT", &format!("/{index}"), Some(&settings))?;
        let text =
            format!("{}INSERT INTO target SELECT branch, day_, amount, 1 FROM {ROWS};\n", sink("target", &index, ""));
        let job = context.write(&format!("{index}.sql"), &text)?;
        let finished = context.run(["run", &job, "--map", &map(context, line)?], 60)?.expect_code(1)?;
        for part in ["W0602", index.as_str(), "cluster_block_exception"] {
            ensure!(finished.stderr.contains(part), "`{part}` is missing in: {}", finished.stderr);
        }
        ensure!(client.count(&index)? == 0, "nothing may be written through a block");
    }
    Ok(())
}

pub(crate) fn index_names_follow_the_rows(context: &Context) -> Result<()> {
    // The names of connectors differ, the requests do not: each server takes those of the others.
    for (line, connector) in [
        (Line::Seven, "elasticsearch-7"),
        (Line::Eight, "elasticsearch-8"),
        (Line::Nine, "elasticsearch-8"),
        (Line::Eight, "opensearch-2"),
        (Line::OpenSearch, "opensearch"),
        (Line::OpenSearch, "opensearch-2"),
    ] {
        let place = format!("{connector}-{}", line.name());
        let (by_day, by_name) = (context.unique(&format!("day-{place}")), context.unique(&format!("name-{place}")));
        let table = |name: &str, index: &str, key: &str| {
            format!(
                "CREATE TABLE {name} (id INT, town STRING, ts TIMESTAMP(3){key}) WITH ('connector' = '{connector}', \
                 'hosts' = 'http://elasticsearch:9200', 'index' = '{index}');\n"
            )
        };
        let job = format!(
            "{}{}INSERT INTO keyed SELECT * FROM (VALUES (1, 'bern', TIMESTAMP '2024-01-01 23:59:59'), \
             (1, 'basel', TIMESTAMP '2024-01-02 00:00:00'), (2, 'chur', TIMESTAMP '2024-01-02 12:00:00')) AS t(id, town, ts);\n\
             INSERT INTO unkeyed SELECT id, town, ts FROM (VALUES (1, 'bern', TIMESTAMP '2024-01-01 23:59:59'), \
             (2, 'chur', TIMESTAMP '2024-01-02 12:00:00')) AS t(id, town, ts);\n",
            table("keyed", &format!("{by_day}-{{ts|yyyy.MM.dd}}"), ", PRIMARY KEY (id) NOT ENFORCED"),
            table("unkeyed", &format!("{by_name}-{{town}}"), ""),
        );
        let job = context.write(&format!("{place}.sql"), &job)?;
        context.run(["run", &job, "--map", &map(context, line)?], 60)?.expect_code(0)?;
        let client = context.elasticsearch(line)?;
        let towns = |index: &str| -> Result<Vec<String>> {
            let mut towns: Vec<String> =
                client.documents(index)?.iter().map(|(_, d)| d["town"].as_str().unwrap_or("").to_owned()).collect();
            towns.sort();
            Ok(towns)
        };
        let found = [
            towns(&format!("{by_day}-2024.01.01"))?,
            towns(&format!("{by_day}-2024.01.02"))?,
            towns(&format!("{by_name}-bern"))?,
            towns(&format!("{by_name}-chur"))?,
        ];
        let expected = [vec!["bern"], vec!["basel", "chur"], vec!["bern"], vec!["chur"]];
        ensure!(
            found == expected.map(|towns| towns.into_iter().map(str::to_owned).collect::<Vec<_>>()),
            "{place}: {found:?}"
        );
    }
    Ok(())
}

/// One stream of changes into an index, a versioned one and one whose name follows the row, on each line of servers.
pub(crate) fn every_line_takes_upserts_and_deletes(context: &Context) -> Result<()> {
    for (line, connector) in [
        (Line::Seven, "elasticsearch-7"),
        (Line::Eight, "elasticsearch-8"),
        (Line::Nine, "elasticsearch-8"),
        (Line::OpenSearch, "opensearch-2"),
    ] {
        takes_upserts_and_deletes(context, line, connector).with_context(|| format!("{connector} into {line:?}"))?;
    }
    Ok(())
}

fn takes_upserts_and_deletes(context: &Context, line: Line, connector: &str) -> Result<()> {
    let topic = context.unique(&format!("changes-{}", line.name()));
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 2)?;
    let send = |changes: &[(i32, Option<(&str, i32)>)]| {
        let records = changes.iter().map(|(id, row)| {
            let value = row.map(|(town, n)| json!({"id": id, "town": town, "n": n}).to_string());
            (json!({"id": id}).to_string(), value)
        });
        kafka.produce_keyed(&topic, records)
    };
    let indices = ["plain", "versioned", "town"].map(|name| context.unique(&format!("{name}-{}", line.name())));
    let sinks: String = ["plain", "versioned", "town"]
        .iter()
        .zip(&indices)
        .map(|(name, index)| {
            let index = if *name == "town" { format!("{index}-{{town}}") } else { index.clone() };
            format!(
                "CREATE TABLE `{name}` (id INT, town STRING, n INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = '{connector}', \
                 'hosts' = 'http://elasticsearch:9200', 'index' = '{index}');\n"
            )
        })
        .collect();
    let inserts: String = ["plain", "versioned", "town"]
        .map(|name| format!("INSERT INTO `{name}` SELECT id, town, n FROM changes;\n"))
        .concat();
    let job = format!(
        "SET 'execution.checkpointing.interval' = '200 ms';\nSET 'wiesel.sink.versioned.versioned' = 'true';\n\
         CREATE TABLE changes (id INT, town STRING, n INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', \
         'topic' = '{topic}', 'properties.bootstrap.servers' = 'kafka:9092', 'key.format' = 'json', 'value.format' = 'json');\n{sinks}{inserts}"
    );
    let job = context.write(&format!("{topic}.sql"), &job)?;
    let kafka_map = format!("kafka:9092={}", context.services().kafka()?.plaintext());
    send(&[(1, Some(("bern", 1))), (2, Some(("chur", 2))), (3, Some(("bern", 3)))])?;
    let program = context.spawn(["run", &job, "--map", &map(context, line)?, "--map", &kafka_map])?;
    let client = context.elasticsearch(line)?;
    let rows = |of: &[(i32, &str, i32)]| -> Vec<(String, Value)> {
        of.iter().map(|(id, town, n)| (id.to_string(), json!({"id": id, "town": town, "n": n}))).collect()
    };
    let hold = |all: &[(i32, &str, i32)], bern: &[(i32, &str, i32)], chur: &[(i32, &str, i32)]| -> Result<()> {
        let [plain, versioned, town] = &indices;
        let expected = [
            (plain.clone(), rows(all)),
            (versioned.clone(), rows(all)),
            (format!("{town}-bern"), rows(bern)),
            (format!("{town}-chur"), rows(chur)),
        ];
        context.wait_until(60, "the documents", || {
            for (index, documents) in &expected {
                let found = client.documents(index)?;
                ensure!(&found == documents, "`{index}` holds {found:?}, expected {documents:?}");
            }
            Ok(true)
        })
    };
    let first = [(1, "bern", 1), (3, "bern", 3)];
    hold(&[(1, "bern", 1), (2, "chur", 2), (3, "bern", 3)], &first, &[(2, "chur", 2)])?;
    // What is there already: a row anew, one that goes and comes back later, one that moves to another town. As in Flink the document of
    // its old town stays: an update names its new index alone.
    send(&[(1, Some(("bern", 10))), (2, None), (3, Some(("chur", 30)))])?;
    let moved = (3, "chur", 30);
    hold(&[(1, "bern", 10), moved], &[(1, "bern", 10), (3, "bern", 3)], &[moved])?;
    send(&[(2, Some(("chur", 20))), (1, None)])?;
    hold(&[(2, "chur", 20), moved], &[(3, "bern", 3)], &[(2, "chur", 20), moved])?;
    program.terminate()?;
    program.wait(30)?.expect_code(0)?;
    Ok(())
}
