//! One Elasticsearch node, 7.17 or 8.19, out of the jars that Maven Central has: no distribution is published there.
//!
//! A starter class of ours (`xtask/java`) takes the launcher's place; it is compiled on first use. 7.17 takes the HTTP transport as a
//! class on its class path; 8.19 wants it as a module folder, and lacks the module that answers `GET /`, which we bring. What neither
//! has here: painless scripts, `_update_by_query`, `_reindex`, security. wiesel needs none of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::cache::{self, Closure};
use super::process::{Process, Signal, free_ports, run_tool};

const READY_LIMIT: Duration = Duration::from_secs(240);
const HEAP: &str = "512m";
const LOGGING: &str = "status = error\n\
    appender.console.type = Console\n\
    appender.console.name = console\n\
    appender.console.layout.type = PatternLayout\n\
    appender.console.layout.pattern = [%d{ISO8601}][%-5p][%c{1}] %m%n\n\
    rootLogger.level = info\n\
    rootLogger.appenderRef.console.ref = console\n";

/// The supported server lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// 7.17: the seeds' servers are 7.x.
    Seven,
    /// 8.19.
    Eight,
}

impl Line {
    /// Full version.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Line::Seven => "7.17.29",
            Line::Eight => "8.19.21",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Line::Seven => "es7",
            Line::Eight => "es8",
        }
    }
}

/// A node, its address and its files.
pub(crate) struct Elasticsearch {
    line: Line,
    class_path: String,
    folder: PathBuf,
    ports: [u16; 2],
    process: Option<Process>,
}

impl Elasticsearch {
    /// Lays out a home folder under `folder` and starts the node; `wait_ready` waits for it.
    pub(crate) fn start(line: Line, folder: &Path) -> Result<Elasticsearch> {
        for part in ["config", "logs", "plugins", "modules", "data"] {
            fs::create_dir_all(folder.join(part))?;
        }
        fs::write(folder.join("config/log4j2.properties"), LOGGING)?;
        let class_path = match line {
            Line::Seven => class_path_7()?,
            Line::Eight => class_path_8(folder)?,
        };
        let mut node =
            Elasticsearch { line, class_path, folder: folder.to_owned(), ports: free_ports()?, process: None };
        node.launch()?;
        Ok(node)
    }

    /// Starts the node again, on the same ports and data, and waits until it serves.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()?;
        self.wait_ready()
    }

    fn launch(&mut self) -> Result<()> {
        let mut command = Command::new("java");
        command.args([
            &format!("-Xms{HEAP}"),
            &format!("-Xmx{HEAP}"),
            "-XX:+UseSerialGC",
            "-cp",
            &self.class_path,
            "TestNode",
        ]);
        command.arg(&self.folder).arg(self.folder.join("data")).args(self.ports.map(|port| port.to_string()));
        let log = self.folder.join(format!("{}.log", self.line.name()));
        self.process = Some(Process::start(self.line.name(), command, &log, Signal::Term)?);
        Ok(())
    }

    /// Waits until the node serves.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        let url = format!("{}/_cluster/health", self.url());
        let process = self.process.as_mut().context("the Elasticsearch node is stopped")?;
        process.wait_for_log("node is ready", READY_LIMIT)?;
        process.wait_until(READY_LIMIT, "an answer on its HTTP port", |_| ureq::get(&url).call().is_ok())
    }

    /// Orderly stop.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.stop())
    }

    /// The process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Base address.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }
}

fn class_path_7() -> Result<String> {
    let version = Line::Seven.version();
    let libraries = cache::maven(
        &format!("elasticsearch-{version}"),
        &[
            &format!("org.elasticsearch:elasticsearch:{version}"),
            &format!("org.elasticsearch.plugin:transport-netty4-client:{version}"),
        ],
        Closure::Whole,
    )?;
    let jars = format!("{}/*", libraries.display());
    let starter =
        cache::java_classes("es7-starter", "TestNode.java", include_str!("../../java/es7/TestNode.java"), &jars)?;
    Ok(format!("{}:{jars}", starter.display()))
}

fn class_path_8(folder: &Path) -> Result<String> {
    let version = Line::Eight.version();
    let libraries = cache::maven(
        &format!("elasticsearch-{version}"),
        &[&format!("org.elasticsearch:elasticsearch:{version}")],
        Closure::Whole,
    )?;
    let transport = cache::maven(
        &format!("elasticsearch-{version}-netty4"),
        &[&format!("org.elasticsearch.plugin:transport-netty4:{version}")],
        Closure::Whole,
    )?;
    let jars = format!("{}/*", libraries.display());
    let starter =
        cache::java_classes("es8-starter", "TestNode.java", include_str!("../../java/es8/TestNode.java"), &jars)?;
    let root =
        cache::java_classes("es8-root", "RootPlugin.java", include_str!("../../java/es8-root/RootPlugin.java"), &jars)?;

    let netty_module = module(folder, "transport-netty4", "org.elasticsearch.transport.netty4.Netty4Plugin")?;
    for entry in fs::read_dir(&transport)? {
        let jar = entry?.path();
        let name = jar.file_name().context("a listed file has a name")?;
        // A jar that the server has too would trip its check for duplicate classes.
        let is_module_own =
            jar.extension().is_some_and(|extension| extension == "jar") && !libraries.join(name).exists();
        if is_module_own {
            std::os::unix::fs::symlink(&jar, netty_module.join(name))?;
        }
    }
    let root_module = module(folder, "rest-root", "RootPlugin")?;
    let mut pack = Command::new("jar");
    pack.arg("cf").arg(root_module.join("rest-root.jar")).arg("-C").arg(&root).arg(".");
    run_tool("pack the module that answers `GET /`", &mut pack)?;
    Ok(format!("{}:{jars}", starter.display()))
}

/// An empty module folder with its descriptor.
fn module(folder: &Path, name: &str, class_name: &str) -> Result<PathBuf> {
    let version = Line::Eight.version();
    let module = folder.join("modules").join(name);
    super::process::empty_folder(&module)?;
    let descriptor = format!(
        "name={name}\ndescription={name}\nversion={version}\nelasticsearch.version={version}\njava.version=17\nclassname={class_name}\n"
    );
    fs::write(module.join("plugin-descriptor.properties"), descriptor)?;
    Ok(module)
}
