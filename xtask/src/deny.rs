//! Licences and sources of everything that is linked in, held against `deny.toml`.
//!
//! This is the part of `cargo deny` that needs no download: cargo's own metadata and the two lists of `deny.toml`. Advisories need
//! their database; `cargo deny check` asks it, and is run as well where it is installed.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};

use crate::cargo;

/// The platform that is shipped; what others need is not linked.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Checks every package of the lock file.
pub(crate) fn run(root: &Path) -> Result<()> {
    let policy = std::fs::read_to_string(root.join("deny.toml")).context("read deny.toml")?;
    let (allowed, registries) = (list(&policy, "allow"), list(&policy, "allow-registry"));
    ensure!(!allowed.is_empty() && !registries.is_empty(), "deny.toml lists no licences or no registries");
    let output = cargo::command()
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", PLATFORM])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata ended with {}", output.status);
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("metadata without packages")?;
    let mut problems = Vec::new();
    for package in packages {
        let name =
            format!("{} {}", package["name"].as_str().unwrap_or("?"), package["version"].as_str().unwrap_or("?"));
        match package["source"].as_str() {
            // Our own.
            None => {}
            Some(source) if registries.iter().any(|r| source == format!("registry+{r}")) => {}
            Some(source) => problems.push(format!("{name} comes from `{source}`")),
        }
        match package["license"].as_str() {
            None => problems.push(format!("{name} names no licence")),
            Some(license) => match is_allowed(license, &allowed) {
                Ok(true) => {}
                Ok(false) => problems.push(format!("{name} is under `{license}`, which deny.toml does not allow")),
                Err(e) => problems.push(format!("{name}: the licence `{license}` cannot be read: {e}")),
            },
        }
    }
    for problem in &problems {
        println!("{problem}");
    }
    ensure!(problems.is_empty(), "{} problems with licences or sources", problems.len());
    println!("{} packages, all under allowed licences and from allowed sources", packages.len());
    let has_deny = cargo::command().args(["deny", "--version"]).output().is_ok_and(|o| o.status.success());
    if has_deny {
        return cargo::run(&["deny", "check"], &[]);
    }
    println!("cargo-deny is not installed: advisories were not looked up");
    Ok(())
}

/// The texts of `key = ["a", "b"]` in TOML, over one line or several.
fn list(toml: &str, key: &str) -> Vec<String> {
    let Some((_, rest)) = toml.split_once(&format!("\n{key} = [")) else { return Vec::new() };
    let inside = rest.split(']').next().unwrap_or_default();
    inside.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether an SPDX expression is satisfied by what is allowed. The old `A/B` means OR.
fn is_allowed(expression: &str, allowed: &[String]) -> Result<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words: Vec<&str> = spaced.split_whitespace().collect();
    words.reverse();
    let found = either(&mut words, allowed)?;
    ensure!(words.is_empty(), "`{}` is too much", words.join(" "));
    Ok(found)
}

fn either(words: &mut Vec<&str>, allowed: &[String]) -> Result<bool> {
    let mut found = both(words, allowed)?;
    while words.last() == Some(&"OR") {
        words.pop();
        found |= both(words, allowed)?;
    }
    Ok(found)
}

fn both(words: &mut Vec<&str>, allowed: &[String]) -> Result<bool> {
    let mut found = one(words, allowed)?;
    while words.last() == Some(&"AND") {
        words.pop();
        found &= one(words, allowed)?;
    }
    Ok(found)
}

fn one(words: &mut Vec<&str>, allowed: &[String]) -> Result<bool> {
    match words.pop() {
        Some("(") => {
            let found = either(words, allowed)?;
            ensure!(words.pop() == Some(")"), "a bracket is not closed");
            Ok(found)
        }
        Some(license) if !["AND", "OR", "WITH", ")"].contains(&license) => {
            let mut name = license.to_owned();
            if words.last() == Some(&"WITH") {
                words.pop();
                name = format!("{license} WITH {}", words.pop().context("WITH what?")?);
            }
            Ok(allowed.contains(&name))
        }
        other => bail!("a licence is missing at `{}`", other.unwrap_or("the end")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_means_them() {
        let allowed: Vec<String> = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
        let cases = [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("MIT AND GPL-3.0", false),
            ("GPL-3.0/MIT", true),
            ("(MIT OR GPL-3.0) AND ISC", true),
            ("GPL-3.0 AND ISC OR MIT", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
        ];
        for (expression, expected) in cases {
            assert_eq!(is_allowed(expression, &allowed).unwrap(), expected, "{expression}");
        }
        for wrong in ["", "MIT OR", "(MIT", "MIT ISC", "AND MIT"] {
            assert!(is_allowed(wrong, &allowed).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_are_found_by_their_whole_key() {
        let toml = "[a]\nallow = [\n    \"x\", # why\n    \"y z\",\n]\nallow-registry = [\"r\"]\n";
        assert_eq!(list(toml, "allow"), ["x", "y z"]);
        assert_eq!(list(toml, "allow-registry"), ["r"]);
        assert_eq!(list(toml, "deny"), Vec::<String>::new());
    }
}
