//! The compose files of the systems: their form, and what each of wiesel's services does when it is run as a process.
//!
//! No container engine is at hand where the tests run. So the files are read into types that know what a compose file may say here and
//! nothing else, and the commands of wiesel's own images are run as they stand, hosts and folders put in place of the containers'.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::commands::test::repository;
use crate::e2e::context::Context;
use crate::services::elasticsearch::Line;
use crate::services::{postgres, python};

const SYSTEMS: [&str; 5] = [
    "logs-to-elasticsearch",
    "logs-to-parquet",
    "payments-to-elasticsearch",
    "web-traffic-to-postgresql",
    "windowed-amounts-to-elasticsearch",
];
const ROW_COUNT: &str = "200";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Compose {
    services: BTreeMap<String, Service>,
    #[serde(default)]
    volumes: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    image: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    depends_on: Vec<String>,
    restart: Option<String>,
}

fn read(system: &str) -> Result<Compose> {
    let path = repository()?.join("examples").join(system).join("compose.yaml");
    serde_saphyr::from_str(&fs::read_to_string(&path)?).with_context(|| format!("read `{}`", path.display()))
}

/// The two images of the Dockerfile: the program, and the program with an interpreter.
fn is_ours(service: &Service) -> bool {
    matches!(service.image.as_str(), "wiesel" | "wiesel-python")
}

fn check_form(system: &str, compose: &Compose) -> Result<()> {
    for (name, service) in &compose.services {
        let place = format!("{system}, service `{name}`");
        for other in &service.depends_on {
            ensure!(compose.services.contains_key(other), "{place} depends on `{other}`, which is no service");
        }
        for port in &service.ports {
            ensure!(port.starts_with("127.0.0.1:"), "{place}: port `{port}` is open to others");
        }
        for volume in &service.volumes {
            let source = volume.split(':').next().unwrap_or_default();
            let is_there = match source.strip_prefix("./") {
                Some(file) => repository()?.join("examples").join(system).join(file).exists(),
                None => compose.volumes.contains_key(source),
            };
            ensure!(is_there, "{place}: volume `{volume}` is nowhere");
        }
        if is_ours(service) {
            ensure!(!service.command.is_empty() && service.environment.is_empty(), "{place} has no command");
        } else {
            ensure!(
                service.image.contains(':') && !service.image.ends_with(":latest"),
                "{place}: `{}` is no version",
                service.image
            );
        }
        ensure!(service.restart.as_deref().is_none_or(|r| r == "on-failure"), "{place}: restart");
    }
    Ok(())
}

pub(crate) fn services_run_as_processes(context: &Context) -> Result<()> {
    for system in SYSTEMS {
        let compose = read(system)?;
        check_form(system, &compose)?;
        run(context, system, &compose).with_context(|| format!("the services of {system}"))?;
    }
    Ok(())
}

fn run(context: &Context, system: &str, compose: &Compose) -> Result<()> {
    let services = context.services();
    let (kafka, elasticsearch) = (services.kafka()?.plaintext(), services.elasticsearch(Line::Seven)?.url());
    let hosts = [
        ("kafka:9092", kafka),
        ("elasticsearch:9200", elasticsearch.trim_start_matches("http://").to_owned()),
        ("postgres:5432", services.postgres()?.address()),
    ];
    let example = repository()?.join("examples").join(system);
    let own = context.folder().join(system);
    fs::create_dir_all(&own)?;
    // What the containers' names and folders stand for here. A command that names a host maps it itself; the job's own names are mapped
    // as the containers' network would.
    let here = |argument: &String| {
        let mut text = argument.replace("/job/", &format!("{}/", example.display()));
        for folder in ["/state", "/data"] {
            text = text.replace(folder, &format!("{}{folder}", own.display()));
        }
        for (name, address) in &hosts {
            text = text.replace(name, address);
        }
        text
    };
    let command = |name: &str, more: &[&str]| -> Result<Vec<String>> {
        let service = compose.services.get(name).with_context(|| format!("no service `{name}`"))?;
        ensure!(is_ours(service), "`{name}` is not ours");
        let mut command: Vec<String> = service.command.iter().map(here).collect();
        command.extend(more.iter().map(|s| (*s).to_owned()));
        Ok(command)
    };
    if compose.services.contains_key("dashboard") {
        // There is no Kibana here: the command is understood, and ends when its time is over.
        let replaced = |word: String| word.replace("http://kibana:5601", "http://127.0.0.1:1").replace("600", "0");
        let load: Vec<String> = command("dashboard", &[])?.into_iter().map(replaced).collect();
        context.run(&load, 60)?.expect_code(1)?.expect_stderr("did not serve within 0 s")?;
    }
    if system == "web-traffic-to-postgresql" {
        context.postgres()?.execute(&format!(
            "DROP TABLE IF EXISTS aggregated_web_traffic; {}",
            fs::read_to_string(example.join("init.sql"))?
        ))?;
    }
    let generated = command("generator", &["--count", ROW_COUNT, "--burst", "--start", "1747735872000"])?;
    context.run(&generated, 120)?.expect_code(0)?.expect_stderr(&format!("{ROW_COUNT} rows are in topic"))?;
    let source = match system {
        "logs-to-elasticsearch" => "edge_logs",
        "logs-to-parquet" => "kafka_logs",
        "payments-to-elasticsearch" => "payment_msg",
        "web-traffic-to-postgresql" => "web_traffic",
        _ => "transaction_msg",
    };
    let mut job = command("wiesel", &[])?;
    for option in ["scan.startup.mode=earliest-offset", "scan.bounded.mode=latest-offset"] {
        job.extend(["--table-option".to_owned(), format!("{source}.{option}")]);
    }
    for (name, address) in &hosts {
        job.extend(["--map".to_owned(), format!("{name}={address}")]);
    }
    if system == "web-traffic-to-postgresql" {
        let url = format!("jdbc:postgresql://{}/{}", services.postgres()?.address(), postgres::DATABASE);
        for option in
            [format!("url={url}"), format!("username={}", postgres::USER), format!("password={}", postgres::PASSWORD)]
        {
            job.extend(["--table-option".to_owned(), format!("aggregated_web_traffic.{option}")]);
        }
    }
    context.run(&job, 180)?.expect_code(0)?.expect_stderr("finished; 200 rows in")?;
    let count = match system {
        "logs-to-parquet" => python::parquet_rows(&own.join("data/logs"), "duckdb")?.len(),
        "web-traffic-to-postgresql" => context.postgres()?.query("SELECT * FROM aggregated_web_traffic")?.len(),
        _ => {
            let index = match system {
                "logs-to-elasticsearch" => index_of(&example, "url_counts")?,
                "payments-to-elasticsearch" => "platform_pay_amount_1".to_owned(),
                _ => "total_amount".to_owned(),
            };
            let client = context.elasticsearch(Line::Seven)?;
            client.refresh(&index)?;
            client.documents(&index)?.len()
        }
    };
    ensure!(count > 0, "nothing was written");
    Ok(())
}

/// The name of an index that the job writes.
fn index_of(example: &Path, name: &str) -> Result<String> {
    let text = fs::read_to_string(example.join("job.sql"))?;
    ensure!(text.contains(&format!("'index' = '{name}'")), "the job writes no index `{name}`");
    Ok(name.to_owned())
}
