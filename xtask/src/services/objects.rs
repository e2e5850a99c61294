//! One S3-compatible server: moto, in a process of its own, over HTTP; with faults on request (`objects.py`). It keeps its objects in
//! memory, so it is never restarted.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::process::{Process, Signal, free_ports};
use super::python;

/// The bucket that tests use.
pub(crate) const BUCKET: &str = "lake";

/// What the environment holds; moto is used by tests alone.
const PACKAGES: [&str; 1] = ["moto[s3,server]==5.2.5"];

const SERVER: &str = include_str!("objects.py");
/// Objects that somebody signed for are shown to whoever signs; the server does not check how.
const AUTHORIZATION: &str =
    "AWS4-HMAC-SHA256 Credential=tester/20240101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
const READY_LIMIT: Duration = Duration::from_secs(60);

/// The server and its address.
pub(crate) struct Objects {
    port: u16,
    process: Process,
}

impl Objects {
    /// Starts the server; `wait_ready` waits for it.
    pub(crate) fn start(folder: &Path) -> Result<Objects> {
        fs::create_dir_all(folder)?;
        let script = folder.join("objects.py");
        fs::write(&script, SERVER)?;
        let [port] = free_ports()?;
        let mut command = Command::new(python::environment("objects", &PACKAGES)?.join("bin/python"));
        command.arg(&script).arg(port.to_string()).current_dir(folder);
        let process = Process::start("objects", command, &folder.join("objects.log"), Signal::Term)?;
        Ok(Objects { port, process })
    }

    /// Waits until the server serves and has its bucket.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        let agent = agent();
        let url = self.url();
        self.process.wait_until(READY_LIMIT, "the object store to answer", |_| {
            agent.get(format!("{url}/_faults/0/0")).call().is_ok()
        })?;
        let made = agent.put(format!("{url}/{BUCKET}")).send_empty()?;
        ensure!(made.status().is_success(), "the bucket was not made: {}", made.status());
        Ok(())
    }

    /// Orderly stop.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.process.stop()
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The settings of a job that uses it.
    pub(crate) fn settings(&self) -> String {
        format!(
            "SET 's3.endpoint' = '{}';\nSET 's3.access-key' = 'tester';\nSET 's3.secret-key' = 'canary-object-secret';\n",
            self.url()
        )
    }

    /// From now on refuses every so many-th request with 503, and loses the answer to every so many-th write; 0 is never. Gives how many
    /// were refused and lost so far.
    pub(crate) fn set_faults(&self, refuse: usize, lose: usize) -> Result<(u64, u64)> {
        let text = self.get(&format!("/_faults/{refuse}/{lose}"))?;
        let text = String::from_utf8(text)?;
        let (refused, lost) = text.split_once(' ').context("two numbers")?;
        Ok((refused.parse()?, lost.parse()?))
    }

    /// The keys below a prefix.
    pub(crate) fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        self.texts(&format!("/{BUCKET}?list-type=2&prefix={prefix}"), "Key")
    }

    /// The keys of uploads below a prefix that were begun and not ended.
    pub(crate) fn uploads(&self, prefix: &str) -> Result<Vec<String>> {
        self.texts(&format!("/{BUCKET}?uploads&prefix={prefix}"), "UploadId")
    }

    /// Writes an object.
    pub(crate) fn put(&self, key: &str, body: &[u8]) -> Result<()> {
        let answer =
            agent().put(format!("{}/{BUCKET}/{key}", self.url())).header("authorization", AUTHORIZATION).send(body)?;
        ensure!(answer.status().is_success(), "`{key}` was not written: {}", answer.status());
        Ok(())
    }

    /// Copies what readers see below a prefix into a folder.
    pub(crate) fn download(&self, prefix: &str, folder: &Path) -> Result<()> {
        for key in self.keys(prefix)? {
            let path = folder.join(key.strip_prefix(prefix).unwrap_or(&key).trim_start_matches('/'));
            fs::create_dir_all(path.parent().context("a folder")?)?;
            fs::write(path, self.get(&format!("/{BUCKET}/{}", key.replace('=', "%3D")))?)?;
        }
        Ok(())
    }

    fn get(&self, path: &str) -> Result<Vec<u8>> {
        let mut answer = agent().get(format!("{}{path}", self.url())).header("authorization", AUTHORIZATION).call()?;
        ensure!(answer.status().is_success(), "`{path}`: {}", answer.status());
        Ok(answer.body_mut().with_config().limit(256 << 20).read_to_vec()?)
    }

    fn texts(&self, path: &str, element: &str) -> Result<Vec<String>> {
        let text = String::from_utf8(self.get(path)?)?;
        let open = format!("<{element}>");
        let inside = text.split(open.as_str()).skip(1).filter_map(|rest| rest.split('<').next());
        Ok(inside.map(str::to_owned).collect())
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent()
}
