//! One MariaDB server from Debian's package, in a fresh data folder: it speaks MySQL's protocol.
//!
//! The package's own installer wants the client's programs as well, so the system tables are made by the server itself (`--bootstrap`) from
//! the script that lies beside it. What is written is not synced: a test's database does not outlive its machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::process::{Process, Signal, free_ports};

/// The user that owns the test database.
pub(crate) const USER: &str = "wiesel";
/// The password of `USER`: a secret of a server that only lives on loopback, during a test.
pub(crate) const PASSWORD: &str = "wiesel-secret";
/// The database that tests use.
pub(crate) const DATABASE: &str = "wiesel";

const READY_LIMIT: Duration = Duration::from_secs(120);
/// Where Debian puts the script that makes the system tables.
const SYSTEM_TABLES: &[&str] =
    &["/usr/share/mysql/mysql_system_tables.sql", "/usr/share/mariadb/mariadb_system_tables.sql"];

/// The server, its address and its files.
pub(crate) struct MariaDb {
    binary: PathBuf,
    folder: PathBuf,
    ports: [u16; 1],
    process: Option<Process>,
}

impl MariaDb {
    /// Makes a data folder under `folder` and starts the server; `wait_ready` waits for it.
    pub(crate) fn start(folder: &Path) -> Result<MariaDb> {
        fs::create_dir_all(folder)?;
        let mut server =
            MariaDb { binary: find_binary()?, folder: folder.to_owned(), ports: free_ports()?, process: None };
        server.init()?;
        server.launch()?;
        Ok(server)
    }

    fn init(&self) -> Result<()> {
        let script = SYSTEM_TABLES.iter().find_map(|path| fs::read_to_string(path).ok());
        let script = script.context("MariaDB's script mysql_system_tables.sql is not installed")?;
        let script_file = self.folder.join("system.sql");
        fs::write(&script_file, format!("CREATE DATABASE mysql;\nUSE mysql;\n{script}"))?;
        fs::write(
            self.folder.join("init.sql"),
            format!(
                "CREATE DATABASE IF NOT EXISTS {DATABASE};\n\
                 CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n\
                 GRANT ALL ON *.* TO '{USER}'@'127.0.0.1';\n"
            ),
        )?;
        fs::create_dir_all(self.data())?;
        let log = fs::File::create(self.folder.join("bootstrap.log"))?;
        let status = self
            .command()
            .arg("--bootstrap")
            .stdin(fs::File::open(script_file)?)
            .stdout(Stdio::null())
            .stderr(log)
            .status()
            .context("run mariadbd --bootstrap")?;
        ensure!(status.success(), "mariadbd --bootstrap failed, see {}", self.folder.join("bootstrap.log").display());
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--no-defaults").arg(format!("--datadir={}", self.data().display())).current_dir(&self.folder);
        // Without a user of its own it refuses to run as root.
        command.args(["--user=root", "--performance-schema=OFF", "--innodb-buffer-pool-size=32M"]);
        command.args(["--innodb-log-file-size=16M", "--innodb-flush-log-at-trx-commit=0"]);
        command
    }

    fn launch(&mut self) -> Result<()> {
        let mut command = self.command();
        command.arg(format!("--port={}", self.ports[0])).args(["--bind-address=127.0.0.1", "--skip-name-resolve"]);
        command.arg(format!("--socket={}", self.folder.join("socket").display()));
        command.arg(format!("--pid-file={}", self.folder.join("pid").display()));
        command.arg(format!("--init-file={}", self.folder.join("init.sql").display()));
        self.process = Some(Process::start("mariadbd", command, &self.folder.join("mariadb.log"), Signal::Term)?);
        Ok(())
    }

    /// Waits until the server serves.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        let process = self.process.as_mut().context("the MariaDB server is stopped")?;
        process.wait_for_log("Version: '", READY_LIMIT)
    }

    /// Orderly stop.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.stop())
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
}

/// The server's program.
pub(crate) fn find_binary() -> Result<PathBuf> {
    let mut folders = vec![PathBuf::from("/usr/sbin")];
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    match folders.iter().map(|folder| folder.join("mariadbd")).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("`mariadbd` is not installed: apt-get install -y mariadb-server-core"),
    }
}
