//! The table of a system, between two marks in its page: what stands outside of them is written by hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::measured::{Measured, ROW_COUNT};
use super::{Before, Component};

const BEGIN: &str = "<!-- figures of `cargo xtask systems --write`: begin -->";
const END: &str = "<!-- figures: end -->";

/// What is read of a compose file.
#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
struct Service {
    image: String,
    #[serde(default)]
    command: Vec<String>,
}

/// The components of the system's compose file.
fn components_after(root: &Path, system: &str) -> Result<BTreeMap<String, Component>> {
    let path = root.join("examples").join(system).join("compose.yaml");
    let compose: Compose =
        serde_saphyr::from_str(&fs::read_to_string(&path)?).with_context(|| format!("read `{}`", path.display()))?;
    let mut found = BTreeMap::new();
    for (name, service) in compose.services {
        let image = service.image.rsplit('/').next().unwrap_or_default();
        let component = match image.split(':').next().unwrap_or_default() {
            "wiesel" | "wiesel-python" => match service.command.first().map(String::as_str) {
                Some("generate") => Component::Generator,
                Some("kibana") => Component::KibanaLoader,
                _ => Component::Wiesel,
            },
            "kafka" => Component::Kafka,
            "elasticsearch" => Component::Elasticsearch,
            "kibana" => Component::Kibana,
            "postgres" => Component::Postgres,
            "pgadmin4" => Component::PgAdmin,
            other => anyhow::bail!("`{}`: no figures for the image `{other}`", path.display()),
        };
        found.insert(name, component);
    }
    Ok(found)
}

/// Memory, seconds until it serves, and a word on how.
fn figures(component: Component, system: &str, measured: &Measured) -> (Option<f64>, Option<f64>, &'static str) {
    match component {
        Component::JobManager => (Some(measured.job_manager_mb), Some(measured.cluster_s), "with the TaskManager"),
        Component::TaskManager => {
            (Some(measured.task_manager_mb), None, "without the Python processes of a job, with a SELECT over Kafka")
        }
        // The same three processes in one: their sum, not measured as one.
        Component::PyflinkProgram => (None, None, "not measured: one JVM and Python in one program"),
        Component::Zookeeper => (None, None, "not measured: on no machine of the tests"),
        Component::Kafka => (Some(measured.kafka.peak_mb), Some(measured.kafka.seconds), "heap 768 MB"),
        Component::Elasticsearch => {
            (Some(measured.elasticsearch.peak_mb), Some(measured.elasticsearch.seconds), "7.17, heap 512 MB")
        }
        Component::Postgres => {
            (Some(measured.postgres.peak_mb), Some(measured.postgres.seconds), "peaks of its processes summed")
        }
        Component::Kibana | Component::PgAdmin => (None, None, "not measured: never run without containers"),
        Component::Generator => (None, None, "not measured: test data"),
        Component::KibanaLoader => (None, None, "ends when the dashboard is loaded"),
        Component::Wiesel => {
            let job = measured.jobs.get(system);
            let note = if job.is_some_and(|job| job.python_mb > 0.0) { "its Python processes included" } else { "" };
            (job.map(|job| job.peak_mb + job.python_mb), Some(measured.wiesel_first_row_s), note)
        }
    }
}

/// The whole table of a system.
pub(super) fn table(root: &Path, system: &str, before: &Before, measured: &Measured) -> Result<String> {
    let after = components_after(root, system)?;
    let mut text =
        String::from("| component | before: GB | before: s | after: GB | after: s | |\n|---|---|---|---|---|---|\n");
    let names: std::collections::BTreeSet<&String> = before.components.keys().chain(after.keys()).collect();
    let mut sums = [0.0_f64; 2];
    for name in names {
        let mut cells = vec![name.clone()];
        let mut note = "";
        for (side, component) in [before.components.get(name), after.get(name)].into_iter().enumerate() {
            let Some(component) = component else {
                cells.extend(["–".to_owned(), "–".to_owned()]);
                continue;
            };
            let (memory_mb, seconds, word) = figures(*component, system, measured);
            note = if word.is_empty() { note } else { word };
            sums[side] += memory_mb.unwrap_or_default();
            cells.push(memory_mb.map_or_else(|| "?".to_owned(), |mb| format!("{:.2}", mb / 1024.0)));
            cells.push(seconds.map_or_else(|| "?".to_owned(), |s| format!("{s:.1}")));
        }
        cells.push(note.to_owned());
        writeln!(text, "| {} |", cells.join(" | "))?;
    }
    writeln!(text, "| sum of what was measured | {:.2} | | {:.2} | | |", sums[0] / 1024.0, sums[1] / 1024.0)?;
    let job = measured.jobs.get(system).context("every system has a job")?;
    let containers = |count: usize| if count == 0 { "none: started by hand".to_owned() } else { count.to_string() };
    // Who starts a Python program starts the servers by hand, too.
    let is_contained = !before.components.values().any(|component| *component == Component::PyflinkProgram);
    let steps = steps_after(root, system)?;
    let of_flink = measured.job_manager_mb + measured.task_manager_mb;
    write!(
        text,
        "\n| | before | after |\n|---|---|---|\n\
         | containers | {} | {} |\n\
         | steps until rows come out | {} | {} |\n\
         | memory of what runs the job | {}{:.2} GB: JobManager and TaskManager, and {:.2} GB more while a client submits | {:.2} GB |\n\
         | files of what runs the job | {:.0} MB of jars, without Java and Python | {:.0} MB, one file{} |\n\
         | from nothing to the first row of a SELECT | {:.1} s: cluster {:.1} s, client {:.1} s | {:.2} s |\n\
         | the system's own job over {ROW_COUNT} rows, from its start to its end | not run | {:.2} s |\n",
        if is_contained { containers(before.components.len()) } else { containers(0) },
        after.len(),
        before.steps.len(),
        steps.len(),
        if is_contained { "" } else { "not measured as one program; as a cluster " },
        of_flink / 1024.0,
        measured.client_mb / 1024.0,
        (job.peak_mb + job.python_mb) / 1024.0,
        measured.flink_disk_mb,
        measured.wiesel_disk_mb,
        if job.python_mb > 0.0 { ", without Python and pyarrow" } else { "" },
        measured.cluster_s + measured.flink_first_row_s,
        measured.cluster_s,
        measured.flink_first_row_s,
        measured.wiesel_first_row_s,
        job.seconds,
    )?;
    text.push_str("\nSteps before, as the document has them:\n");
    for (number, step) in before.steps.iter().enumerate() {
        writeln!(text, "{}. {step}", number + 1)?;
    }
    text.push_str("\nSteps after:\n");
    for (number, step) in steps.iter().enumerate() {
        writeln!(text, "{}. `{step}`", number + 1)?;
    }
    write!(
        text,
        "\nA `?` was not measured. Memory is the peak of resident memory; Flink is 1.20 with the memory settings that it comes with. Machine: {}.\n",
        measured.machine
    )?;
    Ok(text)
}

/// What is typed in the example's folder: `make build` and `make up`, where its Makefile has them.
fn steps_after(root: &Path, system: &str) -> Result<Vec<String>> {
    let makefile = fs::read_to_string(root.join("examples").join(system).join("Makefile"))?;
    let mut steps = vec![format!("wiesel init {system} && cd {system}")];
    for verb in ["build", "up"] {
        anyhow::ensure!(makefile.lines().any(|line| line == format!("{verb}:")), "{system} has no `make {verb}`");
        steps.push(format!("make {verb}"));
    }
    Ok(steps)
}

/// Replaces what stands between the marks of a page.
pub(super) fn put(path: &Path, table: &str) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("read `{}`", path.display()))?;
    let (head, rest) = text.split_once(BEGIN).with_context(|| format!("`{}` has no mark `{BEGIN}`", path.display()))?;
    let (_, tail) = rest.split_once(END).with_context(|| format!("`{}` has no mark `{END}`", path.display()))?;
    fs::write(path, format!("{head}{BEGIN}\n{table}{END}{tail}"))?;
    Ok(())
}
