//! The wheel: the program as a script of the environment, a small package beside it, and the stand-in for PyFlink inside that package,
//! where it shadows nothing.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::VERSION;
use super::licences;
use super::needs::Needs;
use super::zip::Zip;

/// The files of the package `wiesel`.
const PACKAGE: &str = "crates/python/wheel";
/// The stand-in, which the program holds as well.
const STANDIN: &str = "crates/python/python/pyflink";
const SUMMARY: &str = "Runs Apache Flink SQL streaming jobs in one program, without a JVM";

/// Packs a program and the texts of the licences of what is in it, for the tests: the wheel is for this machine alone unless the program
/// is portable.
pub(crate) fn of_program(root: &Path, binary: &Path, folder: &Path) -> Result<PathBuf> {
    let licences = licences::texts(root, &[])?;
    write(root, binary, &Needs::of(binary)?, &licences, folder)
}

/// Writes the wheel into a folder.
pub(super) fn write(root: &Path, binary: &Path, needs: &Needs, licences: &str, folder: &Path) -> Result<PathBuf> {
    let tag = format!("py3-none-{}", needs.platform());
    let info = format!("wiesel-{VERSION}.dist-info");
    let mut wheel = Wheel::default();
    for (source, target) in [(PACKAGE, ""), (STANDIN, "wiesel/standin/pyflink/")] {
        let folder = root.join(source);
        let mut files = crate::tidy::files(&folder)?;
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "py")) {
            let name = format!("{target}{}", file.strip_prefix(&folder)?.display());
            wheel.add(&name, &fs::read(file).with_context(|| format!("read `{}`", file.display()))?, false)?;
        }
    }
    let program = fs::read(binary).with_context(|| format!("read `{}`", binary.display()))?;
    wheel.add(&format!("wiesel-{VERSION}.data/scripts/wiesel"), &program, true)?;
    for file in licences::OWN {
        wheel.add(&format!("{info}/licenses/{file}"), &fs::read(root.join(file))?, false)?;
    }
    wheel.add(&format!("{info}/licenses/{}", licences::FILE), licences.as_bytes(), false)?;
    wheel.add(&format!("{info}/METADATA"), metadata().as_bytes(), false)?;
    let text = format!("Wheel-Version: 1.0\nGenerator: wiesel xtask ({VERSION})\nRoot-Is-Purelib: false\nTag: {tag}\n");
    wheel.add(&format!("{info}/WHEEL"), text.as_bytes(), false)?;
    let path = folder.join(format!("wiesel-{VERSION}-{tag}.whl"));
    fs::write(&path, wheel.finish(&info)?).with_context(|| format!("write `{}`", path.display()))?;
    Ok(path)
}

/// What pip shows. pyarrow is an extra: only functions in Python ask for it, in the interpreter that runs them.
fn metadata() -> String {
    let mut text = format!("Metadata-Version: 2.4\nName: wiesel\nVersion: {VERSION}\nSummary: {SUMMARY}\n");
    text.push_str("License-Expression: MIT OR Apache-2.0\n");
    for file in licences::OWN.iter().chain([&licences::FILE]) {
        writeln!(text, "License-File: {file}").expect("a text takes everything");
    }
    text.push_str(
        "Requires-Python: >=3.9\nProvides-Extra: functions\nRequires-Dist: pyarrow; extra == \"functions\"\n",
    );
    text.push_str("Description-Content-Type: text/plain\n\n");
    text.push_str(
        "`wiesel run job.sql` runs a Flink SQL job; `wiesel demo` shows one that needs nothing else.\n\
         Functions in Python need pyarrow in the interpreter that runs them: pip install 'wiesel[functions]'.\n",
    );
    text
}

/// A zip file that keeps the record of its files.
#[derive(Default)]
struct Wheel {
    zip: Zip,
    record: String,
}

impl Wheel {
    fn add(&mut self, name: &str, content: &[u8], is_executable: bool) -> Result<()> {
        let digest = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(content));
        writeln!(self.record, "{name},sha256={digest},{}", content.len())?;
        self.zip.add(name, content, is_executable)
    }

    fn finish(mut self, info: &str) -> Result<Vec<u8>> {
        let name = format!("{info}/RECORD");
        writeln!(self.record, "{name},,")?;
        self.zip.add(&name, self.record.as_bytes(), false)?;
        self.zip.finish()
    }
}
