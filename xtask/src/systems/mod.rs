//! What each of the five systems needs before and after: containers, steps, memory, seconds.
//!
//! *Before* is counted from the systems' own documents (`docs/migration/before.yaml` says what they start and what a person types) and
//! measured on the real servers that a document names and that can be had without containers: Kafka, Elasticsearch, PostgreSQL, and an
//! Apache Flink session cluster with its SQL client. *After* is counted from `examples/*/compose.yaml` and measured on the same servers with
//! wiesel running the system's own job, Python functions included. What was not measured is said in its cell.

mod measured;
mod page;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

pub(crate) use measured::{Measured, megabytes};

/// The five, by the name of their folder.
pub(crate) const SYSTEMS: [&str; 5] = [
    "logs-to-elasticsearch",
    "windowed-amounts-to-elasticsearch",
    "logs-to-parquet",
    "payments-to-elasticsearch",
    "web-traffic-to-postgresql",
];

/// What the document of a system says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Before {
    /// Each process or container that it starts, and what it is.
    pub(crate) components: BTreeMap<String, Component>,
    /// What a person does until rows come out.
    pub(crate) steps: Vec<String>,
}

/// What a component is: by this its figures are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Component {
    JobManager,
    TaskManager,
    /// Flink inside of the Python program that a person starts.
    PyflinkProgram,
    Zookeeper,
    Kafka,
    Generator,
    Elasticsearch,
    Kibana,
    KibanaLoader,
    Postgres,
    PgAdmin,
    Wiesel,
}

/// Measures everything and prints the tables, or writes them into the pages.
pub(crate) fn run(root: &Path, binary: &Path, is_written: bool) -> Result<()> {
    let path = root.join("docs/migration/before.yaml");
    let before: BTreeMap<String, Before> =
        serde_saphyr::from_str(&fs::read_to_string(&path)?).with_context(|| format!("read `{}`", path.display()))?;
    let measured = Measured::take(binary)?;
    for system in SYSTEMS {
        let before = before.get(system).with_context(|| format!("`{}` has no `{system}`", path.display()))?;
        let table = page::table(root, system, before, &measured)?;
        if is_written {
            page::put(&root.join("docs/migration").join(format!("{system}.md")), &table)?;
        } else {
            println!("## {system}\n{table}");
        }
    }
    Ok(())
}
