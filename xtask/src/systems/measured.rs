//! Memory and seconds of real processes. Memory is the peak of resident memory (`VmHWM`), for a program with children the sum of theirs;
//! every time is one run's, because a person waits for one run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::SYSTEMS;
use crate::bench::measure;
use crate::e2e::cases::examples;
use crate::e2e::context::Context;
use crate::services::elasticsearch::Line;
use crate::services::flink::{Flink, Release};
use crate::services::process::{interrupted, spawn};
use crate::services::{Service, Services, python};

/// Rows that each system's job reads while it is measured.
pub(crate) const ROW_COUNT: usize = 2000;
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// A row on the terminal shows its kind, and nothing else does.
const ROW_MARK: &str = "| +I |";

/// A server that runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    /// From its start until it serves.
    pub(crate) seconds: f64,
    /// Peak of resident memory at the end of everything.
    pub(crate) peak_mb: f64,
}

/// A job of wiesel's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    /// From the start of the process until its end, all rows being in the sink.
    pub(crate) seconds: f64,
    /// Peak of resident memory of the program.
    pub(crate) peak_mb: f64,
    /// The same of its Python processes; 0 without any.
    pub(crate) python_mb: f64,
}

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) kafka: Server,
    pub(crate) elasticsearch: Server,
    pub(crate) postgres: Server,
    /// From the start of both processes until the slots are there.
    pub(crate) cluster_s: f64,
    pub(crate) job_manager_mb: f64,
    pub(crate) task_manager_mb: f64,
    /// The SQL client: a JVM of its own.
    pub(crate) client_mb: f64,
    /// From the start of the client until the first row on the terminal.
    pub(crate) flink_first_row_s: f64,
    /// Flink's jars, the Kafka connector among them.
    pub(crate) flink_disk_mb: f64,
    /// The same of wiesel, from the start of its process.
    pub(crate) wiesel_first_row_s: f64,
    pub(crate) wiesel_disk_mb: f64,
    pub(crate) jobs: BTreeMap<&'static str, Job>,
    /// What the machine is.
    pub(crate) machine: String,
}

impl Measured {
    /// Starts the servers, runs everything, stops them.
    pub(crate) fn take(binary: &Path) -> Result<Measured> {
        let python = python::interpreter()?;
        let mut started = BTreeMap::new();
        // One after another, so that each has the machine for itself.
        for service in [Service::Postgres, Service::Es7, Service::Kafka] {
            let start = Instant::now();
            let services = Services::start(&[service].into())?;
            started.insert(service, start.elapsed().as_secs_f64());
            services.close();
        }
        let services = Arc::new(Services::start(&[Service::Kafka, Service::Es7, Service::Postgres].into())?);
        let mut jobs = BTreeMap::new();
        for system in SYSTEMS {
            let context = Context::new(&format!("systems-{system}"), Arc::clone(&services), binary)?;
            let arguments = examples::bounded_run(&context, system, ROW_COUNT)?;
            let mut command = Command::new(binary);
            command.args(&arguments).current_dir(context.folder()).env("PYFLINK_EXECUTABLE", &python);
            jobs.insert(system, job(command, &context.folder().join("measured.log"))?);
            eprintln!("systems: {system}: {:?}", jobs.get(system));
        }
        let folder = tempfile::Builder::new().prefix("wiesel-systems-").tempdir()?;
        let probe = probe(&services, binary, folder.path())?;
        let mut wiesel = Command::new(binary);
        wiesel.arg("run").arg(&probe).current_dir(folder.path());
        let (wiesel_first_row_s, _) = until_first_row(wiesel)?;
        let start = Instant::now();
        let cluster = Flink::start(Release::V1, &folder.path().join("flink"))?;
        let cluster_s = start.elapsed().as_secs_f64();
        let (flink_first_row_s, client_mb) = until_first_row(cluster.client(&probe))?;
        let [job_manager, task_manager] = cluster.pids();
        let server = |service: Service, pid: Option<u32>| -> Result<Server> {
            let pid = pid.with_context(|| format!("{service:?} runs"))?;
            Ok(Server { seconds: started.get(&service).copied().unwrap_or_default(), peak_mb: family_mb(pid) })
        };
        let measured = Measured {
            kafka: server(Service::Kafka, services.kafka()?.pid())?,
            elasticsearch: server(Service::Es7, services.elasticsearch(Line::Seven)?.pid())?,
            postgres: server(Service::Postgres, services.postgres()?.pid())?,
            cluster_s,
            job_manager_mb: measure::peak_mb(job_manager)?,
            task_manager_mb: measure::peak_mb(task_manager)?,
            client_mb,
            flink_first_row_s,
            flink_disk_mb: cluster.disk_mb()?,
            wiesel_first_row_s,
            wiesel_disk_mb: megabytes(fs::metadata(binary)?.len()),
            jobs,
            machine: machine(),
        };
        drop(cluster);
        services.close();
        Ok(measured)
    }
}

/// A SELECT over a topic with the payments' rows, which both engines take as it is; where its file is.
fn probe(services: &Arc<Services>, binary: &Path, folder: &Path) -> Result<std::path::PathBuf> {
    let context = Context::new("systems-probe", Arc::clone(services), binary)?;
    let topic = context.unique("probe");
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 1)?;
    kafka.produce(&topic, (0..100).map(|id| format!("{{\"orderId\":{id},\"payAmount\":1.5}}")))?;
    let address = services.kafka()?.plaintext();
    let file = folder.join("probe.sql");
    let text = format!(
        "CREATE TABLE payment_msg (orderId BIGINT, payAmount DOUBLE) WITH ('connector' = 'kafka', 'topic' = '{topic}', \
         'properties.bootstrap.servers' = '{address}', 'properties.group.id' = 'probe', 'scan.startup.mode' = 'earliest-offset', \
         'scan.bounded.mode' = 'latest-offset', 'format' = 'json');\nSELECT orderId, payAmount FROM payment_msg;\n"
    );
    fs::write(&file, text)?;
    Ok(file)
}

/// Seconds until the first row on the terminal, and the peak of the program's memory then.
fn until_first_row(mut command: Command) -> Result<(f64, f64)> {
    let start = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = spawn(command)?;
    let output = child.stdout.take().context("stdout was asked for")?;
    let mut found = None;
    for line in BufReader::new(output).split(b'\n') {
        if found.is_none() && String::from_utf8_lossy(&line?).contains(ROW_MARK) {
            found = Some((start.elapsed().as_secs_f64(), measure::peak_mb(child.id()).unwrap_or_default()));
        }
    }
    let status = child.wait()?;
    found.with_context(|| format!("no row came before the end ({status})"))
}

/// Runs a job to its end.
fn job(mut command: Command, log: &Path) -> Result<Job> {
    let output = fs::File::create(log)?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let start = Instant::now();
    let mut child: Child = spawn(command).context("start wiesel")?;
    let (mut peak_mb, mut python_mb) = (0.0_f64, 0.0_f64);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if interrupted() {
            child.kill()?;
            child.wait()?;
            bail!("interrupted");
        }
        peak_mb = peak_mb.max(measure::peak_mb(child.id()).unwrap_or_default());
        python_mb = python_mb.max(family_mb(child.id()) - measure::peak_mb(child.id()).unwrap_or_default());
        std::thread::sleep(LOOK_INTERVAL);
    };
    let seconds = start.elapsed().as_secs_f64();
    ensure!(status.success(), "wiesel ended with {status}:\n{}", fs::read_to_string(log).unwrap_or_default());
    Ok(Job { seconds, peak_mb, python_mb: python_mb.max(0.0) })
}

/// The sum of the peaks of a process and of all below it.
fn family_mb(pid: u32) -> f64 {
    let mut sum = measure::peak_mb(pid).unwrap_or_default();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for task in tasks {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        sum += children.split_whitespace().filter_map(|child| child.parse().ok()).map(family_mb).sum::<f64>();
    }
    sum
}

#[allow(clippy::cast_precision_loss, reason = "sizes of files are far below 2^52")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory.lines().next().and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{cores} cores, {} GB, load average {} when the measurement ended",
        kilobytes.unwrap_or_default() / 1_048_576,
        load.split(' ').next().unwrap_or("?")
    )
}
