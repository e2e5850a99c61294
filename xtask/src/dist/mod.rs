//! Packages: a tar file with the portable program, and a wheel with the same program for `pip install`.
//!
//! *Portable* is checked, not hoped for: of the machine the program may ask for glibc and what always comes with it, and how new
//! that has to be is read from the program and stands in the wheel's name, so that pip refuses where it would not start.

mod build;
mod licences;
mod needs;
pub(crate) mod wheel;
mod zip;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use needs::Needs;

/// The version of every package: the workspace has one.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Builds, unless a program is given, and packs.
pub(crate) fn run(root: &Path, binary: Option<&Path>, output: Option<&Path>) -> Result<()> {
    let binary = match binary {
        Some(binary) => binary.to_owned(),
        None => build::portable(root)?,
    };
    let output = output.map_or_else(|| build::target_folder(root).join("packages"), Path::to_owned);
    fs::create_dir_all(&output).with_context(|| format!("make `{}`", output.display()))?;
    let needs = Needs::of(&binary)?;
    ensure!(
        needs.others.is_empty(),
        "`{}` is not portable: it asks for {}, which not every machine has",
        binary.display(),
        needs.others.join(", ")
    );
    let licences = licences::texts(root, &build::archives()?)?;
    for path in [tar(root, &binary, &licences, &output)?, wheel::write(root, &binary, &needs, &licences, &output)?] {
        println!("{}  {:.1} MB", path.display(), fs::metadata(&path)?.len() as f64 / 1e6);
    }
    println!(
        "program {:.1} MB; needs glibc {}.{} or newer, and nothing else",
        fs::metadata(&binary)?.len() as f64 / 1e6,
        needs.glibc.0,
        needs.glibc.1
    );
    Ok(())
}

/// `wiesel-0.1.0-linux-x86_64.tar.gz`: one folder with the program and the licences.
fn tar(root: &Path, binary: &Path, licences: &str, output: &Path) -> Result<PathBuf> {
    let name = format!("wiesel-{VERSION}-linux-{}", std::env::consts::ARCH);
    let folder = tempfile::tempdir()?;
    let inside = folder.path().join(&name);
    fs::create_dir(&inside)?;
    fs::copy(binary, inside.join("wiesel")).with_context(|| format!("copy `{}`", binary.display()))?;
    for file in licences::OWN {
        fs::copy(root.join(file), inside.join(file)).with_context(|| format!("copy `{file}`"))?;
    }
    fs::write(inside.join(licences::FILE), licences)?;
    let path = output.join(format!("{name}.tar.gz"));
    let status = Command::new("tar")
        .args(["--owner=0", "--group=0", "--create", "--gzip", "--file"])
        .arg(&path)
        .arg("--directory")
        .arg(folder.path())
        .arg(&name)
        .status()
        .context("run tar")?;
    ensure!(status.success(), "tar ended with {status}");
    Ok(path)
}
