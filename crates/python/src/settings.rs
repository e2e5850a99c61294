//! What the settings of a file mean for its processes: which interpreter, which folders, which limits.
//!
//! | setting | meaning | default |
//! |---|---|---|
//! | `python.executable` | the interpreter of the workers | `PYFLINK_EXECUTABLE`, else `python3` of the PATH |
//! | `python.client.executable` | the interpreter that is asked for a function's types | `PYFLINK_CLIENT_EXECUTABLE`, else that of the workers |
//! | `python.files` | files and folders, comma-separated, for `import` | |
//! | `python.pythonpath` | folders behind these, colon-separated | |
//! | `python.fn-execution.bundle.size` | the most rows in one frame | 100000 |
//! | `python.fn-execution.arrow.batch.size` | the most rows in one call of a pandas function | 10000 |
//! | `wiesel.python.timeout` | how long one row may take | 60 s |
//! | `wiesel.python.memory` | how much address space a process may have, 0 = no limit | 4 gb |

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use wiesel_core::options::{parse_duration, parse_memory_size};
use wiesel_expr::foreign::{ForeignSettings, OnRefused};

/// `python.fn-execution.bundle.size`.
const BUNDLE_ROWS: usize = 100_000;
/// `python.fn-execution.arrow.batch.size`.
const ARROW_ROWS: usize = 10_000;
const TIMEOUT: Duration = Duration::from_secs(60);
const MEMORY_BYTES: u64 = 4 << 30;

/// A process's surroundings. Two functions with equal ones share a process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Surroundings {
    pub(crate) executable: String,
    pub(crate) path: Vec<String>,
    pub(crate) path_behind: Vec<String>,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) time_zone: String,
    pub(crate) memory_bytes: u64,
    pub(crate) timeout: Duration,
    pub(crate) bundle_rows: usize,
    pub(crate) arrow_rows: usize,
    pub(crate) on_refused: OnRefused,
}

impl Surroundings {
    /// What the settings say; relative names are looked for in the working directory, then in `base`, where the file lies.
    pub(crate) fn new(settings: &ForeignSettings, base: Option<&Path>) -> Surroundings {
        let get = |key: &str| settings.values.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
        let number =
            |key: &str, unset: usize| get(key).and_then(|v| v.parse().ok()).filter(|n| *n > 0).unwrap_or(unset);
        let list = |key: &str, separator: char| {
            let parts = get(key).into_iter().flat_map(move |list| list.split(separator));
            parts
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| placed(part, base))
                .collect::<Vec<PathBuf>>()
        };
        // A module that is one file is imported from its folder.
        let path = list("python.files", ',').into_iter().map(|file| {
            let is_module = file.extension().is_some_and(|extension| extension == "py");
            if is_module { file.parent().map(Path::to_owned).unwrap_or_default() } else { file }
        });
        let mut path_behind = list("python.pythonpath", ':');
        path_behind.extend(base.map(Path::to_owned));
        let text = |paths: Vec<PathBuf>| paths.iter().map(|path| path.display().to_string()).collect();
        let parameters = get("pipeline.global-job-parameters").into_iter().flat_map(|list| list.split(','));
        let parameters = parameters.filter_map(|pair| pair.split_once(':'));
        Surroundings {
            executable: get("python.executable").map_or_else(default_executable, |path| placed_program(path, base)),
            path: text(path.collect()),
            path_behind: text(path_behind),
            parameters: parameters.map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned())).collect(),
            time_zone: settings.time_zone.to_string(),
            memory_bytes: get("wiesel.python.memory").and_then(parse_memory_size).unwrap_or(MEMORY_BYTES),
            timeout: get("wiesel.python.timeout").and_then(parse_duration).unwrap_or(TIMEOUT),
            bundle_rows: number("python.fn-execution.bundle.size", BUNDLE_ROWS),
            arrow_rows: number("python.fn-execution.arrow.batch.size", ARROW_ROWS),
            on_refused: settings.on_refused,
        }
    }

    /// The same for the process that is asked for types.
    pub(crate) fn of_client(&self, settings: &ForeignSettings, base: Option<&Path>) -> Surroundings {
        let set = settings.values.get("python.client.executable").map(|path| placed_program(path.trim(), base));
        let executable = set.or_else(|| std::env::var("PYFLINK_CLIENT_EXECUTABLE").ok());
        Surroundings { executable: executable.unwrap_or_else(|| self.executable.clone()), ..self.clone() }
    }
}

static DEFAULT_EXECUTABLE: OnceLock<String> = OnceLock::new();

/// The interpreter for files that name none, for a program that brings its own. The first call counts.
pub fn set_default_interpreter(path: &Path) {
    _ = DEFAULT_EXECUTABLE.set(path.display().to_string());
}

fn default_executable() -> String {
    let by_environment = || std::env::var("PYFLINK_EXECUTABLE").ok();
    by_environment().or_else(|| DEFAULT_EXECUTABLE.get().cloned()).unwrap_or_else(|| "python3".to_owned())
}

fn placed(name: &str, base: Option<&Path>) -> PathBuf {
    let path = PathBuf::from(name.strip_prefix("file://").unwrap_or(name));
    match base.map(|base| base.join(&path)) {
        Some(beside) if !path.exists() && beside.exists() => beside,
        _ => path,
    }
}

/// A bare name is looked up in the PATH by the system.
fn placed_program(name: &str, base: Option<&Path>) -> String {
    if name.contains('/') { placed(name, base).display().to_string() } else { name.to_owned() }
}
