//! Debian packages that the build and the servers need: installed when we are root and they are missing, else named in the error.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Result, bail};

use super::Service;
use super::process::run_tool;

/// Something that must be there, and the Debian package that brings it.
struct Need {
    is_there: fn() -> bool,
    package: &'static str,
}

const JAVA: [Need; 2] = [
    // The JDK, not the run time alone: the starter classes of Elasticsearch are compiled here.
    Need { is_there: || in_path("javac") && in_path("jar"), package: "default-jdk-headless" },
    Need { is_there: || in_path("mvn"), package: "maven" },
];
const OPENSSL: Need = Need { is_there: || in_path("openssl"), package: "openssl" };
const POSTGRES: Need = Need { is_there: || super::postgres::find_binary("postgres").is_ok(), package: "postgresql" };
const MARIADB: [Need; 2] = [
    // The server without its installer, and the client that the tests read with.
    Need { is_there: || super::mariadb::find_binary().is_ok(), package: "mariadb-server-core" },
    Need { is_there: || in_path("mariadb"), package: "mariadb-client-core" },
];

const VENV: Need = Need { is_there: has_venv, package: "python3-venv" };
const PIP: Need = Need { is_there: has_pip, package: "python3-pip" };

/// Makes sure that the programs behind `wanted` are there.
pub(crate) fn ensure_for_services(wanted: &BTreeSet<Service>) -> Result<()> {
    let mut needs: Vec<&Need> = Vec::new();
    if wanted.iter().any(|service| !matches!(service, Service::Postgres | Service::MariaDb | Service::Objects)) {
        needs.extend(&JAVA);
    }
    if wanted.contains(&Service::Kafka) {
        needs.push(&OPENSSL);
    }
    if wanted.contains(&Service::Postgres) {
        needs.push(&POSTGRES);
    }
    if wanted.contains(&Service::MariaDb) {
        needs.extend(&MARIADB);
    }
    if wanted.contains(&Service::Objects) {
        needs.push(&VENV);
    }
    ensure(&needs)
}

/// Makes sure that what fetches and starts a Flink cluster is there.
pub(crate) fn ensure_for_flink() -> Result<()> {
    ensure(&[&JAVA[0], &JAVA[1], &PIP])
}

/// Makes sure that Python environments can be made.
pub(crate) fn ensure_for_python() -> Result<()> {
    ensure(&[&VENV])
}

fn has_venv() -> bool {
    Command::new("python3").args(["-c", "import venv, ensurepip"]).output().is_ok_and(|output| output.status.success())
}

fn ensure(needs: &[&Need]) -> Result<()> {
    let missing: Vec<&str> = needs.iter().filter(|need| !(need.is_there)()).map(|need| need.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    let is_root = run_tool("ask for the user id", Command::new("id").arg("-u"))?.trim() == "0";
    if !is_root || !in_path("apt-get") {
        bail!("missing on this machine: {}; as root, run: {line}", missing.join(", "));
    }
    eprintln!("xtask: {line}");
    run_tool("update Debian's package lists", Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(&missing);
    run_tool("install Debian packages", &mut install)?;
    Ok(())
}

fn in_path(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|folder| folder.join(program).is_file())
}

fn has_pip() -> bool {
    Command::new("python3").args(["-m", "pip", "--version"]).output().is_ok_and(|output| output.status.success())
}
