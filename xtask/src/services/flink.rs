//! An Apache Flink session cluster (one JobManager, one TaskManager with two slots) and its SQL client, for comparisons.
//!
//! The jars are those of the distribution, out of the Python package `apache-flink-libraries`; the scripts are not in it, so the two
//! processes are started with the flags that Flink's own `BashJavaUtils` prints. Memory settings stay at Flink's defaults (1728 MB for
//! the TaskManager, 1600 MB for the JobManager), because those are what a user gets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::cache::{self, Closure};
use super::packages;
use super::process::{Process, Signal, free_ports, guarded, run_tool, spawn};

const READY_LIMIT: Duration = Duration::from_secs(120);
/// What Java 17 must open to Flink, as in the distribution's configuration.
const OPENED_PACKAGES: [&str; 13] = [
    "java.base/java.lang",
    "java.base/java.lang.reflect",
    "java.base/java.io",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.text",
    "java.base/java.time",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/java.util.concurrent.locks",
    "java.base/sun.nio.ch",
    "java.base/sun.net.util",
];
const LOGGING: &str = "rootLogger.level = WARN\n\
    rootLogger.appenderRef.console.ref = console\n\
    appender.console.name = console\n\
    appender.console.type = CONSOLE\n\
    appender.console.layout.type = PatternLayout\n\
    appender.console.layout.pattern = %d %-5p %c{1} - %m%n\n";

/// What Flink's configuration says out of the box.
const DEFAULT_MEMORY: &str = "taskmanager.memory.process.size: 1728m";

/// The supported versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// 1.20: the reference for answers.
    V1,
    /// 2.3: the newest.
    V2,
}

impl Release {
    /// Full version.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Release::V1 => "1.20.5",
            Release::V2 => "2.3.0",
        }
    }

    /// The Kafka connector and the gateway, which the client's classes need, as far as they are published.
    fn coordinates(self) -> [&'static str; 2] {
        match self {
            Release::V1 => {
                ["org.apache.flink:flink-sql-connector-kafka:3.2.0-1.19", "org.apache.flink:flink-sql-gateway:1.20.3"]
            }
            Release::V2 => {
                ["org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2", "org.apache.flink:flink-sql-gateway:2.3.0"]
            }
        }
    }
}

/// A job as the JobManager remembers it.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// `FINISHED` when all went well.
    pub(crate) state: String,
    /// Flink's own duration, scheduling included.
    pub(crate) duration_ms: u64,
}

/// The running cluster.
pub(crate) struct Flink {
    distribution: PathBuf,
    class_path: String,
    folder: PathBuf,
    rest_port: u16,
    job_manager: Process,
    task_manager: Process,
}

impl Flink {
    /// Starts the cluster under `folder` and waits until its slots are registered.
    pub(crate) fn start(release: Release, folder: &Path) -> Result<Flink> {
        Flink::start_with(release, folder, DEFAULT_MEMORY)
    }

    /// The same with other settings of the TaskManager's memory, as lines of the configuration.
    pub(crate) fn start_with(release: Release, folder: &Path, memory: &str) -> Result<Flink> {
        let (distribution, class_path) = jars(release)?;
        let [rest_port, rpc_port] = free_ports()?;
        let conf = folder.join("conf");
        fs::create_dir_all(&conf)?;
        fs::write(conf.join("config.yaml"), configuration(folder, rest_port, rpc_port, memory))?;
        for name in ["log4j.properties", "log4j-cli.properties"] {
            fs::write(conf.join(name), LOGGING)?;
        }
        let launch = |name: &str, main_class: &str, memory: &str, stop: Signal| -> Result<Process> {
            let (flags, options) = memory_parameters(&distribution, &conf, memory)?;
            let mut command = java(&class_path, &conf, &flags);
            command.arg(main_class).arg("--configDir").arg(&conf).args(options);
            Process::start(name, command, &folder.join(format!("{name}.log")), stop)
        };
        let job_manager = launch(
            "flink-jobmanager",
            "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
            "GET_JM_RESOURCE_PARAMS",
            Signal::Term,
        )?;
        let task_manager = launch(
            "flink-taskmanager",
            "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
            "GET_TM_RESOURCE_PARAMS",
            Signal::Term,
        )?;
        let folder = folder.to_owned();
        let mut cluster = Flink { distribution, class_path, folder, rest_port, job_manager, task_manager };
        cluster.wait_ready()?;
        Ok(cluster)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let overview = format!("http://127.0.0.1:{}/overview", self.rest_port);
        self.task_manager.wait_until(READY_LIMIT, "its registration at the JobManager", |_| {
            get_json(&overview).is_ok_and(|answer| answer["slots-available"].as_u64() == Some(2))
        })
    }

    /// The SQL client on `file`, not started yet. It waits for its jobs, because the cluster's configuration says so.
    pub(crate) fn client(&self, file: &Path) -> Command {
        let conf = self.folder.join("conf");
        let class_path = format!("{}:{}/client/*", self.class_path, self.distribution.display());
        let mut command = java(&class_path, &conf, &["-Xmx512m".to_owned()]);
        command.env("FLINK_CONF_DIR", &conf);
        command.args(["org.apache.flink.table.client.SqlClient", "embedded", "-f"]).arg(file);
        guarded(&command, Signal::Kill)
    }

    /// Runs a SQL file to its end and says what became of its last job.
    pub(crate) fn run(&self, file: &Path) -> Result<Job> {
        let log = self.folder.join("client.log");
        let output = fs::File::create(&log)?;
        let mut command = self.client(file);
        command.stdin(std::process::Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let status = spawn(command).context("start Flink's SQL client")?.wait()?;
        let text = fs::read_to_string(&log).unwrap_or_default();
        // The stack traces in front of the client's own last word repeat it, at length.
        let reason = text.rfind("[ERROR]").map_or(&*text, |place| &text[place..]);
        ensure!(status.success() && !text.contains("[ERROR]"), "Flink's SQL client ended with {status}:\n{reason}");
        let job = self.last_job()?;
        ensure!(job.state == "FINISHED", "the Flink job ended as {}:\n{text}", job.state);
        Ok(job)
    }

    fn last_job(&self) -> Result<Job> {
        let answer = get_json(&format!("http://127.0.0.1:{}/jobs/overview", self.rest_port))?;
        let jobs = answer["jobs"].as_array().context("the JobManager lists its jobs")?;
        let last = jobs.iter().max_by_key(|job| job["start-time"].as_u64()).context("no job was submitted")?;
        Ok(Job {
            state: last["state"].as_str().unwrap_or_default().to_owned(),
            duration_ms: last["duration"].as_u64().unwrap_or_default(),
        })
    }

    /// The jar with the operators that run functions in Python.
    pub(crate) fn python_jar(&self) -> Result<PathBuf> {
        let jar = self.distribution.join("client").read_dir()?.filter_map(Result::ok).map(|entry| entry.path());
        let mut jars =
            jar.filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("flink-python")));
        jars.next().context("the distribution has no flink-python jar")
    }

    /// How much of a disk the distribution's jars and the Kafka connector take, in MB.
    pub(crate) fn disk_mb(&self) -> Result<f64> {
        let mut bytes = 0;
        for entry in self.class_path.split(':').filter_map(|entry| entry.strip_suffix("/*")) {
            for file in fs::read_dir(entry)? {
                bytes += file?.metadata()?.len();
            }
        }
        Ok(crate::systems::megabytes(bytes))
    }

    /// Process ids of the JobManager and the TaskManager.
    pub(crate) fn pids(&self) -> [u32; 2] {
        [self.job_manager.pid(), self.task_manager.pid()]
    }
}

/// The folder of the distribution's jars, and the class path of the servers.
pub(super) fn jars(release: Release) -> Result<(PathBuf, String)> {
    packages::ensure_for_flink()?;
    let version = release.version();
    let requirement = format!("apache-flink-libraries=={version}");
    let distribution = cache::python_package(&format!("flink-{version}"), &requirement, place)?;
    let connectors = cache::maven(&format!("flink-{version}-connectors"), &release.coordinates(), Closure::Alone)?;
    let class_path = format!("{}/lib/*:{}/*", distribution.display(), connectors.display());
    Ok((distribution, class_path))
}

/// Which files of the Python package are wanted, and where.
fn place(file: &Path) -> Option<PathBuf> {
    let name = file.file_name()?;
    let folder = file.parent()?.file_name()?.to_str()?;
    let text = name.to_str()?;
    match folder {
        "lib" if text.ends_with(".jar") => Some(Path::new("lib").join(name)),
        // The client looks for Python's classes before it reads a line of SQL.
        "opt" if text.starts_with("flink-sql-client") || text.starts_with("flink-python") => {
            Some(Path::new("client").join(name))
        }
        "bin" if text == "bash-java-utils.jar" => Some(Path::new("bin").join(name)),
        _ => None,
    }
}

fn configuration(folder: &Path, rest_port: u16, rpc_port: u16, memory: &str) -> String {
    let folder = folder.display();
    format!(
        "jobmanager.rpc.address: 127.0.0.1\n\
         jobmanager.rpc.port: {rpc_port}\n\
         jobmanager.bind-host: 127.0.0.1\n\
         jobmanager.memory.process.size: 1600m\n\
         taskmanager.host: 127.0.0.1\n\
         taskmanager.bind-host: 127.0.0.1\n\
         {memory}\n\
         taskmanager.numberOfTaskSlots: 2\n\
         parallelism.default: 2\n\
         rest.address: 127.0.0.1\n\
         rest.bind-address: 127.0.0.1\n\
         rest.port: {rest_port}\n\
         io.tmp.dirs: {folder}/tmp\n\
         execution.target: remote\n\
         table.dml-sync: true\n\
         sql-client.execution.result-mode: tableau\n"
    )
}

pub(super) fn java(class_path: &str, conf: &Path, flags: &[String]) -> Command {
    let mut command = Command::new("java");
    command.args(flags);
    for package in OPENED_PACKAGES {
        command.arg(format!("--add-opens={package}=ALL-UNNAMED"));
    }
    command.arg(format!("-Dlog4j.configurationFile={}", conf.join("log4j.properties").display()));
    command.args(["-cp", class_path]);
    command
}

/// The JVM flags and the `-D` options that Flink's own calculator prints for one of the two processes.
fn memory_parameters(distribution: &Path, conf: &Path, which: &str) -> Result<(Vec<String>, Vec<String>)> {
    let mut command = Command::new("java");
    command.arg("-cp").arg(format!("{0}/bin/*:{0}/lib/*", distribution.display()));
    command.args(["org.apache.flink.runtime.util.bash.BashJavaUtils", which, "--configDir"]).arg(conf);
    let output = run_tool("ask Flink for its memory settings", &mut command)?;
    let mut results = output.lines().filter_map(|line| line.strip_prefix("BASH_JAVA_UTILS_EXEC_RESULT:"));
    let words = |line: Option<&str>| -> Result<Vec<String>> {
        let line = line.context("BashJavaUtils prints two result lines")?;
        Ok(line.split_whitespace().map(str::to_owned).collect())
    };
    Ok((words(results.next())?, words(results.next())?))
}

fn get_json(url: &str) -> Result<Value> {
    let text = ureq::get(url).call()?.body_mut().read_to_string()?;
    Ok(serde_json::from_str(&text)?)
}
