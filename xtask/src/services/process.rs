//! One server process: started in its own process group, watched by its log, stopped by its own id, never by name.
//!
//! Every server is started through `setpriv --pdeathsig`, so that the kernel ends it when xtask dies in a way that runs no destructor.
//! The signal is bound to the *thread* that started the child, and test cases run on threads that come and go; hence one thread that
//! lives as long as xtask starts them all. Signals are sent by `kill` of the shell, because a raw `kill(2)` would need unsafe code.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How often a condition is looked at while waiting for a server.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long a server may take to end after its stop signal before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Ports are taken from below the kernel's ephemeral range, so that an outgoing connection never sits on the port of a server that restarts.
const PORT_FIRST: u16 = 20_000;
const PORT_COUNT: u16 = 12_000;
const PORT_TRIES_MAX: u32 = 200;
/// Lines of a server's log that an error message quotes.
const LOG_TAIL_LINES: usize = 25;

/// A signal by its name for `kill`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    /// Polite end.
    Term,
    /// Ctrl-C; PostgreSQL's fast shutdown.
    Int,
    /// No chance to clean up: what a crash looks like.
    Kill,
    /// Stands still.
    Stop,
    /// Goes on.
    Continue,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Signal::Term => "TERM",
            Signal::Int => "INT",
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        }
    }
}

/// A running server. Dropping it stops it.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where the log stood at the start: a restart appends, and must not find the ready line of its predecessor.
    log_start_bytes: u64,
    stop_signal: Signal,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with its output appended to `log`. `stop_signal` is what `stop` sends first.
    pub(crate) fn start(name: &str, command: Command, log: &Path, stop_signal: Signal) -> Result<Process> {
        let log_file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("open log `{}`", log.display()))?;
        let log_start_bytes = log_file.metadata()?.len();
        let mut wrapped = guarded(&command, Signal::Term);
        wrapped.stdin(Stdio::null()).stdout(log_file.try_clone()?).stderr(log_file).process_group(0);
        let child = spawn(wrapped).with_context(|| format!("start `{name}`: `{}`", command.get_program().display()))?;
        Ok(Process { name: name.to_owned(), child, log: log.to_owned(), log_start_bytes, stop_signal, ended: None })
    }

    /// The process id, for measuring.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` says yes. Fails when the process ends before, or when `limit` is over; both quote the log.
    pub(crate) fn wait_until(
        &mut self,
        limit: Duration,
        what: &str,
        mut ready: impl FnMut(&Process) -> bool,
    ) -> Result<()> {
        let start = Instant::now();
        loop {
            if ready(self) {
                return Ok(());
            }
            ensure!(!interrupted(), "interrupted while `{}` was starting", self.name);
            if let Some(status) = self.child.try_wait()? {
                self.ended = Some(status);
                bail!(
                    "`{}` ended ({status}) while waiting for {what}; its log `{}` ends:\n{}",
                    self.name,
                    self.log.display(),
                    self.log_tail()
                );
            }
            ensure!(
                start.elapsed() < limit,
                "`{}`: {what} did not come within {} s; its log `{}` ends:\n{}",
                self.name,
                limit.as_secs(),
                self.log.display(),
                self.log_tail()
            );
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits for a line of this run's log that contains `text`.
    pub(crate) fn wait_for_log(&mut self, text: &str, limit: Duration) -> Result<()> {
        self.wait_until(limit, &format!("the log line `{text}`"), |process| process.log_of_this_run().contains(text))
    }

    /// What this run has written to its log so far.
    pub(crate) fn log_of_this_run(&self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.log).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.log_start_bytes))?;
            file.read_to_end(&mut bytes)
        });
        match read {
            Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => format!("(log unreadable: {error})"),
        }
    }

    fn log_tail(&self) -> String {
        let log = self.log_of_this_run();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    /// Asks the process to end, waits, and kills it when it does not.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if self.has_ended()? {
            return Ok(());
        }
        signal(self.pid(), self.stop_signal)?;
        let start = Instant::now();
        while start.elapsed() < STOP_LIMIT {
            if self.has_ended()? {
                return Ok(());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        self.kill()
    }

    /// `kill -9` to the process and its group, then waits for it to be gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if self.has_ended()? {
            return Ok(());
        }
        signal_group(self.pid(), Signal::Kill)?;
        self.ended = Some(self.child.wait()?);
        Ok(())
    }

    /// True when the process is gone.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended.is_some())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("xtask: could not stop `{}` (pid {}): {error:#}", self.name, self.pid());
        }
    }
}

/// Sends `which` to the one process `pid`.
pub(crate) fn signal(pid: u32, which: Signal) -> Result<()> {
    kill_command(which, &pid.to_string())
}

/// Sends `which` to the process group that `pid` leads.
pub(crate) fn signal_group(pid: u32, which: Signal) -> Result<()> {
    kill_command(which, &format!("-{pid}"))
}

/// Whether a process stands still: the signal for it takes effect a moment after it was sent.
pub(crate) fn stands_still(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state stands behind the name, which may hold anything, in brackets.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

fn kill_command(which: Signal, target: &str) -> Result<()> {
    let output = Command::new("sh")
        .args(["-c", "kill -s \"$0\" -- \"$1\"", which.name(), target])
        .output()
        .context("run `kill`")?;
    ensure!(
        output.status.success(),
        "kill -{} {target}: {}",
        which.name(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// `command` run through setpriv, so that the kernel sends it `at_parent_death` when xtask dies without a chance to clean up.
pub(crate) fn guarded(command: &Command, at_parent_death: Signal) -> Command {
    let mut guarded = Command::new("setpriv");
    guarded.args(["--pdeathsig", at_parent_death.name(), "--"]);
    guarded.arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => guarded.env(key, value),
            None => guarded.env_remove(key),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        guarded.current_dir(folder);
    }
    guarded
}

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on Ctrl-C, SIGTERM and SIGHUP only set a flag, so that servers and folders are cleaned up; a second one ends xtask at once.
pub(crate) fn catch_interrupts() -> Result<()> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for number in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(number, 130, Arc::clone(flag))?;
        signal_hook::flag::register(number, Arc::clone(flag))?;
    }
    Ok(())
}

/// True once a caught signal asked for the end.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

type SpawnRequest = (Command, Sender<std::io::Result<Child>>);

/// Spawns on the one long-lived thread (see the head of this file).
pub(crate) fn spawn(command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<Sender<SpawnRequest>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, inbox) = channel::<SpawnRequest>();
        std::thread::spawn(move || {
            for (mut request, reply) in inbox {
                // A caller that no longer waits has dropped its receiver; its child is then dropped, which changes nothing.
                drop(reply.send(request.spawn()));
            }
        });
        requests
    });
    let (reply, answer) = channel();
    spawner.send((command, reply)).map_err(|_| std::io::Error::other("the thread that starts processes is gone"))?;
    answer.recv().map_err(|_| std::io::Error::other("the thread that starts processes is gone"))?
}

/// Runs a tool to its end and fails with its output when it fails.
pub(crate) fn run_tool(what: &str, command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{what}: cannot run `{}`", command.get_program().display()))?;
    ensure!(
        output.status.success(),
        "{what}: `{}` ended with {}\n{}{}",
        command.get_program().display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `N` distinct loopback ports that were free a moment ago.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    for _ in 0..PORT_TRIES_MAX {
        let port = PORT_FIRST + fastrand::u16(..PORT_COUNT);
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.push((port, listener));
        }
        if held.len() == N {
            let ports: Vec<u16> = held.iter().map(|(port, _)| *port).collect();
            return Ok(ports.try_into().expect("exactly N ports were collected"));
        }
    }
    bail!("no {N} free loopback ports found in {PORT_TRIES_MAX} tries from {PORT_FIRST} on")
}

/// Removes and creates `folder`, so that it is empty.
pub(crate) fn empty_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("empty `{}`", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("create `{}`", folder.display()))
}
