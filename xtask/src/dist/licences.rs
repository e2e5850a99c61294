//! The licences of everything that is in the program: a list of packages, then each text once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cargo;

/// The repository's own.
pub(super) const OWN: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];
/// The file of all others.
pub(super) const FILE: &str = "THIRD-PARTY.txt";

/// How deep below a package licences are looked for: crates carry C libraries in folders of theirs.
const DEPTH_MAX: usize = 3;
/// Longer files are something else.
const TEXT_BYTES_MAX: u64 = 256 << 10;

/// The whole text. `archives` are the libraries of the machine that the program holds.
pub(super) fn texts(root: &Path, archives: &[PathBuf]) -> Result<String> {
    let mut list = String::new();
    let mut owners_by_text: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, licence, folder) in crates(root)? {
        list.push_str(&format!("{name}: {licence}\n"));
        let mut files = Vec::new();
        find(&folder, 0, &mut files)?;
        for file in files {
            let text = String::from_utf8_lossy(&fs::read(&file)?).replace("\r\n", "\n");
            owners_by_text.entry(text).or_default().insert(name.clone());
        }
    }
    for archive in archives {
        let (package, text) = of_archive(archive)?;
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        list.push_str(&format!("{name}: from {package}, see below\n"));
        owners_by_text.entry(text).or_default().insert(format!("{name} ({package})"));
    }
    let mut page = format!("wiesel holds these packages:\n\n{list}");
    for (text, owners) in &owners_by_text {
        let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
        page.push_str(&format!("\n{}\n{}\n\n{}\n", "-".repeat(80), owners.join(", "), text.trim()));
    }
    Ok(page)
}

/// Name with version, licence and folder of each package that is linked in and not our own.
fn crates(root: &Path) -> Result<Vec<(String, String, PathBuf)>> {
    let ask = |arguments: &[&str]| -> Result<String> {
        let output = cargo::command().args(arguments).current_dir(root).output().context("run cargo")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`cargo {}` failed: {said}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    };
    let tree = ask(&[
        "tree",
        "--locked",
        "--package",
        "wiesel",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--no-default-features",
        "--features",
        "portable",
    ])?;
    let linked: BTreeSet<String> =
        tree.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    let metadata: serde_json::Value = serde_json::from_str(&ask(&["metadata", "--locked", "--format-version", "1"])?)?;
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().context("metadata without packages")? {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        if package["source"].is_null() || !linked.contains(&format!("{} v{}", text("name"), text("version"))) {
            continue;
        }
        let folder = Path::new(&text("manifest_path")).parent().context("a manifest lies in a folder")?.to_owned();
        found.push((format!("{} {}", text("name"), text("version")), text("license"), folder));
    }
    found.sort();
    Ok(found)
}

/// Files that are called after licences.
fn find(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    const WORDS: [&str; 6] = ["license", "licence", "copying", "copyright", "notice", "unlicense"];
    for entry in fs::read_dir(folder).with_context(|| format!("list `{}`", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        let kind = entry.file_type()?;
        let is_text = !name.ends_with(".rs") && !name.ends_with(".py") && !name.ends_with(".sh");
        if kind.is_dir() && depth < DEPTH_MAX {
            find(&entry.path(), depth + 1, found)?;
        } else if kind.is_file()
            && is_text
            && WORDS.iter().any(|word| name.starts_with(word))
            && entry.metadata()?.len() <= TEXT_BYTES_MAX
        {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// The Debian package of an archive, and what it says of its licence.
fn of_archive(archive: &Path) -> Result<(String, String)> {
    let output =
        Command::new("dpkg").arg("--search").arg(archive).output().context("run dpkg: the archives are Debian's")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let package = text.split(':').next().unwrap_or_default().to_owned();
    ensure!(output.status.success() && !package.is_empty(), "no Debian package has `{}`", archive.display());
    let path = format!("/usr/share/doc/{package}/copyright");
    let text = fs::read(&path).with_context(|| format!("read `{path}`"))?;
    Ok((package, String::from_utf8_lossy(&text).into_owned()))
}
