//! The real servers that tests and the bench run against, started on this machine without containers.
//!
//! One file per server; `process` starts and stops them, `cache` holds their downloads. All listen on free loopback ports, keep their
//! data in one temporary folder, and are stopped by their own process ids when `Services` is dropped. Starting is in two phases,
//! start all and then wait for all, because each of them spends its first seconds on one core.

pub(crate) mod cache;
pub(crate) mod elasticsearch;
pub(crate) mod flink;
pub(crate) mod flink_gateway;
pub(crate) mod kafka;
pub(crate) mod mariadb;
pub(crate) mod objects;
pub(crate) mod packages;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod python;
pub(crate) mod schema_registry;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use elasticsearch::{Elasticsearch, Line};
use kafka::Kafka;
use mariadb::MariaDb;
use objects::Objects;
use postgres::Postgres;

/// A server that a test case can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Service {
    /// Apache Kafka.
    Kafka,
    /// Elasticsearch 7.17.
    Es7,
    /// Elasticsearch 8.19.
    Es8,
    /// Elasticsearch 9.5.
    Es9,
    /// OpenSearch 2.19.
    #[value(name = "opensearch")]
    OpenSearch,
    /// PostgreSQL.
    Postgres,
    /// MariaDB, which speaks MySQL's protocol.
    MariaDb,
    /// An object store that speaks S3.
    Objects,
}

impl Service {
    /// All of them.
    pub(crate) const ALL: [Service; 8] = [
        Service::Kafka,
        Service::Es7,
        Service::Es8,
        Service::Es9,
        Service::OpenSearch,
        Service::Postgres,
        Service::MariaDb,
        Service::Objects,
    ];

    /// The line of a search server.
    fn line(self) -> Option<Line> {
        match self {
            Service::Es7 => Some(Line::Seven),
            Service::Es8 => Some(Line::Eight),
            Service::Es9 => Some(Line::Nine),
            Service::OpenSearch => Some(Line::OpenSearch),
            Service::Kafka | Service::Postgres | Service::MariaDb | Service::Objects => None,
        }
    }
}

/// The running servers. Each sits behind a mutex because a test case may stop, kill and restart it.
pub(crate) struct Services {
    kafka: Option<Mutex<Kafka>>,
    search: BTreeMap<Line, Mutex<Elasticsearch>>,
    postgres: Option<Mutex<Postgres>>,
    mariadb: Option<Mutex<MariaDb>>,
    objects: Option<Mutex<Objects>>,
    /// Dropped last: the servers above still write while they stop.
    folder: TempDir,
}

impl Services {
    /// Installs what is missing, starts the servers of `wanted`, and returns when all of them serve.
    pub(crate) fn start(wanted: &BTreeSet<Service>) -> Result<Services> {
        packages::ensure_for_services(wanted)?;
        let folder = tempfile::Builder::new()
            .prefix("wiesel-services-")
            .tempdir()
            .context("make a folder for the servers' data")?;
        let mut services =
            Services { kafka: None, search: BTreeMap::new(), postgres: None, mariadb: None, objects: None, folder };
        for service in wanted {
            let path = services.folder.path().join(format!("{service:?}").to_lowercase());
            match service {
                Service::Kafka => services.kafka = Some(Mutex::new(Kafka::start(&path)?)),
                Service::Postgres => services.postgres = Some(Mutex::new(Postgres::start(&path)?)),
                Service::MariaDb => services.mariadb = Some(Mutex::new(MariaDb::start(&path)?)),
                Service::Objects => services.objects = Some(Mutex::new(Objects::start(&path)?)),
                Service::Es7 | Service::Es8 | Service::Es9 | Service::OpenSearch => {}
            }
            if let Some(line) = service.line() {
                services.search.insert(line, Mutex::new(Elasticsearch::start(line, &path)?));
            }
        }
        for service in wanted {
            match service {
                Service::Kafka => services.kafka()?.wait_ready()?,
                Service::Postgres => services.postgres()?.wait_ready()?,
                Service::MariaDb => services.mariadb()?.wait_ready()?,
                Service::Objects => services.objects()?.wait_ready()?,
                Service::Es7 | Service::Es8 | Service::Es9 | Service::OpenSearch => {}
            }
            if let Some(line) = service.line() {
                services.elasticsearch(line)?.wait_ready()?;
            }
        }
        Ok(services)
    }

    /// Stops all servers and removes their folder; what cannot be done is said on stderr. A server that a hung test case holds is left
    /// to the kernel, which ends it with us.
    pub(crate) fn close(&self) {
        fn stop<T>(server: Option<&Mutex<T>>, stop: impl FnOnce(&mut T) -> Result<()>) {
            let Some(mut server) = server.and_then(|server| server.try_lock().ok()) else { return };
            if let Err(error) = stop(&mut server) {
                eprintln!("xtask: stop a server: {error:#}");
            }
        }
        stop(self.kafka.as_ref(), Kafka::stop);
        for node in self.search.values() {
            stop(Some(node), Elasticsearch::stop);
        }
        stop(self.postgres.as_ref(), Postgres::stop);
        stop(self.mariadb.as_ref(), MariaDb::stop);
        stop(self.objects.as_ref(), Objects::stop);
        if let Err(error) = std::fs::remove_dir_all(self.folder()) {
            eprintln!("xtask: remove `{}`: {error}", self.folder().display());
        }
    }

    /// Where the servers keep their data and logs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The broker.
    pub(crate) fn kafka(&self) -> Result<MutexGuard<'_, Kafka>> {
        lock(self.kafka.as_ref(), "kafka")
    }

    /// The node of that line.
    pub(crate) fn elasticsearch(&self, line: Line) -> Result<MutexGuard<'_, Elasticsearch>> {
        lock(self.search.get(&line), line.name())
    }

    /// The database server.
    pub(crate) fn postgres(&self) -> Result<MutexGuard<'_, Postgres>> {
        lock(self.postgres.as_ref(), "postgres")
    }

    /// The other database server.
    pub(crate) fn mariadb(&self) -> Result<MutexGuard<'_, MariaDb>> {
        lock(self.mariadb.as_ref(), "mariadb")
    }

    /// The object store.
    pub(crate) fn objects(&self) -> Result<MutexGuard<'_, Objects>> {
        lock(self.objects.as_ref(), "objects")
    }

    /// `KEY=VALUE` lines that say how to reach the running servers.
    pub(crate) fn environment(&self) -> Result<String> {
        let mut lines = Vec::new();
        if self.kafka.is_some() {
            let kafka = self.kafka()?;
            lines.push(format!("KAFKA_PLAINTEXT={}", kafka.plaintext()));
            lines.push(format!("KAFKA_SASL_PLAINTEXT={}", kafka.sasl_plaintext()));
            lines.push(format!("KAFKA_SASL_SSL={}", kafka.sasl_ssl()));
            lines.push(format!("KAFKA_CA={}", kafka.ca_file().display()));
            lines.push(format!("KAFKA_USER={}", kafka::USER));
            lines.push(format!("KAFKA_PASSWORD={}", kafka::PASSWORD));
        }
        for &line in self.search.keys() {
            lines.push(format!("{}_URL={}", line.name().to_uppercase(), self.elasticsearch(line)?.url()));
        }
        if self.postgres.is_some() {
            let postgres = self.postgres()?;
            lines.push(format!("PG_ADDRESS={}", postgres.address()));
            lines.push(format!("PG_URL={}", postgres.url()));
            lines.push(format!("PG_JDBC_URL=jdbc:postgresql://{}/{}", postgres.address(), postgres::DATABASE));
            lines.push(format!("PG_USER={}", postgres::USER));
            lines.push(format!("PG_PASSWORD={}", postgres::PASSWORD));
        }
        if self.mariadb.is_some() {
            let address = self.mariadb()?.address();
            lines.push(format!("MARIADB_JDBC_URL=jdbc:mysql://{address}/{}", mariadb::DATABASE));
            lines.push(format!("MARIADB_USER={}", mariadb::USER));
            lines.push(format!("MARIADB_PASSWORD={}", mariadb::PASSWORD));
        }
        if self.objects.is_some() {
            lines.push(format!("S3_ENDPOINT={}", self.objects()?.url()));
            lines.push(format!("S3_BUCKET={}", objects::BUCKET));
        }
        lines.push(format!("SERVICES_FOLDER={}", self.folder().display()));
        Ok(lines.join("\n") + "\n")
    }
}

/// A case that panicked while it held a server leaves it to the next one: the server itself is a process, not memory.
fn lock<'a, T>(server: Option<&'a Mutex<T>>, name: &str) -> Result<MutexGuard<'a, T>> {
    let server = server.with_context(|| format!("`{name}` was not started: name it in the case's `needs`"))?;
    Ok(server.lock().unwrap_or_else(PoisonError::into_inner))
}
