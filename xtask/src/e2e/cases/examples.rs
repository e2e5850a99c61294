//! The five example systems, unchanged files against real servers: each gives the rows that a separate computation over the produced lines
//! expects, once in one run, and once through ten kills.
//!
//! A kill counts only when a checkpoint was complete before it and rows remained after it: the case waits for a new manifest, produces
//! rows, and kills at once. Hosts, topics and modes come from outside (`--map`, `--table-option`); for the kills the file's checkpoint
//! interval is shortened in a copy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::commands::test::repository;
use crate::e2e::context::Context;
use crate::e2e::program::newest_manifest;
use crate::services::elasticsearch::Line;
use crate::services::{postgres, python};

/// Kills per example.
const KILLS: usize = 10;
/// Rows produced between two kills.
const ROWS_PER_KILL: usize = 300;
/// Event time of the first generated row: 2025-05-20 10:11:12 UTC.
const START_MS: &str = "1747735872000";

/// An example and how to point it at the test servers.
struct Example {
    folder: &'static str,
    file: &'static str,
    source: &'static str,
    /// What the file calls its broker, and what its other systems.
    brokers: &'static str,
    /// Rows per second of event time.
    rate: &'static str,
}

const PAYMENTS: Example = Example {
    folder: "payments-to-elasticsearch",
    file: "job.sql",
    source: "payment_msg",
    brokers: "kafka:9092",
    rate: "10",
};
const AMOUNTS: Example = Example {
    folder: "windowed-amounts-to-elasticsearch",
    file: "job.sql",
    source: "transaction_msg",
    brokers: "kafka:9092",
    rate: "2",
};
const EDGE_LOGS: Example = Example {
    folder: "logs-to-elasticsearch",
    file: "job.sql",
    source: "edge_logs",
    brokers: "localhost:9092",
    rate: "1",
};
const EDGE_LOGS_WINDOWED: Example = Example { file: "windowed.sql", ..EDGE_LOGS };
const APPLICATION_LOGS: Example =
    Example { folder: "logs-to-parquet", file: "job.sql", source: "last9Topic", brokers: "broker:9092", rate: "10" };
const APPLICATION_LOGS_PARTITIONED: Example = Example { file: "partitioned.sql", rate: "0.1", ..APPLICATION_LOGS };
const WEB_TRAFFIC: Example = Example {
    folder: "web-traffic-to-postgresql",
    file: "job.sql",
    source: "web_traffic",
    brokers: "localhost:9093",
    rate: "2",
};

/// How the rows reach the job.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Course {
    OneRun,
    Kills,
}

// ---------------------------------------------------------------- the cases

pub(crate) fn payments_give_their_totals(context: &Context) -> Result<()> {
    payments(context, Course::OneRun)
}

pub(crate) fn payments_survive_kills(context: &Context) -> Result<()> {
    payments(context, Course::Kills)
}

pub(crate) fn amounts_give_their_windows(context: &Context) -> Result<()> {
    amounts(context, Course::OneRun)
}

pub(crate) fn amounts_survive_kills(context: &Context) -> Result<()> {
    amounts(context, Course::Kills)
}

pub(crate) fn edge_logs_fill_three_indices(context: &Context) -> Result<()> {
    edge_logs(context, Course::OneRun)
}

pub(crate) fn edge_logs_survive_kills(context: &Context) -> Result<()> {
    edge_logs(context, Course::Kills)
}

pub(crate) fn application_logs_give_their_parquet(context: &Context) -> Result<()> {
    application_logs(context, Course::OneRun)
}

pub(crate) fn application_logs_survive_kills(context: &Context) -> Result<()> {
    application_logs(context, Course::Kills)
}

pub(crate) fn web_traffic_gives_its_hits(context: &Context) -> Result<()> {
    web_traffic(context, Course::OneRun)
}

pub(crate) fn web_traffic_survives_kills(context: &Context) -> Result<()> {
    web_traffic(context, Course::Kills)
}

fn payments(context: &Context, course: Course) -> Result<()> {
    let index = context.unique("payments");
    let lines = play(context, &PAYMENTS, course, &[("es_sink.index", &index)])?;
    let mut totals: BTreeMap<String, f64> = BTreeMap::new();
    for line in &lines {
        *totals.entry(format!("Branch_{}", line["branchId"])).or_default() += number(line, "payAmount")?;
    }
    let expected = totals
        .into_iter()
        .map(|(branch, total)| (branch.clone(), json!({ "branch": branch, "pay_amount": total })))
        .collect();
    same_documents(context, &index, expected)?;
    pictures_have_groups(context, "payments-to-elasticsearch", &[("platform_pay_amount_*", &index)])
}

fn amounts(context: &Context, course: Course) -> Result<()> {
    let index = context.unique("amounts");
    let lines = play(context, &AMOUNTS, course, &[("es_sink.index", &index)])?;
    // Each window replaces the one before, so the last window of a client remains.
    let mut sums: BTreeMap<i64, BTreeMap<String, i64>> = BTreeMap::new();
    for line in &lines {
        let minute = text(line, "ts")?[..16].to_owned();
        *sums.entry(integer(line, "client")?).or_default().entry(minute).or_default() += integer(line, "amount")?;
    }
    let mut expected = BTreeMap::new();
    for (client, windows) in sums {
        let (minute, sum) = windows.into_iter().next_back().context("a client without a window")?;
        let document = json!({
            "client": client,
            "window_start": format!("{minute}:00"),
            "window_end": next_minutes(&minute, 1)?,
            "total_amount": sum,
        });
        expected.insert(client.to_string(), document);
    }
    same_documents(context, &index, expected)?;
    pictures_have_groups(context, "windowed-amounts-to-elasticsearch", &[("total_amount", &index)])
}

fn edge_logs(context: &Context, course: Course) -> Result<()> {
    let indices = ["url_counts", "status_counts", "org_latest"].map(|name| context.unique(name));
    let options = [
        ("url_counts.index", indices[0].as_str()),
        ("status_counts.index", indices[1].as_str()),
        ("org_latest.index", indices[2].as_str()),
    ];
    let lines = play(context, &EDGE_LOGS, course, &options)?;
    let mut urls: BTreeMap<String, Value> = BTreeMap::new();
    let mut statuses: BTreeMap<String, Value> = BTreeMap::new();
    let mut organisations = BTreeSet::new();
    for line in &lines {
        let organisation = line["ResponseHeaders"]["x-org-uid"].as_str().context("no x-org-uid")?;
        let date = &text(line, "EdgeEndTimestamp")?[..10];
        let url = text(line, "ClientRequestURI")?;
        let url_key = url.replace(['/', '?', '&'], "_");
        let entry = urls.entry(format!("{organisation}_{date}_{url_key}")).or_insert_with(
            || json!({ "org_id": organisation, "date": date, "url_key": url_key, "url": url, "url_count": 0 }),
        );
        entry["url_count"] = json!(entry["url_count"].as_i64().unwrap_or(0) + 1);
        let status = integer(line, "EdgeResponseStatus")?;
        let entry = statuses.entry(format!("{organisation}_{date}_{status}")).or_insert_with(
            || json!({ "org_id": organisation, "date": date, "status_code": status, "status_count": 0 }),
        );
        entry["status_count"] = json!(entry["status_count"].as_i64().unwrap_or(0) + 1);
        organisations.insert(organisation.to_owned());
    }
    same_documents(context, &indices[0], urls)?;
    same_documents(context, &indices[1], statuses)?;
    // Which row of several partitions is an organisation's last is open; that there is one per organisation is not.
    let elasticsearch = context.elasticsearch(Line::Seven)?;
    elasticsearch.refresh(&indices[2])?;
    let found: BTreeSet<String> = elasticsearch.documents(&indices[2])?.into_iter().map(|(id, _)| id).collect();
    ensure!(found == organisations, "organisations: expected {organisations:?}, found {found:?}");
    let patterns = ["url_counts", "status_counts", "org_latest"];
    let indices: Vec<(&str, &str)> = patterns.into_iter().zip(indices.iter().map(String::as_str)).collect();
    pictures_have_groups(context, "logs-to-elasticsearch", &indices)
}

pub(crate) fn edge_logs_windowed_give_their_hours(context: &Context) -> Result<()> {
    let index = context.unique("windowed");
    let lines = play(context, &EDGE_LOGS_WINDOWED, Course::OneRun, &[("url_counts_windowed.index", &index)])?;
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for line in &lines {
        let organisation = line["ResponseHeaders"]["x-org-uid"].as_str().context("no x-org-uid")?;
        let (url, time) = (text(line, "ClientRequestURI")?, text(line, "EdgeEndTimestamp")?);
        let minute: i64 = minutes_of(&time[..16])?;
        // Six windows of an hour, one every ten minutes, hold the row.
        for back in 0..6 {
            let start = minute.div_euclid(10) * 10 - back * 10;
            *counts.entry(format!("{organisation}_{url}_{}", minute_text(start, 'T'))).or_default() += 1;
        }
    }
    let elasticsearch = context.elasticsearch(Line::Seven)?;
    elasticsearch.refresh(&index)?;
    let found: BTreeMap<String, i64> = elasticsearch
        .documents(&index)?
        .into_iter()
        .map(|(id, document)| (id, document["url_count"].as_i64().unwrap_or(-1)))
        .collect();
    ensure!(found == counts, "windows differ: {}", difference(&counts, &found));
    Ok(())
}

fn application_logs(context: &Context, course: Course) -> Result<()> {
    let folder = context.folder().join("parquet");
    let path = folder.display().to_string();
    let lines = play(context, &APPLICATION_LOGS, course, &[("parquet_sink.path", &path)])?;
    same_parquet_rows(&folder, enriched_logs(&lines)?)
}

/// What the enriched logs are, computed from the produced rows.
pub(crate) fn enriched_logs(lines: &[Value]) -> Result<BTreeMap<String, i64>> {
    let mut expected = BTreeMap::new();
    for line in lines {
        let body: Value = serde_json::from_str(text(line, "body")?)?;
        let mobile = body["data"]["mobile"].as_str().or(line["attributes"]["mobile"].as_str());
        let row = json!({
            "timestamp": line["timestamp"], "serviceName": line["serviceName"], "severityText": line["severityText"],
            "msg": line["attributes"]["msg"], "url": line["attributes"]["url"], "mobile": mobile,
            "attributes": line["attributes"], "resources": line["resources"], "body": line["body"],
        });
        expected.insert(row.to_string(), 1_i64);
    }
    Ok(expected)
}

pub(crate) fn application_logs_are_partitioned_by_day_and_hour(context: &Context) -> Result<()> {
    let folder = context.folder().join("silver");
    let path = folder.display().to_string();
    let lines = play(context, &APPLICATION_LOGS_PARTITIONED, Course::OneRun, &[("parquet_silver.path", &path)])?;
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for line in &lines {
        let body: Value = serde_json::from_str(text(line, "body")?)?;
        let mobile = body["data"]["mobile"].as_str().or(line["attributes"]["mobile"].as_str());
        let time = text(line, "timestamp")?;
        let row = json!({
            "service": line["serviceName"], "severity": line["severityText"], "msg": line["attributes"]["msg"],
            "mobile": mobile, "is_json": 1, "has_data": 1, "retries": 0,
            "log_date": &time[..10], "log_hour": time[11..13].parse::<i64>()?,
        });
        *expected.entry(row.to_string()).or_default() += 1;
    }
    same_parquet_rows(&folder, expected)
}

fn web_traffic(context: &Context, course: Course) -> Result<()> {
    let table = context.unique("traffic");
    let init = std::fs::read_to_string(example_path(&WEB_TRAFFIC, "init.sql")?)?;
    let mut client = context.postgres()?;
    client.execute(&init.replace("aggregated_web_traffic", &table))?;
    let url = format!("jdbc:postgresql://{}/{}", context.services().postgres()?.address(), postgres::DATABASE);
    let options = [
        ("aggregated_web_traffic.table-name", table.as_str()),
        ("aggregated_web_traffic.url", &url),
        ("aggregated_web_traffic.username", postgres::USER),
        ("aggregated_web_traffic.password", postgres::PASSWORD),
    ];
    let lines = play(context, &WEB_TRAFFIC, course, &options)?;
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for line in &lines {
        let minute = minutes_of(&text(line, "event_time")?[..16])?;
        let start = minute_text(minute.div_euclid(5) * 5, ' ');
        let (city, country) = place_of(text(line, "ip")?);
        let key = format!("{start}:00|{}|{}|{city}|{country}", text(line, "host")?, text(line, "referrer")?);
        *expected.entry(key).or_default() += 1;
    }
    let rows = client.query(&format!(
        "SELECT to_char(event_time, 'YYYY-MM-DD HH24:MI:SS') || '|' || host || '|' || referrer || '|' || \
           coalesce(headers::json->>'city', '') || '|' || country, num_hits::text FROM {table} \
         WHERE city = coalesce(headers::json->>'city', '')"
    ))?;
    let mut found: BTreeMap<String, i64> = BTreeMap::new();
    for row in rows {
        let [key, hits] = row.as_slice() else { bail!("two columns expected, found {row:?}") };
        found.insert(key.clone(), hits.parse()?);
    }
    ensure!(found == expected, "hits differ: {}", difference(&expected, &found));
    Ok(())
}

/// City and country of a generated address, as places.csv says them.
fn place_of(ip: &str) -> (&'static str, &'static str) {
    match ip.rsplit('.').next().and_then(|last| last.parse::<u8>().ok()) {
        Some(0..64) => ("Sydney", "Australia"),
        Some(64..128) => ("Melbourne", "Australia"),
        Some(128..192) => ("Toronto", "Canada"),
        Some(192..224) => ("New York", "United States"),
        _ => ("", ""),
    }
}

/// The analysis of the example's table is compared with what PostgreSQL itself says.
pub(crate) fn web_traffic_is_analysed_by_day(context: &Context) -> Result<()> {
    let table = context.unique("analysed");
    let init = std::fs::read_to_string(example_path(&WEB_TRAFFIC, "init.sql")?)?;
    let mut client = context.postgres()?;
    client.execute(&init.replace("aggregated_web_traffic", &table))?;
    // Five cities and a host without a place, five windows a day, on four days; one city is silent on one of them.
    client.execute(&format!(
        "INSERT INTO {table} (host, referrer, headers, event_time, num_hits) \
         SELECT 'h' || city, '', \
           CASE WHEN city < 5 THEN json_build_object('city', 'City ' || city, 'country', 'Country ' || city % 2)::text END, \
           TIMESTAMP '2024-03-01' + day * INTERVAL '1 day' + part * INTERVAL '5 hours', 7 + (city * 31 + day * 17 + part * 5) % 89 \
         FROM generate_series(0, 5) AS city, generate_series(0, 3) AS day, generate_series(0, 4) AS part \
         WHERE NOT (city = 2 AND day = 1)"
    ))?;
    let url = format!("jdbc:postgresql://{}/{}", context.services().postgres()?.address(), postgres::DATABASE);
    let mut arguments = vec!["run".to_owned(), example_path(&WEB_TRAFFIC, "analysis.sql")?.display().to_string()];
    arguments.extend(["--state".to_owned(), context.folder().join("state").display().to_string()]);
    for (key, value) in
        [("table-name", table.as_str()), ("url", &url), ("username", postgres::USER), ("password", postgres::PASSWORD)]
    {
        arguments.extend(["--table-option".to_owned(), format!("aggregated_web_traffic.{key}={value}")]);
    }
    let run = context.run(&arguments, 60)?.expect_code(0)?;
    let found: Vec<Vec<String>> = run
        .stdout
        .lines()
        .filter(|line| line.starts_with('|') && line.contains("2024-03-"))
        .map(|line| line.trim_matches('|').split('|').skip(1).map(|cell| cell.trim().to_owned()).collect())
        .collect();
    let expected = client.query(&format!(
        "WITH days AS (SELECT coalesce(headers::json->>'city', host) AS city, coalesce(headers::json->>'country', '-') AS country, \
           event_time::date AS day, sum(num_hits) AS hits FROM {table} GROUP BY 1, 2, 3), \
         sums AS (SELECT *, sum(hits) OVER (PARTITION BY country, day) AS country_hits, sum(hits) OVER () AS all_hits, \
           lag(hits) OVER (PARTITION BY city, country ORDER BY day) AS before, \
           lead(hits) OVER (PARTITION BY city, country ORDER BY day) AS after FROM days) \
         SELECT day::text, city, country, hits::text, country_hits::text, round(hits * 100.0 / all_hits, 2)::text, \
           coalesce(before::text, '<NULL>'), coalesce(after::text, '<NULL>'), coalesce((after - before)::text, '<NULL>') \
         FROM sums ORDER BY sums.hits DESC, sums.day, sums.city COLLATE \"C\" LIMIT 10"
    ))?;
    ensure!(expected.len() == 10, "PostgreSQL gives {} rows", expected.len());
    ensure!(found == expected, "expected {expected:?}, found {found:?}");
    Ok(())
}

// ---------------------------------------------------------------- playing an example

fn example_path(example: &Example, file: &str) -> Result<PathBuf> {
    Ok(repository()?.join("examples").join(example.folder).join(file))
}

/// The bounded run of a system over `count` generated rows that are in its topic, everything pointed at the test servers: the words behind
/// `wiesel`. For who measures it.
pub(crate) fn bounded_run(context: &Context, system: &str, count: usize) -> Result<Vec<String>> {
    let all = [PAYMENTS, AMOUNTS, EDGE_LOGS, APPLICATION_LOGS, WEB_TRAFFIC];
    let example = all.into_iter().find(|example| example.folder == system).context("no such system")?;
    let names: Vec<String>;
    let options: Vec<(&str, &str)> = match system {
        "payments-to-elasticsearch" | "windowed-amounts-to-elasticsearch" => {
            names = vec![context.unique("measured")];
            vec![("es_sink.index", names[0].as_str())]
        }
        "logs-to-elasticsearch" => {
            names = ["urls", "statuses", "latest"].map(|name| context.unique(name)).to_vec();
            let tables = ["url_counts.index", "status_counts.index", "org_latest.index"];
            tables.into_iter().zip(names.iter().map(String::as_str)).collect()
        }
        "logs-to-parquet" => {
            names = vec![context.folder().join("parquet").display().to_string()];
            vec![("parquet_sink.path", names[0].as_str())]
        }
        _ => {
            let table = context.unique("measured");
            let init = std::fs::read_to_string(example_path(&example, "init.sql")?)?;
            context.postgres()?.execute(&init.replace("aggregated_web_traffic", &table))?;
            let url = format!("jdbc:postgresql://{}/{}", context.services().postgres()?.address(), postgres::DATABASE);
            names = vec![table, url];
            vec![
                ("aggregated_web_traffic.table-name", names[0].as_str()),
                ("aggregated_web_traffic.url", names[1].as_str()),
                ("aggregated_web_traffic.username", postgres::USER),
                ("aggregated_web_traffic.password", postgres::PASSWORD),
            ]
        }
    };
    let lines = generate(context, &example, count)?;
    let topic = context.unique(example.source);
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 4)?;
    kafka.produce(&topic, &lines)?;
    let file = example_path(&example, example.file)?.display().to_string();
    let mut run = arguments(context, &example, &file, &topic, &options)?;
    run.extend(bounded_option(&example));
    Ok(run)
}

/// Runs an example over generated rows, in one run or through kills; gives back the rows.
fn play(context: &Context, example: &Example, course: Course, options: &[(&str, &str)]) -> Result<Vec<Value>> {
    let count = match course {
        Course::OneRun => 2000,
        Course::Kills => ROWS_PER_KILL * (KILLS + 2),
    };
    let lines = generate(context, example, count)?;
    let topic = context.unique(example.source);
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 4)?;
    let file = match course {
        Course::OneRun => example_path(example, example.file)?.display().to_string(),
        Course::Kills => {
            let text = std::fs::read_to_string(example_path(example, example.file)?)?;
            let without: Vec<&str> = text.lines().filter(|l| !l.contains("execution.checkpointing.")).collect();
            let text = format!("SET 'execution.checkpointing.interval' = '200 ms';\n{}", without.join("\n"));
            beside(context, example)?;
            context.write("job.sql", &text)?
        }
    };
    let arguments = arguments(context, example, &file, &topic, options)?;
    match course {
        Course::OneRun => {
            kafka.produce(&topic, &lines)?;
            let mut bounded = arguments;
            bounded.extend(bounded_option(example));
            context.run(&bounded, 120)?.expect_code(0)?;
        }
        Course::Kills => kills(context, example, &topic, &lines, &arguments)?,
    }
    lines.iter().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn generate(context: &Context, example: &Example, count: usize) -> Result<Vec<String>> {
    let number = count.to_string();
    let shape = ["--to", "file", "--seed", "7", "--start", START_MS, "--rate", example.rate, "--count", &number];
    let arguments = ["generate", example.folder].into_iter().chain(shape);
    let generated = context.run(arguments, 60)?.expect_code(0)?;
    let lines: Vec<String> = generated.stdout.lines().map(str::to_owned).collect();
    ensure!(lines.len() == count, "{} lines were generated", lines.len());
    Ok(lines)
}

/// Puts what a job looks for beside its file beside the copy, too: Python modules and files of places.
fn beside(context: &Context, example: &Example) -> Result<()> {
    for entry in std::fs::read_dir(example_path(example, "")?)? {
        let path = entry?.path();
        let is_wanted = path.extension().is_some_and(|extension| extension == "py" || extension == "mmdb");
        if let Some(name) = path.file_name().filter(|_| is_wanted) {
            std::fs::copy(&path, context.folder().join(name))?;
        }
    }
    Ok(())
}

fn bounded_option(example: &Example) -> [String; 2] {
    ["--table-option".to_owned(), format!("{}.scan.bounded.mode=latest-offset", example.source)]
}

fn arguments(
    context: &Context,
    example: &Example,
    file: &str,
    topic: &str,
    options: &[(&str, &str)],
) -> Result<Vec<String>> {
    let mut arguments = vec!["run".to_owned(), file.to_owned()];
    let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
    add("--state", context.folder().join("state").display().to_string());
    {
        let broker = context.services().kafka()?;
        if example.folder == APPLICATION_LOGS.folder {
            add("--map", format!("{}={}", example.brokers, broker.sasl_ssl()));
            let ca = broker.ca_file().display().to_string();
            add("--table-option", format!("{}.properties.ssl.truststore.type=PEM", example.source));
            add("--table-option", format!("{}.properties.ssl.truststore.location={ca}", example.source));
        } else {
            add("--map", format!("{}={}", example.brokers, broker.plaintext()));
        }
    }
    if example.folder != APPLICATION_LOGS.folder && example.folder != WEB_TRAFFIC.folder {
        let elasticsearch = context.services().elasticsearch(Line::Seven)?.url();
        let address = elasticsearch.trim_start_matches("http://").to_owned();
        for host in ["elasticsearch:9200", "localhost:9200"] {
            add("--map", format!("{host}={address}"));
        }
    }
    add("--table-option", format!("{}.topic={topic}", example.source));
    add("--table-option", format!("{}.scan.startup.mode=earliest-offset", example.source));
    for (key, value) in options {
        add("--table-option", format!("{key}={value}"));
    }
    Ok(arguments)
}

fn kills(context: &Context, example: &Example, topic: &str, lines: &[String], arguments: &[String]) -> Result<()> {
    let kafka = context.kafka()?;
    let state = context.folder().join("state");
    let mut chunks = lines.chunks(ROWS_PER_KILL);
    kafka.produce(topic, chunks.next().context("rows")?)?;
    for kill in 1..=KILLS {
        let before = newest_manifest(&state)?;
        let program = context.spawn(arguments)?;
        // Two more: the second one surely began after this run had read something.
        program.wait_until(60, "two new checkpoints", |_| newest_manifest(&state).is_ok_and(|id| id >= before + 2))?;
        kafka.produce(topic, chunks.next().context("rows")?)?;
        program.kill()?;
        context.note(format!("kill {kill}: after checkpoint {}", newest_manifest(&state)?));
    }
    for rest in chunks {
        kafka.produce(topic, rest)?;
    }
    let mut bounded = arguments.to_vec();
    bounded.extend(bounded_option(example));
    context.run(&bounded, 120)?.expect_code(0)?.expect_stderr("resumed from checkpoint")?;
    Ok(())
}

// ---------------------------------------------------------------- comparing

fn same_documents(context: &Context, index: &str, expected: BTreeMap<String, Value>) -> Result<()> {
    let elasticsearch = context.elasticsearch(Line::Seven)?;
    elasticsearch.refresh(index)?;
    let found: BTreeMap<String, Value> = elasticsearch.documents(index)?.into_iter().collect();
    ensure!(found == expected, "documents of {index} differ: {}", difference(&expected, &found));
    Ok(())
}

/// Every picture of the system's dashboard has something to show: what it asks of Elasticsearch is asked here, of the index that stands for
/// its pattern.
fn pictures_have_groups(context: &Context, system: &str, indices: &[(&str, &str)]) -> Result<()> {
    let file = repository()?.join("examples").join(system).join("kibana-7.8.ndjson");
    let mut patterns: BTreeMap<String, String> = BTreeMap::new();
    let mut pictures = 0;
    for line in std::fs::read_to_string(&file)?.lines() {
        let object: Value = serde_json::from_str(line)?;
        match object["type"].as_str() {
            Some("index-pattern") => {
                patterns.insert(text(&object, "id")?.to_owned(), text(&object["attributes"], "title")?.to_owned());
            }
            Some("visualization") => {
                let pattern = patterns.get(text(&object["references"][0], "id")?).context("a picture of no index")?;
                let (_, index) =
                    indices.iter().find(|(of, _)| of == pattern).with_context(|| format!("no `{pattern}`"))?;
                let state: Value = serde_json::from_str(text(&object["attributes"], "visState")?)?;
                let mut question = Value::Null;
                for part in state["aggs"].as_array().context("a picture without aggregations")?.iter().rev() {
                    let field = &part["params"]["field"];
                    let own = match part["type"].as_str() {
                        Some("sum") => json!({ "sum": { "field": field } }),
                        Some("count") => continue,
                        // The metric is the innermost: what was built so far is below this one.
                        _ => json!({ "terms": { "field": field } }),
                    };
                    if part["type"] == "sum" {
                        innermost(&mut question, own);
                    } else {
                        question = outermost(&own, question);
                    }
                }
                let answer = context
                    .elasticsearch(Line::Seven)?
                    .search(index, &json!({ "size": 0, "aggs": { "part": question } }))?;
                let buckets = answer["aggregations"]["part"]["buckets"].as_array().context("buckets")?;
                ensure!(!buckets.is_empty(), "`{}` shows nothing of {index}: {answer}", object["attributes"]["title"]);
                let sums = buckets.iter().filter(|bucket| !answer_has_sum(bucket)).count();
                ensure!(sums == 0, "`{}`: groups without a sum: {answer}", object["attributes"]["title"]);
                pictures += 1;
            }
            _ => {}
        }
    }
    ensure!(pictures > 0, "`{}` has no pictures", file.display());
    Ok(())
}

/// An aggregation with another one below it.
fn outermost(own: &Value, below: Value) -> Value {
    let mut own = own.clone();
    if !below.is_null() {
        own["aggs"] = json!({ "part": below });
    }
    own
}

/// Puts the metric below the last group.
fn innermost(question: &mut Value, metric: Value) {
    if question.is_null() {
        return;
    }
    if question["aggs"].is_null() {
        question["aggs"] = json!({ "metric": metric });
    } else {
        innermost(&mut question["aggs"]["part"], metric);
    }
}

/// Whether each group below has its metric, or is one of documents that are counted.
fn answer_has_sum(bucket: &Value) -> bool {
    match bucket["part"]["buckets"].as_array() {
        Some(below) => !below.is_empty() && below.iter().all(answer_has_sum),
        None => bucket["metric"].is_null() || bucket["metric"]["value"].is_number(),
    }
}

pub(crate) fn same_parquet_rows(folder: &Path, expected: BTreeMap<String, i64>) -> Result<()> {
    for reader in ["duckdb", "pyarrow"] {
        let mut found: BTreeMap<String, i64> = BTreeMap::new();
        for row in python::parquet_rows(folder, reader)? {
            *found.entry(row.to_string()).or_default() += 1;
        }
        ensure!(found == expected, "rows as {reader} reads them differ: {}", difference(&expected, &found));
    }
    Ok(())
}

/// The first few entries that only one side has, or that differ.
fn difference<V: PartialEq + std::fmt::Debug>(expected: &BTreeMap<String, V>, found: &BTreeMap<String, V>) -> String {
    let mut text = format!("expected {} entries, found {}", expected.len(), found.len());
    let keys: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    for key in keys.into_iter().filter(|k| expected.get(*k) != found.get(*k)).take(5) {
        text.push_str(&format!("\n  {key}: expected {:?}, found {:?}", expected.get(key), found.get(key)));
    }
    text
}

fn text<'a>(line: &'a Value, field: &str) -> Result<&'a str> {
    line[field].as_str().with_context(|| format!("no text `{field}` in {line}"))
}

fn integer(line: &Value, field: &str) -> Result<i64> {
    line[field].as_i64().with_context(|| format!("no integer `{field}` in {line}"))
}

fn number(line: &Value, field: &str) -> Result<f64> {
    line[field].as_f64().with_context(|| format!("no number `{field}` in {line}"))
}

/// Minutes since midnight of 2025-05-20 of `2025-05-2xT10:11`; the generated rows stay within that month.
fn minutes_of(text: &str) -> Result<i64> {
    let day: i64 = text[8..10].parse()?;
    let (hour, minute): (i64, i64) = (text[11..13].parse()?, text[14..16].parse()?);
    Ok((day - 20) * 1440 + hour * 60 + minute)
}

fn minute_text(minutes: i64, separator: char) -> String {
    let (day, of_day) = (20 + minutes.div_euclid(1440), minutes.rem_euclid(1440));
    format!("2025-05-{day:02}{separator}{:02}:{:02}", of_day / 60, of_day % 60)
}

fn next_minutes(minute: &str, by: i64) -> Result<String> {
    Ok(format!("{}:00", minute_text(minutes_of(minute)? + by, ' ')))
}
