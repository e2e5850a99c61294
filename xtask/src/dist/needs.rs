//! What a program asks of the machine it starts on, as `readelf` shows it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// What every Linux with glibc has; the list that wheels for any distribution may use, as far as it is needed here.
const EVERYWHERE: [&str; 6] =
    ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "libdl.so.2", "libpthread.so.0", "librt.so.1"];

/// The libraries of a program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The newest version of glibc that one of its symbols has.
    pub(super) glibc: (u32, u32),
    /// Libraries that not every machine has.
    pub(super) others: Vec<String>,
}

impl Needs {
    /// Reads them from the program's file.
    pub(crate) fn of(binary: &Path) -> Result<Needs> {
        let output = Command::new("readelf")
            .args(["--wide", "--dynamic", "--version-info"])
            .arg(binary)
            .env("LC_ALL", "C")
            .output()
            .context("run readelf, which comes with the linker")?;
        ensure!(output.status.success(), "readelf cannot read `{}`", binary.display());
        let needs = parse(&String::from_utf8_lossy(&output.stdout));
        ensure!(needs.glibc > (0, 0), "`{}` names no version of glibc", binary.display());
        Ok(needs)
    }

    /// The platform of a wheel's name: with the version of glibc, or for this machine alone.
    pub(super) fn platform(&self) -> String {
        let arch = std::env::consts::ARCH;
        if self.others.is_empty() {
            format!("manylinux_{}_{}_{arch}", self.glibc.0, self.glibc.1)
        } else {
            format!("linux_{arch}")
        }
    }
}

fn parse(text: &str) -> Needs {
    let mut needs = Needs { glibc: (0, 0), others: Vec::new() };
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("Shared library: [") {
            let name = rest.split(']').next().unwrap_or_default();
            if !EVERYWHERE.contains(&name) && !name.starts_with("ld-linux") {
                needs.others.push(name.to_owned());
            }
        }
        if let Some((_, rest)) = line.split_once("Name: GLIBC_") {
            let version = rest.split_whitespace().next().unwrap_or_default();
            let mut parts = version.split('.').map_while(|part| part.parse().ok());
            let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
            needs.glibc = needs.glibc.max(version);
        }
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::{Needs, parse};

    #[test]
    fn libraries_and_the_newest_glibc_are_found() {
        let text = " 0x1 (NEEDED)  Shared library: [librocksdb.so.7.8]\n 0x1 (NEEDED)  Shared library: [libc.so.6]\n\
            \x20 0x0010:   Name: GLIBC_2.9  Flags: none  Version: 7\n  0x0020:   Name: GLIBC_2.34  Flags: none  Version: 5\n\
            \x20 0x0020:   Name: GLIBC_2.2.5  Flags: none  Version: 5\n";
        let needs = parse(text);
        assert_eq!(needs, Needs { glibc: (2, 34), others: vec!["librocksdb.so.7.8".to_owned()] });
        assert!(needs.platform().starts_with("linux_"));
        assert!(Needs { others: Vec::new(), ..needs }.platform().starts_with("manylinux_2_34_"));
    }
}
