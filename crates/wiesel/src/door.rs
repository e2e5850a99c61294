//! The door of a running process: a Unix socket through which its own user lists, stops and saves it from another terminal.
//!
//! ```text
//! $XDG_RUNTIME_DIR/wiesel, else <temporary folder>/wiesel-<uid>     0700, ours, or there is no door
//!   <pid>.json   what runs, for `wiesel list`                       0600
//!   <pid>.sock   one request and one answer per connection, a line of JSON each
//! ```
//! Only the owner of the folder gets to the socket, so there is no password. Requests are answered one after the other; a request is at
//! most [`REQUEST_BYTES_MAX`] long and must arrive within [`REQUEST_WAIT`]. After `stop` the connection stays open until the process is
//! gone: its end is the news.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::jobs::Stops;
use crate::log::Log;

/// The folder of doors, for tests and for whoever wants it elsewhere.
const FOLDER_VARIABLE: &str = "WIESEL_RUNTIME_DIR";
const REQUEST_BYTES_MAX: u64 = 16 << 10;
/// A client that connects and says nothing is hung up on.
const REQUEST_WAIT: Duration = Duration::from_secs(5);
/// Savepoints of all jobs of a process take no longer, or the client is told that they do.
const SAVEPOINT_WAIT: Duration = Duration::from_secs(300);
/// Processes that a list looks at.
const PROCESSES_MAX: usize = 10_000;

/// What is known of a process that runs jobs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// `pipeline.name`, or the file's stem.
    pub(crate) name: String,
    /// The SQL file, absolute.
    pub(crate) file: PathBuf,
    /// The state folder.
    pub(crate) state: PathBuf,
    pub(crate) started_ms: i64,
    pub(crate) jobs: Vec<String>,
    /// Whether one of its jobs has a source without an end.
    #[serde(default)]
    pub(crate) is_endless: bool,
    /// Where savepoints go when the command does not say.
    pub(crate) savepoint_dir: Option<String>,
    /// The log file, when there is one.
    pub(crate) log: Option<PathBuf>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase")]
pub(crate) enum Request {
    /// Whether anybody is there.
    Ping,
    /// Whether every job has completed a checkpoint since it was started.
    Ready,
    /// A savepoint of every job, in this folder.
    Savepoint {
        /// The folder, which does not exist yet.
        folder: PathBuf,
    },
    /// The end, with a checkpoint; with a savepoint before when there is a folder.
    Stop {
        /// The folder.
        folder: Option<PathBuf>,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Why it was not done.
    pub(crate) error: Option<String>,
    /// The savepoints, one per job.
    pub(crate) savepoints: Vec<PathBuf>,
    /// The answer to [`Request::Ready`].
    #[serde(default)]
    pub(crate) is_ready: bool,
}

/// A door that is open; dropping it takes its files away.
pub(crate) struct Door {
    files: [PathBuf; 2],
    /// Held while a request is answered: the process does not end before.
    busy: Arc<Mutex<()>>,
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.busy.lock());
        for file in &self.files {
            // What is left behind by a process that died is swept by the next list.
            drop(std::fs::remove_file(file));
        }
    }
}

/// Opens the door of this process.
pub(crate) fn open(process: &Process, stops: &Stops, log: &Arc<Log>) -> io::Result<Door> {
    let folder = folder()?;
    let (about, socket) = names(&folder, process.pid);
    drop(std::fs::remove_file(&socket));
    let listener = UnixListener::bind(&socket)?;
    let busy = Arc::new(Mutex::new(()));
    let door = Door { files: [socket, about.clone()], busy: busy.clone() };
    let text = serde_json::to_vec(process).map_err(io::Error::other)?;
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(about)?;
    file.write_all(&text)?;
    let (stops, log) = (stops.clone(), log.clone());
    #[allow(clippy::disallowed_methods, reason = "this thread waits for requests and ends with the process")]
    std::thread::Builder::new().name("door".to_owned()).spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().flatten() {
            let _busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
            if let Ok(Some(stream)) = serve(stream, &stops, &log) {
                // The first one that asked for the end hears of it; more of them are told by `list`.
                if kept.is_empty() {
                    kept.push(stream);
                }
            }
        }
    })?;
    Ok(door)
}

/// Answers one request; gives the connection back when it is to end with the process.
fn serve(mut stream: UnixStream, stops: &Stops, log: &Log) -> io::Result<Option<UnixStream>> {
    stream.set_read_timeout(Some(REQUEST_WAIT))?;
    stream.set_write_timeout(Some(REQUEST_WAIT))?;
    let request = read_line(&stream).and_then(|line| serde_json::from_str(&line).map_err(io::Error::other));
    let request = match request {
        Ok(request) => request,
        Err(e) => {
            answer(&mut stream, Err(format!("the request cannot be read: {e}")))?;
            return Ok(None);
        }
    };
    match request {
        Request::Ping => answer(&mut stream, Ok(Vec::new())).map(|()| None),
        Request::Ready => {
            let is_ready = stops.have_checkpoints();
            send(&mut stream, &Answer { error: None, savepoints: Vec::new(), is_ready }).map(|()| None)
        }
        Request::Savepoint { folder } => {
            log.info(&format!("savepoint asked for: {}", folder.display()));
            let outcome = savepoints(stops, &folder, false);
            answer(&mut stream, outcome).map(|()| None)
        }
        Request::Stop { folder: Some(folder) } => {
            log.info(&format!("stop with a savepoint asked for: {}", folder.display()));
            let outcome = savepoints(stops, &folder, true);
            answer(&mut stream, outcome).map(|()| Some(stream))
        }
        Request::Stop { folder: None } => {
            log.info("stop asked for: stopping with a checkpoint");
            stops.stop();
            answer(&mut stream, Ok(Vec::new())).map(|()| Some(stream))
        }
    }
}

/// A savepoint of every job, one folder each, all of them asked for before the first is waited for.
fn savepoints(stops: &Stops, folder: &Path, and_stop: bool) -> Result<Vec<PathBuf>, String> {
    if folder.exists() {
        return Err(format!("`{}` exists already", folder.display()));
    }
    let jobs = stops.jobs();
    if jobs.is_empty() {
        return Err("no job runs any more".to_owned());
    }
    let asked: Vec<_> = jobs.iter().map(|(name, control)| (name, control.savepoint(folder.join(name)))).collect();
    if and_stop {
        stops.stop();
    }
    let mut places = Vec::new();
    let mut errors = Vec::new();
    for (name, answered) in asked {
        match answered.recv_timeout(SAVEPOINT_WAIT) {
            Ok(Ok(place)) => places.push(place),
            Ok(Err(error)) => errors.push(format!("job `{name}`: {error}")),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                errors.push(format!("job `{name}`: no savepoint after {} s", SAVEPOINT_WAIT.as_secs()));
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                errors.push(format!("job `{name}` ended before its savepoint was taken"));
            }
        }
    }
    if errors.is_empty() { Ok(places) } else { Err(errors.join("\n")) }
}

fn answer(stream: &mut UnixStream, outcome: Result<Vec<PathBuf>, String>) -> io::Result<()> {
    let (error, savepoints) = match outcome {
        Ok(savepoints) => (None, savepoints),
        Err(error) => (Some(error), Vec::new()),
    };
    send(stream, &Answer { error, savepoints, is_ready: false })
}

fn send(stream: &mut UnixStream, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer).map_err(io::Error::other)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn read_line(stream: &UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    let mut reader = stream.take(REQUEST_BYTES_MAX);
    // A request is some hundred bytes, once in a while; reading ahead would only have to be undone.
    while reader.read(&mut byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).map_err(io::Error::other)
}

/// Asks a process.
pub(crate) fn ask(process: &Process, request: &Request, patience: Duration) -> io::Result<(Answer, UnixStream)> {
    let (_, socket) = names(&folder()?, process.pid);
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(request).map_err(io::Error::other)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let answer = serde_json::from_str(&read_line(&stream)?).map_err(io::Error::other)?;
    Ok((answer, stream))
}

/// Waits until the process at the other end is gone.
pub(crate) fn wait_for_end(mut stream: UnixStream, patience: Duration) -> bool {
    let mut nothing = [0];
    stream.set_read_timeout(Some(patience)).is_ok() && matches!(stream.read(&mut nothing), Ok(0))
}

/// All processes of this user that run jobs; what dead ones left behind is removed.
pub(crate) fn processes() -> io::Result<Vec<Process>> {
    let folder = folder()?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder)?.flatten().take(PROCESSES_MAX) {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "json") {
            found.extend(living(&folder, &path));
        }
    }
    found.sort_by_key(|p| (p.started_ms, p.pid));
    Ok(found)
}

/// The process of this id, if its door is open.
pub(crate) fn process(pid: u32) -> io::Result<Option<Process>> {
    let folder = folder()?;
    Ok(living(&folder, &names(&folder, pid).0))
}

/// The process that a file tells of; what a dead one left behind is removed.
fn living(folder: &Path, about: &Path) -> Option<Process> {
    let process: Process = serde_json::from_slice(&std::fs::read(about).ok()?).ok()?;
    let (about, socket) = names(folder, process.pid);
    // A process that died closed its socket: nobody answers the knock.
    if UnixStream::connect(&socket).is_ok() {
        return Some(process);
    }
    drop(std::fs::remove_file(about));
    drop(std::fs::remove_file(socket));
    None
}

/// The process that a command means: by process id, name, or file.
pub(crate) fn find(target: &str) -> Result<Process, String> {
    let all = processes().map_err(|e| format!("cannot list what runs: {e}"))?;
    let file = std::path::absolute(target).ok();
    let is_meant =
        |p: &&Process| p.pid.to_string() == target || p.name == target || file.as_deref() == Some(p.file.as_path());
    let mut meant = all.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(process), None) => Ok(process.clone()),
        (Some(_), Some(_)) => {
            Err(format!("several processes run `{target}`; name one by its process id (`wiesel list`)"))
        }
        (None, _) => Err(format!("nothing runs under the process id, name or file `{target}` (`wiesel list`)")),
    }
}

fn names(folder: &Path, pid: u32) -> (PathBuf, PathBuf) {
    (folder.join(format!("{pid}.json")), folder.join(format!("{pid}.sock")))
}

/// The folder of doors, made when it is not there; one that others could write to is refused.
fn folder() -> io::Result<PathBuf> {
    let uid = File::open("/proc/self").and_then(|f| f.metadata()).map(|m| m.uid())?;
    let folder = match (std::env::var_os(FOLDER_VARIABLE), std::env::var_os("XDG_RUNTIME_DIR")) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(runtime)) if Path::new(&runtime).is_dir() => Path::new(&runtime).join("wiesel"),
        _ => std::env::temp_dir().join(format!("wiesel-{uid}")),
    };
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let about = std::fs::symlink_metadata(&folder)?;
    if !about.is_dir() || about.uid() != uid || about.mode() & 0o077 != 0 {
        return Err(io::Error::other(format!("`{}` is not a folder of this user alone", folder.display())));
    }
    Ok(folder)
}
