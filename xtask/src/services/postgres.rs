//! One PostgreSQL server from Debian's package, in a fresh data folder.
//!
//! PostgreSQL refuses to run as root, so root runs it as the package's user `postgres` through setpriv, and the folders above the data
//! are opened for that user to pass. `fsync` is off: a test's database does not outlive its machine. `max_prepared_transactions`
//! stays at its default 0, which proves that wiesel uses no two-phase commit.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::process::{Process, Signal, free_ports, run_tool};

/// The user that owns the test database.
pub(crate) const USER: &str = "wiesel";
/// The password of `USER`: a secret of a server that only lives on loopback, during a test.
pub(crate) const PASSWORD: &str = "wiesel-secret";
/// The database that tests use.
pub(crate) const DATABASE: &str = "wiesel";

const READY_LIMIT: Duration = Duration::from_secs(60);

/// The server, its address and its files.
pub(crate) struct Postgres {
    binary: PathBuf,
    folder: PathBuf,
    ports: [u16; 1],
    process: Option<Process>,
}

impl Postgres {
    /// Makes a data folder under `folder` and starts the server; `wait_ready` waits for it.
    pub(crate) fn start(folder: &Path) -> Result<Postgres> {
        let binary = find_binary("postgres")?;
        fs::create_dir_all(folder)?;
        if is_root()? {
            open_for_user(folder)?;
        }
        let mut postgres = Postgres { binary, folder: folder.to_owned(), ports: free_ports()?, process: None };
        postgres.init()?;
        postgres.launch()?;
        Ok(postgres)
    }

    fn init(&self) -> Result<()> {
        let password_file = self.folder.join("password");
        fs::write(&password_file, PASSWORD)?;
        let mut command = as_unprivileged(&find_binary("initdb")?)?;
        command.args([
            "--username",
            USER,
            "--auth",
            "scram-sha-256",
            "--no-sync",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "--pwfile",
        ]);
        command.arg(&password_file).arg("--pgdata").arg(self.data()).current_dir(&self.folder);
        run_tool("initialise PostgreSQL's data folder", &mut command)?;
        Ok(())
    }

    /// Starts the server again, on the same port and data, and waits until it serves.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()?;
        self.wait_ready()
    }

    fn launch(&mut self) -> Result<()> {
        let mut command = as_unprivileged(&self.binary)?;
        command.arg("-D").arg(self.data()).args(["-p", &self.ports[0].to_string()]);
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=50"] {
            command.args(["-c", setting]);
        }
        command.current_dir(&self.folder);
        self.process = Some(Process::start("postgres", command, &self.folder.join("postgres.log"), Signal::Int)?);
        Ok(())
    }

    /// Waits until the server serves and has its database.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        let admin_url = self.url_of("postgres");
        let process = self.process.as_mut().context("the PostgreSQL server is stopped")?;
        process.wait_for_log("database system is ready to accept connections", READY_LIMIT)?;
        let mut client = postgres::Client::connect(&admin_url, postgres::NoTls)?;
        if client.query("SELECT 1 FROM pg_database WHERE datname = $1", &[&DATABASE])?.is_empty() {
            client.batch_execute(&format!("CREATE DATABASE {DATABASE}"))?;
        }
        Ok(())
    }

    /// Orderly, fast stop.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.stop())
    }

    /// The process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// `kill -9` to the server and its workers.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// Address with user, password and database, as PostgreSQL's own clients take it.
    pub(crate) fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgresql://{USER}:{PASSWORD}@{}/{database}", self.address())
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
}

/// Debian keeps the server's programs out of the path, one folder per version; other systems have them in it.
pub(crate) fn find_binary(name: &str) -> Result<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    folders.sort();
    folders.reverse();
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    for folder in folders {
        let candidate = folder.join(name);
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!("`{name}` is not installed: apt-get install -y postgresql")
}

fn is_root() -> Result<bool> {
    Ok(run_tool("ask for the user id", Command::new("id").arg("-u"))?.trim() == "0")
}

/// A command that runs `binary` as a user PostgreSQL accepts.
fn as_unprivileged(binary: &Path) -> Result<Command> {
    if !is_root()? {
        return Ok(Command::new(binary));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig", "INT", "--"]).arg(binary);
    Ok(command)
}

/// Gives `folder` to the user `postgres` and lets that user pass through the folders above it, as far as we made them.
fn open_for_user(folder: &Path) -> Result<()> {
    run_tool("give the folder to the user `postgres`", Command::new("chown").arg("postgres:").arg(folder))?;
    let parent = folder.parent().context("the PostgreSQL folder has a parent")?;
    let mut permissions = fs::metadata(parent)?.permissions();
    permissions.set_mode(permissions.mode() | 0o011);
    fs::set_permissions(parent, permissions)?;
    Ok(())
}
