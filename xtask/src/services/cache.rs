//! Downloads, outside the tree, made once and checked ever after.
//!
//! `${WIESEL_CACHE:-$HOME/.cache/wiesel}/<name>/` holds the files of one server and `SHA256SUMS`, which is written last: a folder
//! with that file is complete, one without is thrown away and fetched anew. Each use hashes the files again, so a cut download or a
//! changed file is found before a server starts with it. Maven checks its own checksums on the way in (`-C`). A lock file lets two
//! runs share the cache.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use super::process::{empty_folder, run_tool};

const SUMS_FILE: &str = "SHA256SUMS";
const MAVEN_DEPENDENCY_PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1";
/// Read size while hashing: large enough that the system call costs nothing beside the hash.
const HASH_BUFFER_BYTES: usize = 1 << 20;

/// The cache's root folder.
pub(crate) fn root() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("WIESEL_CACHE") {
        return Ok(PathBuf::from(folder));
    }
    let home = std::env::var_os("HOME")
        .context("neither WIESEL_CACHE nor HOME is set: set WIESEL_CACHE to a folder for downloads")?;
    Ok(PathBuf::from(home).join(".cache/wiesel"))
}

/// The folder `name`, filled by `fill` on first use and verified on every other.
pub(crate) fn folder(name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let root = root()?;
    fs::create_dir_all(&root).with_context(|| format!("create the cache folder `{}`", root.display()))?;
    let lock = File::create(root.join(format!("{name}.lock")))?;
    lock.lock().with_context(|| format!("lock the cache folder of `{name}`"))?;
    let target = root.join(name);
    if target.join(SUMS_FILE).exists() {
        verify(&target)?;
        return Ok(target);
    }
    eprintln!("xtask: fetching `{name}` into {}", target.display());
    empty_folder(&target)?;
    fill(&target).with_context(|| format!("fetch `{name}`"))?;
    let sums = sums(&target)?;
    ensure!(!sums.is_empty(), "fetching `{name}` brought no files");
    let mut text = String::new();
    for (file, sum) in &sums {
        writeln!(text, "{sum}  {file}")?;
    }
    let partial = target.join("SHA256SUMS.partial");
    fs::write(&partial, text)?;
    fs::rename(&partial, target.join(SUMS_FILE))?;
    Ok(target)
}

/// What a Maven download brings beside the named jars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closure {
    /// All that they need at run time.
    Whole,
    /// Nothing: the rest is on the class path already.
    Alone,
}

/// Maven `coordinates` (`group:artifact:version`) as a flat folder of jars.
pub(crate) fn maven(name: &str, coordinates: &[&str], closure: Closure) -> Result<PathBuf> {
    folder(name, |target| {
        let work = tempfile::tempdir()?;
        fs::write(work.path().join("pom.xml"), pom(coordinates)?)?;
        let repository = root()?.join("m2");
        let mut command = Command::new("mvn");
        command.current_dir(work.path()).args(["--quiet", "--batch-mode", "--strict-checksums"]);
        command.arg(format!("-Dmaven.repo.local={}", repository.display()));
        command.arg(format!("{MAVEN_DEPENDENCY_PLUGIN}:copy-dependencies"));
        command.arg("-DincludeScope=runtime").arg(format!("-DoutputDirectory={}", target.display()));
        if closure == Closure::Alone {
            command.arg("-DexcludeTransitive=true");
        }
        run_tool("download from Maven Central", &mut command)?;
        Ok(())
    })
}

fn pom(coordinates: &[&str]) -> Result<String> {
    let mut text = String::from(
        "<project><modelVersion>4.0.0</modelVersion><groupId>wiesel</groupId><artifactId>services</artifactId>",
    );
    text.push_str("<version>1</version><packaging>pom</packaging><dependencies>");
    for coordinate in coordinates {
        let parts: Vec<&str> = coordinate.split(':').collect();
        let [group, artifact, version] = parts[..] else {
            anyhow::bail!("`{coordinate}` is not group:artifact:version");
        };
        write!(
            text,
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
        )?;
    }
    text.push_str("</dependencies></project>");
    Ok(text)
}

/// Files out of a package of Python's index, without its dependencies: `keep` says where in the folder a file of the archive goes, if at all.
pub(crate) fn python_package(
    name: &str,
    requirement: &str,
    keep: impl Fn(&Path) -> Option<PathBuf>,
) -> Result<PathBuf> {
    folder(name, |target| {
        let work = tempfile::tempdir_in(root()?)?;
        let mut download = Command::new("python3");
        download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", requirement]);
        run_tool("download from PyPI", download.current_dir(work.path()))?;
        for archive in files_below(work.path())? {
            // A wheel is a zip, which the JDK's own tool opens; a source archive is a compressed tar.
            let is_zip = archive.extension().is_some_and(|extension| extension == "whl" || extension == "zip");
            let mut unpack = Command::new(if is_zip { "jar" } else { "tar" });
            unpack.arg(if is_zip { "xf" } else { "xzf" }).arg(&archive).current_dir(work.path());
            run_tool("unpack a Python package", &mut unpack)?;
        }
        for file in files_below(work.path())? {
            if let Some(place) = keep(file.strip_prefix(work.path())?) {
                let kept = target.join(place);
                fs::create_dir_all(kept.parent().context("a kept file has a folder")?)?;
                fs::rename(&file, kept)?;
            }
        }
        Ok(())
    })
}

/// What turns Java sources into classes.
pub(crate) enum Compiler {
    /// The machine's.
    Javac,
    /// Eclipse's, out of this folder: it reads the classes of a newer Java than the one that it runs on.
    Eclipse(PathBuf),
}

/// A Java source compiled against the jars of the folder `libraries`, kept under a name that carries a hash of the source.
pub(crate) fn java_classes(
    name: &str,
    file_name: &str,
    source: &str,
    libraries: &Path,
    compiler: &Compiler,
) -> Result<PathBuf> {
    let hash = hex(&Sha256::digest(source.as_bytes()));
    folder(&format!("{name}-{}", &hash[..12]), |target| {
        let work = tempfile::tempdir()?;
        let file = work.path().join(file_name);
        fs::write(&file, source)?;
        let mut jars: Vec<String> = files_below(libraries)?.iter().map(|jar| jar.display().to_string()).collect();
        jars.retain(|jar| jar.ends_with(".jar"));
        let mut command = match compiler {
            Compiler::Javac => Command::new("javac"),
            Compiler::Eclipse(folder) => {
                let mut command = Command::new("java");
                let class_path = format!("{}/*", folder.display());
                command.args(["-cp", &class_path, "org.eclipse.jdt.internal.compiler.batch.Main", "-17"]);
                command
            }
        };
        command.arg("-d").arg(target).args(["-cp", &jars.join(":")]).arg(&file);
        run_tool("compile the starter class", &mut command)?;
        Ok(())
    })
}

fn verify(target: &Path) -> Result<()> {
    let text = fs::read_to_string(target.join(SUMS_FILE))?;
    let expected: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(sum, file)| (file.to_owned(), sum.to_owned()))
        .collect();
    let found = sums(target)?;
    for (file, sum) in &expected {
        ensure!(
            found.get(file) == Some(sum),
            "`{}` is missing or differs from its checksum: remove the folder `{}`, it is fetched again then",
            file,
            target.display()
        );
    }
    Ok(())
}

/// Every file under `folder` with its checksum, but for the sums themselves.
fn sums(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut sums = BTreeMap::new();
    for path in files_below(folder)? {
        let relative = path.strip_prefix(folder)?.to_string_lossy().into_owned();
        if relative != SUMS_FILE {
            sums.insert(relative, file_sum(&path)?);
        }
    }
    Ok(sums)
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(current) = open.pop() {
        for entry in fs::read_dir(&current)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.push(path);
            }
        }
    }
    Ok(files)
}

fn file_sum(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; HASH_BUFFER_BYTES];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..count]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
