//! The portable build: RocksDB, OpenSSL and the C++ library are put into the program, from the archives of Debian's packages.
//!
//! The archives are linked into a folder of their own, because a search path with all of Debian's archives in it would also answer for
//! libraries that crates build themselves.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cargo;

/// The archives, and the package each of them comes with.
const ARCHIVES: [(&str, &str); 7] = [
    ("librocksdb.a", "librocksdb-dev"),
    ("libsnappy.a", "libsnappy-dev"),
    ("liblz4.a", "liblz4-dev"),
    ("libbz2.a", "libbz2-dev"),
    ("libssl.a", "libssl-dev"),
    ("libcrypto.a", "libssl-dev"),
    ("libstdc++.a", "g++"),
];

/// Where cargo puts what it builds.
pub(super) fn target_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// Where the archives are on this machine; the compiler is asked, as the linker would be.
pub(super) fn archives() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for (archive, package) in ARCHIVES {
        let output =
            Command::new("c++").arg(format!("-print-file-name={archive}")).output().context("run the C++ compiler")?;
        let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        // A compiler that does not find it repeats the name.
        match path.canonicalize() {
            Ok(path) if path.is_absolute() && path.ends_with(archive) => found.push(path),
            _ => missing.push(package),
        }
    }
    missing.dedup();
    ensure!(missing.is_empty(), "archives are missing; to install them: apt-get install {}", missing.join(" "));
    Ok(found)
}

/// Builds the program and says where it is.
pub(super) fn portable(root: &Path) -> Result<PathBuf> {
    let target = target_folder(root);
    let folder = target.join("archives");
    fs::create_dir_all(&folder).with_context(|| format!("make `{}`", folder.display()))?;
    for archive in archives()? {
        let link = folder.join(archive.file_name().context("an archive has a name")?);
        if fs::read_link(&link).is_ok_and(|old| old == archive) {
            continue;
        }
        if link.is_symlink() {
            fs::remove_file(&link)?;
        }
        symlink(&archive, &link).with_context(|| format!("link `{}`", link.display()))?;
    }
    let status = cargo::command()
        .args(["build", "--locked", "--profile", "dist", "--package", "wiesel"])
        .args(["--no-default-features", "--features", "portable"])
        .current_dir(root)
        .env("RUSTFLAGS", format!("-L native={}", folder.display()))
        .envs([("OPENSSL_STATIC", "1"), ("OPENSSL_INCLUDE_DIR", "/usr/include")])
        .env("OPENSSL_LIB_DIR", &folder)
        // librdkafka then looks for the machine's certificates where distributions put them, not where this OpenSSL would.
        .env("CFLAGS", "-DWITH_STATIC_LIB_libcrypto=1")
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "the portable program does not build");
    Ok(target.join("dist/wiesel"))
}
