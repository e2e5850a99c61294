//! One Apache Kafka broker (KRaft, broker and controller in one process) with every way to log in that wiesel has to know.
//!
//! Listeners: `PLAINTEXT` without a login; `SASL_PLAINTEXT` and `SASL_SSL` with PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512. The users are
//! the same for all mechanisms. TLS uses a PEM key store made by openssl, so no Java key tool is needed, and clients get the CA's
//! certificate as a file. The broker can be stopped, killed and started again on the same ports and data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::cache::{self, Closure};
use super::process::{Process, Signal, free_ports, run_tool};

/// The broker's version.
pub(crate) const VERSION: &str = "4.3.1";
/// The user that tests log in as.
pub(crate) const USER: &str = "reader";
/// The password of `USER`: a secret of a server that only lives on loopback, during a test.
pub(crate) const PASSWORD: &str = "reader-secret";

const READY_LIMIT: Duration = Duration::from_secs(240);
const HEAP: &str = "768m";

/// The broker, its addresses and its files.
pub(crate) struct Kafka {
    libraries: PathBuf,
    folder: PathBuf,
    ports: [u16; 6],
    process: Option<Process>,
}

impl Kafka {
    /// Formats a data folder under `folder` and starts the broker; `wait_ready` waits for it.
    pub(crate) fn start(folder: &Path) -> Result<Kafka> {
        // The closure of kafka_2.13 has no slf4j binding: without slf4j-simple the broker logs nothing and its ready line never comes.
        let libraries = cache::maven(
            &format!("kafka-{VERSION}"),
            &[&format!("org.apache.kafka:kafka_2.13:{VERSION}"), "org.slf4j:slf4j-simple:1.7.36"],
            Closure::Whole,
        )?;
        fs::create_dir_all(folder)?;
        let mut kafka = Kafka { libraries, folder: folder.to_owned(), ports: free_ports()?, process: None };
        make_certificates(folder)?;
        fs::write(kafka.properties_file(), kafka.properties())?;
        kafka.format_storage()?;
        kafka.launch()?;
        Ok(kafka)
    }

    /// Starts the broker again, on the same ports and data, and waits until it serves.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()?;
        self.wait_ready()
    }

    fn launch(&mut self) -> Result<()> {
        let mut command = self.java();
        command
            .args([&format!("-Xms{HEAP}"), &format!("-Xmx{HEAP}"), "-XX:+UseSerialGC", "kafka.Kafka"])
            .arg(self.properties_file());
        self.process = Some(Process::start("kafka", command, &self.folder.join("kafka.log"), Signal::Term)?);
        Ok(())
    }

    /// Waits until the broker serves.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        self.running()?.wait_for_log("Kafka Server started", READY_LIMIT)
    }

    /// Orderly stop.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.stop())
    }

    /// The process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// `kill -9`: what a crash of the broker looks like.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Address without login.
    pub(crate) fn plaintext(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// Address with login, without encryption.
    pub(crate) fn sasl_plaintext(&self) -> String {
        format!("127.0.0.1:{}", self.ports[1])
    }

    /// Address with login and encryption.
    pub(crate) fn sasl_ssl(&self) -> String {
        format!("localhost:{}", self.ports[2])
    }

    /// A listener for a proxy that breaks the network: where the broker listens, and where it tells its clients that it does, which is
    /// where the proxy must listen.
    pub(crate) fn behind_proxy(&self) -> (String, String) {
        (format!("127.0.0.1:{}", self.ports[4]), format!("127.0.0.1:{}", self.ports[5]))
    }

    /// The CA's certificate that `sasl_ssl` is signed with.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Changes what the broker knows of a user, as `kafka-configs --alter` does.
    pub(crate) fn configure_user(&self, user: &str, change: &[&str]) -> Result<()> {
        let mut command = self.java();
        command
            .args(["-Xmx256m", "kafka.admin.ConfigCommand", "--bootstrap-server", &self.plaintext(), "--alter"])
            .args(["--entity-type", "users", "--entity-name", user])
            .args(change);
        run_tool("change a user of Kafka", &mut command)?;
        Ok(())
    }

    fn running(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the Kafka broker is stopped")
    }

    fn java(&self) -> Command {
        let mut command = Command::new("java");
        command.arg("-cp").arg(format!("{}/*", self.libraries.display()));
        command
    }

    fn properties_file(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn format_storage(&self) -> Result<()> {
        let mut command = self.java();
        command
            .args(["kafka.tools.StorageTool", "format", "--cluster-id", "d2llc2VsLXRlc3QtY2x1c3Q", "--config"])
            .arg(self.properties_file());
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            command.args(["--add-scram", &format!("{mechanism}=[name={USER},password={PASSWORD}]")]);
        }
        run_tool("format Kafka's storage", &mut command)?;
        Ok(())
    }

    fn properties(&self) -> String {
        let [plaintext, sasl_plaintext, sasl_ssl, controller, proxied, proxy] = self.ports;
        let folder = self.folder.display();
        let mut text = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:{plaintext},SASL_PLAINTEXT://127.0.0.1:{sasl_plaintext},SASL_SSL://127.0.0.1:{sasl_ssl},PROXIED://127.0.0.1:{proxied},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{plaintext},SASL_PLAINTEXT://127.0.0.1:{sasl_plaintext},SASL_SSL://localhost:{sasl_ssl},PROXIED://127.0.0.1:{proxy}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=PLAINTEXT\n\
             sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
             listener.name.sasl_ssl.ssl.keystore.type=PEM\n\
             listener.name.sasl_ssl.ssl.keystore.location={folder}/server.pem\n\
             log.dirs={folder}/data\n\
             log.retention.ms=-1\n\
             num.partitions=1\n\
             offsets.topic.num.partitions=4\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.num.partitions=4\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n"
        );
        for listener in ["sasl_plaintext", "sasl_ssl"] {
            text += &format!(
                "listener.name.{listener}.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";\n"
            );
            for mechanism in ["scram-sha-256", "scram-sha-512"] {
                text += &format!(
                    "listener.name.{listener}.{mechanism}.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n"
                );
            }
        }
        text
    }
}

/// A CA and a server certificate for `localhost` and `127.0.0.1`: `ca.pem` for clients, `server.pem` (key, certificate, CA) for the broker.
fn make_certificates(folder: &Path) -> Result<()> {
    let openssl =
        |what: &str, arguments: &[&str]| run_tool(what, Command::new("openssl").current_dir(folder).args(arguments));
    openssl(
        "make a CA",
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=wiesel-test-ca",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ],
    )?;
    openssl(
        "make a certificate request",
        &[
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-keyout",
            "server.key",
            "-out",
            "server.csr",
        ],
    )?;
    fs::write(folder.join("server.ext"), "subjectAltName=DNS:localhost,DNS:broker,IP:127.0.0.1\n")?;
    openssl(
        "sign the certificate",
        &[
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "30",
            "-extfile",
            "server.ext",
            "-out",
            "server.crt",
        ],
    )?;
    let mut server = Vec::new();
    for part in ["server.key", "server.crt", "ca.pem"] {
        server.extend(fs::read(folder.join(part))?);
    }
    fs::write(folder.join("server.pem"), server)?;
    Ok(())
}
