//! A schema registry for tests, and clients of Avro that share no code with wiesel.
//!
//! The registry is `schema_registry.py`: a process of its own that speaks the registry's REST interface, because Confluent's server is on no
//! public repository that the harness uses. What stands on the other side of it is real: Confluent's own serializers and fastavro
//! (`avro_client.py`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::process::{Process, Signal, free_ports};
use super::python;

/// What the environment holds; pip verifies what it downloads.
const PACKAGES: [&str; 2] = ["fastavro==1.13.1", "confluent-kafka[avro,schemaregistry]==2.13.0"];

const SERVER: &str = include_str!("schema_registry.py");
const CLIENT: &str = include_str!("avro_client.py");
const READY_LIMIT: Duration = Duration::from_secs(30);

/// A registry and its address, which stays the same when it is started again.
pub(crate) struct SchemaRegistry {
    python: PathBuf,
    folder: PathBuf,
    port: u16,
    process: Option<Process>,
}

impl SchemaRegistry {
    /// Starts a registry whose files lie in `folder`.
    pub(crate) fn start(folder: &Path) -> Result<SchemaRegistry> {
        fs::write(folder.join("schema_registry.py"), SERVER)?;
        fs::write(folder.join("avro_client.py"), CLIENT)?;
        let [port] = free_ports()?;
        let python = python::environment("avro", &PACKAGES)?.join("bin/python");
        let mut registry = SchemaRegistry { python, folder: folder.to_owned(), port, process: None };
        registry.start_again()?;
        Ok(registry)
    }

    /// Starts it again after [`SchemaRegistry::stop`]; it knows what it knew.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        let mut command = Command::new(&self.python);
        command.arg("schema_registry.py").arg(self.port.to_string()).arg("schemas.json").current_dir(&self.folder);
        let log = self.folder.join("schema_registry.log");
        let mut process = Process::start("schema registry", command, &log, Signal::Kill)?;
        let url = format!("{}/subjects", self.url());
        let agent = ureq::Agent::config_builder().proxy(None).build().new_agent();
        process.wait_until(READY_LIMIT, "the schema registry to answer", |_| agent.get(&url).call().is_ok())?;
        self.process = Some(process);
        Ok(())
    }

    /// Stops it.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.stop())
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What was asked of it since it was started, a line per request.
    pub(crate) fn requests(&self) -> String {
        self.process.as_ref().map_or_else(String::new, Process::log_of_this_run)
    }

    /// Runs the client of `avro_client.py`; the records that it shows.
    pub(crate) fn client(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let output = Command::new(&self.python)
            .arg("avro_client.py")
            .args(arguments)
            .current_dir(&self.folder)
            .output()
            .context("starting Python")?;
        ensure!(output.status.success(), "the Avro client failed: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}
