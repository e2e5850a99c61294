//! One worker process: it is started, asked, and put away when it dies or hangs.
//!
//! The channel is one socket, the process's standard input; what a function prints goes to wiesel's stderr. A request is written whole
//! before the worker answers, so neither side waits on the other's full buffer. While a call runs the worker tells how many rows are done
//! (`worker.py`); a row may take the time limit, and a worker that is silent for that long hangs in foreign code and is killed as well.

use std::io::ErrorKind as IoKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wiesel_core::{Error, Result, env};

use crate::frame;
use crate::settings::Surroundings;
use crate::sources::{BOOTSTRAP, MODULES};

/// How long an interpreter may take to start and to import pyarrow and the user's module.
const START_MAX: Duration = Duration::from_secs(120);
/// How long `close()` of all functions may take at the end.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// Between two looks whether a process has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Standard input's socket is read in pieces of at least this.
const SILENCE_MIN: Duration = Duration::from_millis(1);

/// A process.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    channel: UnixStream,
    /// Numbers of the functions that it has opened.
    pub(crate) opened: Vec<usize>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The process ended.
    Died(String),
    /// A row took too long; how many were done before it, when the worker could tell.
    Hung(Option<usize>),
    /// The worker could not make sense of the whole request: no room for its columns.
    Refused(String),
}

impl Worker {
    /// Starts a process.
    pub(crate) fn start(surroundings: &Surroundings) -> Result<Worker> {
        let executable = &surroundings.executable;
        let no_channel = |e: std::io::Error| Error::internal(format!("cannot make a channel to Python: {e}"));
        let (channel, theirs) = UnixStream::pair().map_err(no_channel)?;
        let child = Command::new(executable)
            .args(["-c", BOOTSTRAP])
            .env("ARROW_DEFAULT_MEMORY_POOL", "system")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| {
                Error::config(format!("cannot start the Python interpreter `{executable}`: {e}"))
                    .hint("SET 'python.executable' = '/path/to/venv/bin/python'")
            })?;
        let mut worker = Worker { child, channel, opened: Vec::new() };
        let sources: serde_json::Map<String, Value> =
            MODULES.iter().map(|(name, text)| ((*name).to_owned(), Value::from(*text))).collect();
        let parameters: serde_json::Map<String, Value> =
            surroundings.parameters.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
        let start = json!({
            "sources": sources,
            "path": surroundings.path,
            "path_behind": surroundings.path_behind,
            "parameters": parameters,
            "zone": surroundings.time_zone,
            "memory": surroundings.memory_bytes,
        });
        // A process that ended before it read the frame is told of by its end.
        let written = frame::write(&mut worker.channel, &start, &[]);
        let answer = match written.map_err(|_| ()).and_then(|()| worker.answer(START_MAX).map_err(|_| ())) {
            Ok((answer, _)) => answer,
            Err(()) => {
                let how = worker.end();
                return Err(Error::config(format!("the Python interpreter `{executable}` did not start: it {how}"))
                    .hint("SET 'python.executable' = '/path/to/venv/bin/python'"));
            }
        };
        match answer.get("error") {
            Some(error) => Err(refusal(error, &answer)),
            None => Ok(worker),
        }
    }

    /// Asks, and waits for the answer. `Err` means that the process is of no use any more, but for [`Lost::Refused`].
    pub(crate) fn ask(&mut self, head: &Value, body: &[u8], timeout: Duration) -> Result<(Value, Vec<u8>), Lost> {
        if frame::write(&mut self.channel, head, body).is_err() {
            return Err(Lost::Died(self.end()));
        }
        self.answer(timeout)
    }

    fn answer(&mut self, timeout: Duration) -> Result<(Value, Vec<u8>), Lost> {
        let mut done: Option<usize> = None;
        let mut since = env::monotonic();
        loop {
            let left = timeout.saturating_sub(env::monotonic().duration_since(since)).max(SILENCE_MIN);
            // A socket of our own takes any time above zero.
            _ = self.channel.set_read_timeout(Some(left));
            match frame::read(&mut self.channel) {
                Ok((head, body)) => {
                    let Some(told) = head.get("done").and_then(Value::as_u64) else { return Ok((head, body)) };
                    let told = usize::try_from(told).unwrap_or(usize::MAX);
                    if done != Some(told) {
                        (done, since) = (Some(told), env::monotonic());
                    } else if is_over(since, timeout) {
                        return Err(self.hung(done));
                    }
                }
                Err(e) if matches!(e.kind(), IoKind::WouldBlock | IoKind::TimedOut) => {
                    if is_over(since, timeout) {
                        return Err(self.hung(done));
                    }
                }
                Err(_) => return Err(Lost::Died(self.end())),
            }
        }
    }

    fn hung(&mut self, done: Option<usize>) -> Lost {
        self.kill();
        Lost::Hung(done)
    }

    fn kill(&mut self) {
        // A process that has ended already is as good as killed.
        _ = self.child.kill();
        _ = self.child.wait();
    }

    /// How the process ended; it is made to, if it has not.
    fn end(&mut self) -> String {
        let deadline = env::monotonic() + Duration::from_secs(1);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    return match (status.code(), status.signal()) {
                        (Some(code), _) => format!("ended with exit code {code}"),
                        (None, Some(signal)) => format!("was killed by {}", signal_name(signal)),
                        _ => "ended".to_owned(),
                    };
                }
                Ok(None) if env::monotonic() < deadline => rest(),
                _ => {
                    self.kill();
                    return "closed its channel".to_owned();
                }
            }
        }
    }
}

/// What a worker refuses by name, as an error of the settings.
pub(crate) fn refusal(error: &Value, answer: &Value) -> Error {
    let refused = Error::config(error.as_str().unwrap_or("the worker refused"));
    match answer.get("hint").and_then(Value::as_str) {
        Some(hint) => refused.hint(hint),
        None => refused,
    }
}

fn is_over(since: Instant, timeout: Duration) -> bool {
    env::monotonic().duration_since(since) >= timeout
}

fn rest() {
    env::Waker::default().wait(LOOK_AGAIN);
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL (out of memory?)",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

impl Drop for Worker {
    /// The closed channel asks the process to end; one that does not is killed.
    fn drop(&mut self) {
        _ = self.channel.shutdown(std::net::Shutdown::Both);
        let deadline = env::monotonic() + CLOSE_MAX;
        while matches!(self.child.try_wait(), Ok(None)) {
            if env::monotonic() >= deadline {
                self.kill();
                return;
            }
            rest();
        }
    }
}
