//! `cargo xtask ci PART`: one part of what continuous integration asks, so that a laptop can answer one question.
//! `.ci/run` calls the parts one after another.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::cargo;
use crate::commands::test::{build_binary, repository};
use crate::commands::tidy::TidyCommand;

/// Runs one check of continuous integration.
#[derive(Debug, clap::Args)]
pub(crate) struct CiCommand {
    #[arg(value_enum)]
    part: Part,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Part {
    /// Every Rust file is formatted.
    Fmt,
    /// No warning of the compiler or of clippy.
    Clippy,
    /// Licences and sources of all packages, as `deny.toml` allows them.
    Deny,
    /// Heads, notes, switched-off tests.
    Tidy,
    /// The documentation builds without a warning, no link in a Markdown file leads nowhere, and the pages made by `cargo xtask docs`
    /// are as it makes them.
    Docs,
}

impl CiCommand {
    /// Runs the command to its end.
    pub(crate) fn run(&self) -> Result<()> {
        match self.part {
            Part::Fmt => cargo::run(&["fmt", "--all", "--check"], &[]),
            Part::Clippy => {
                cargo::run(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &[])
            }
            Part::Deny => crate::deny::run(&repository()?),
            Part::Tidy => TidyCommand {}.run(),
            Part::Docs => {
                cargo::run(&["doc", "--workspace", "--no-deps", "--quiet"], &[("RUSTDOCFLAGS", "-D warnings")])?;
                check_links(&repository()?)?;
                let binary = build_binary(&["--workspace", "--bins"])?;
                crate::docs::run(&repository()?, &binary, true)
            }
        }
    }
}

/// Every relative link in the Markdown files must lead to a file.
fn check_links(root: &Path) -> Result<()> {
    let mut broken = Vec::new();
    for file in crate::tidy::files(root)? {
        if file.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let folder = file.parent().unwrap_or(root);
        for target in links(&fs::read_to_string(&file)?) {
            let is_outside = target.contains("://") || target.starts_with(['#', '<']) || target.starts_with("mailto:");
            let path = target.split('#').next().unwrap_or_default();
            if !is_outside && !folder.join(path).exists() {
                broken.push(format!("{}: `{target}` leads nowhere", file.strip_prefix(root)?.display()));
            }
        }
    }
    for line in &broken {
        println!("{line}");
    }
    ensure!(broken.is_empty(), "{} broken links", broken.len());
    Ok(())
}

/// Targets of `[text](target)`, outside code blocks.
fn links(markdown: &str) -> Vec<String> {
    let mut targets = Vec::new();
    let mut is_code = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        // Code in backticks is every second piece.
        let text: String = line.split('`').step_by(2).collect();
        for piece in text.split("](").skip(1) {
            if let Some((target, _)) = piece.split_once(')') {
                targets.push(target.split(' ').next().unwrap_or_default().to_owned());
            }
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::{links, repository};

    #[test]
    fn the_workflow_runs_the_test_command_of_the_readme_and_every_part() {
        let root = repository().expect("xtask lies in the repository");
        let text = std::fs::read_to_string(root.join(".github/workflows/ci.yml")).expect("the workflow is there");
        let workflow: serde_json::Value = serde_saphyr::from_str(&text).expect("the workflow is YAML");
        let steps = workflow["jobs"]["test"]["steps"].as_array().expect("the job has steps");
        let commands: Vec<&str> = steps.iter().filter_map(|step| step["run"].as_str()).collect();
        let readme = std::fs::read_to_string(root.join("README.md")).expect("there is a README");
        assert!(readme.contains("\nmake test ") && commands.contains(&"make test"), "{commands:?}");
        for part in <super::Part as clap::ValueEnum>::value_variants() {
            let name = clap::ValueEnum::to_possible_value(part).expect("no part is hidden").get_name().to_owned();
            assert!(commands.contains(&format!("cargo xtask ci {name}").as_str()), "no `{name}` in {commands:?}");
        }
    }

    #[test]
    fn links_are_found_in_prose_and_not_in_code() {
        let text = "See [a](a.md) and [b](b/c.md#part \"title\").\n```\n[no](no.md)\n```\nNot `[x](y.md)` either.\n";
        assert_eq!(links(text), ["a.md", "b/c.md#part"]);
    }
}
