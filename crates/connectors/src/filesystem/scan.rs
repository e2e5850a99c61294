//! Which files a table has: those below its path, as Flink finds them.
//!
//! Names that begin with `_` or `.` are hidden, files as well as directories, so `_SUCCESS` marks and files under construction are never
//! read. With 'source.path.regex-pattern' the files' absolute paths must match as a whole, and all directories are searched. Files are
//! read in the order of their paths (Flink promises none).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use regex::Regex;
use wiesel_core::{Error, ErrorKind, Result};
use wiesel_objects::ObjectUrl;

/// Directories below each other; more of them are a loop of links.
const DEPTH_MAX: usize = 64;

/// A file of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScannedFile {
    /// Its path below the table's, with `/`: the name of its split.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) modified_ms: i64,
}

/// What to look for.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub(super) root: PathBuf,
    pub(super) pattern: Option<Regex>,
}

impl Scan {
    /// All files there are now, by name.
    pub(super) fn files(&self) -> Result<Vec<ScannedFile>> {
        if ObjectUrl::is_path(&self.root) {
            let mut files = super::remote::files(&self.root, self.pattern.is_some())?;
            files.retain(|file| self.pattern.as_ref().is_none_or(|p| p.is_match(&file.path.to_string_lossy())));
            files.sort_by(|a, b| a.name.cmp(&b.name));
            return Ok(files);
        }
        let mut files = Vec::new();
        let metadata = fs::metadata(&self.root).map_err(|e| read_error(&self.root, &e))?;
        // The path itself may have any name, since it was asked for.
        if metadata.is_dir() {
            self.walk(&self.root, "", 0, &mut files)?;
        } else {
            let name = self.root.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.add(self.root.clone(), name, &metadata, &mut files);
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    fn walk(&self, directory: &Path, prefix: &str, depth: usize, files: &mut Vec<ScannedFile>) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(Error::config(format!(
                "directories lie more than {DEPTH_MAX} deep at `{}`",
                directory.display()
            ))
            .hint("a link that points above itself is followed for ever: remove it, or name a deeper 'path'"));
        }
        for entry in fs::read_dir(directory).map_err(|e| read_error(directory, &e))? {
            let path = entry.map_err(|e| read_error(directory, &e))?.path();
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
                return Err(Error::config(format!("the name of `{}` is not UTF-8", path.display())));
            };
            // A file that vanished since the listing was never there.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let full_name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            let hidden = is_hidden(name);
            if metadata.is_dir() {
                if !hidden || self.pattern.is_some() {
                    self.walk(&path, &full_name, depth + 1, files)?;
                }
            } else if !hidden {
                self.add(path, full_name, &metadata, files);
            }
        }
        Ok(())
    }

    fn add(&self, path: PathBuf, name: String, metadata: &fs::Metadata, files: &mut Vec<ScannedFile>) {
        let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        if self.pattern.as_ref().is_some_and(|p| !p.is_match(&absolute.to_string_lossy())) {
            return;
        }
        let modified = metadata.modified().ok().and_then(|m| m.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        files.push(ScannedFile {
            name,
            path: absolute,
            size: metadata.len(),
            modified_ms: i64::try_from(modified.as_millis()).unwrap_or(i64::MAX),
        });
    }
}

pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with(['_', '.'])
}

/// The text between `key=` and the next `/` of a file's name; `None` when no directory of the name is so called.
pub(super) fn partition_value(name: &str, key: &str) -> Option<String> {
    let directories = name.rsplit_once('/').map_or("", |(directories, _)| directories);
    directories.split('/').find_map(|directory| {
        let (found, value) = directory.split_once('=')?;
        (unescape(found) == key).then(|| unescape(value))
    })
}

/// Resolves `%41`, as Hive writes the characters that a directory's name cannot have.
pub(super) fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while let Some(byte) = bytes.get(position) {
        let pair = bytes.get(position + 1..position + 3).and_then(|p| std::str::from_utf8(p).ok());
        match pair.filter(|_| *byte == b'%').and_then(|p| u8::from_str_radix(p, 16).ok()) {
            Some(code) => {
                out.push(code);
                position += 3;
            }
            None => {
                out.push(*byte);
                position += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What is said about a path that cannot be read.
pub(super) fn read_error(path: &Path, error: &std::io::Error) -> Error {
    let message = format!("cannot read `{}`: {error}", path.display());
    match error.kind() {
        std::io::ErrorKind::NotFound => Error::config(message).hint("the option 'path' names a file or a directory"),
        std::io::ErrorKind::PermissionDenied => {
            Error::permission(message).hint("the user that runs wiesel must be allowed to read there")
        }
        std::io::ErrorKind::Interrupted | std::io::ErrorKind::TimedOut => Error::unavailable(message),
        _ => Error::new(ErrorKind::Data, "W0603", message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path, pattern: Option<&str>) -> Vec<String> {
        let scan = Scan { root: root.to_owned(), pattern: pattern.map(|p| Regex::new(p).unwrap()) };
        scan.files().unwrap().into_iter().map(|f| f.name).collect()
    }

    #[test]
    fn hidden_files_and_directories_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("t");
        for name in ["b.json", "a.json", "_SUCCESS", ".x.json", "dt=1/c.json", "_tmp/d.json", ".git/e.json"] {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "{}").unwrap();
        }
        assert_eq!(names(&root, None), ["a.json", "b.json", "dt=1/c.json"]);
        assert_eq!(names(&root.join("a.json"), None), ["a.json"]);
        // With a pattern, directories are searched whatever their names.
        assert_eq!(names(&root, Some("^(?:.*/(c|d|_SUCCESS).*)$")), ["_tmp/d.json", "dt=1/c.json"]);
        let missing = Scan { root: root.join("none"), pattern: None }.files().unwrap_err();
        assert!(missing.message().contains("cannot read"), "{missing}");
    }

    #[test]
    fn partition_values_come_from_the_directories() {
        let name = "dt=2024-01-01/h=a%2Fb/part=0.json";
        assert_eq!(partition_value(name, "dt").as_deref(), Some("2024-01-01"));
        assert_eq!(partition_value(name, "h").as_deref(), Some("a/b"));
        assert_eq!(partition_value(name, "part"), None);
    }
}
