//! Where the `${NAME}` of a job come from: the process environment, else the files given by `--env-file`, else `.env.dev` and `.env` beside
//! the job. What was taken from where is told by name, never by value.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use wiesel_core::variable::{Variables, parse_environment};

/// Looked into beside the job when no file is given, the first one that has a name winning.
const DEFAULT_FILES: [&str; 2] = [".env.dev", ".env"];

/// A file of variables, or a secret, is not larger than this.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The variables of a job.
pub(crate) struct JobVariables {
    /// Beside which `${file:...}` are looked for.
    folder: PathBuf,
    /// Names, values and the file they stand in.
    values: BTreeMap<String, (String, String)>,
    /// What was asked for and found: the origin, and the names.
    used: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl JobVariables {
    /// Reads the files of variables for a job's file.
    pub(crate) fn open(job: &Path, given: &[PathBuf]) -> Result<JobVariables, String> {
        Self::beside(job.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new(".")), given)
    }

    /// The same, for a job that lives in a folder.
    pub(crate) fn beside(folder: &Path, given: &[PathBuf]) -> Result<JobVariables, String> {
        let folder = folder.to_owned();
        let files: Vec<PathBuf> = if given.is_empty() {
            DEFAULT_FILES.iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect()
        } else {
            given.to_vec()
        };
        let mut values = BTreeMap::new();
        for path in files {
            let text = read(&path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))?;
            let found = parse_environment(&text).map_err(|e| format!("`{}`, {e}", path.display()))?;
            let origin = path.display().to_string();
            // In one file the last line counts, as in a shell; of two files the first one.
            let found: BTreeMap<String, String> = found.into_iter().collect();
            for (name, value) in found {
                values.entry(name).or_insert_with(|| (value, origin.clone()));
            }
        }
        Ok(JobVariables { folder, values, used: Mutex::default() })
    }

    /// One line on what was taken from where; nothing when nothing was.
    pub(crate) fn origins(&self) -> Option<String> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let parts: Vec<String> = used
            .iter()
            .map(|(origin, names)| {
                format!("{} from {origin}", names.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
            })
            .collect();
        (!parts.is_empty()).then(|| format!("variables: {}", parts.join("; ")))
    }

    /// A value and where it stands.
    pub(crate) fn look(&self, name: &str) -> Option<(String, String)> {
        if let Ok(value) = std::env::var(name) {
            return Some((value, "the environment".to_owned()));
        }
        let (value, origin) = self.values.get(name)?;
        Some((value.clone(), format!("`{origin}`")))
    }

    fn found(&self, name: &str, origin: &str) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.entry(origin.to_owned()).or_default().insert(name.to_owned());
    }
}

impl Variables for JobVariables {
    fn variable(&self, name: &str) -> Option<String> {
        let (value, origin) = self.look(name)?;
        self.found(name, &origin);
        Some(value)
    }

    fn file(&self, path: &str) -> Result<String, String> {
        let text = read(&self.folder.join(path)).map_err(|e| e.to_string())?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }
}

/// A small file, whole.
pub(crate) fn read(path: &Path) -> std::io::Result<String> {
    let size = std::fs::metadata(path)?.len();
    if size > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it has {size} bytes, {FILE_BYTES_MAX} are the most that is read")));
    }
    std::fs::read_to_string(path)
}
