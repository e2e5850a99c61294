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

/// The run-time closure of Maven `coordinates` (`group:artifact:version`) as a flat folder of jars.
pub(crate) fn maven(name: &str, coordinates: &[&str]) -> Result<PathBuf> {
    folder(name, |target| {
        let work = tempfile::tempdir()?;
        fs::write(work.path().join("pom.xml"), pom(coordinates)?)?;
        let repository = root()?.join("m2");
        let mut command = Command::new("mvn");
        command.current_dir(work.path()).args(["--quiet", "--batch-mode", "--strict-checksums"]);
        command.arg(format!("-Dmaven.repo.local={}", repository.display()));
        command.arg(format!("{MAVEN_DEPENDENCY_PLUGIN}:copy-dependencies"));
        command.arg("-DincludeScope=runtime").arg(format!("-DoutputDirectory={}", target.display()));
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

/// Files that Python's package index has, unpacked: one wheel without its dependencies.
pub(crate) fn wheel(name: &str, requirement: &str) -> Result<PathBuf> {
    folder(name, |target| {
        let work = tempfile::tempdir()?;
        let mut download = Command::new("python3");
        download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest"]);
        download.arg(work.path()).arg(requirement);
        // The jars come as a source archive in some versions: then only the unpacked form is wanted, hence the second try without the limit.
        if run_tool("download from PyPI", &mut download).is_err() {
            let mut source = Command::new("python3");
            source.args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation", "--dest"]);
            source.arg(work.path()).arg(requirement);
            run_tool("download from PyPI", &mut source)?;
        }
        for entry in fs::read_dir(work.path())? {
            let file = entry?.path();
            let mut unpack = Command::new("python3");
            unpack
                .args(["-c", "import shutil,sys; shutil.unpack_archive(sys.argv[1], sys.argv[2], sys.argv[3])"])
                .arg(&file)
                .arg(target);
            let is_wheel = file.extension().is_some_and(|extension| extension == "whl" || extension == "zip");
            unpack.arg(if is_wheel { "zip" } else { "gztar" });
            run_tool("unpack a Python package", &mut unpack)?;
        }
        Ok(())
    })
}

/// Java sources compiled against `class_path`, kept under a name that carries a hash of the sources.
pub(crate) fn java_classes(name: &str, file_name: &str, source: &str, class_path: &str) -> Result<PathBuf> {
    let hash = hex(&Sha256::digest(source.as_bytes()));
    folder(&format!("{name}-{}", &hash[..12]), |target| {
        let work = tempfile::tempdir()?;
        let file = work.path().join(file_name);
        fs::write(&file, source)?;
        let mut command = Command::new("javac");
        command.arg("-d").arg(target).args(["-cp", class_path]).arg(&file);
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
    let mut open = vec![folder.to_owned()];
    while let Some(current) = open.pop() {
        for entry in fs::read_dir(&current)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let relative = path.strip_prefix(folder)?.to_string_lossy().into_owned();
            if relative != SUMS_FILE {
                sums.insert(relative, file_sum(&path)?);
            }
        }
    }
    Ok(sums)
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
