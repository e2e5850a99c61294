//! What wiesel says: lines on stderr (or in a file), plain or as JSON. Nothing here prints rows, and secrets never reach it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use clap::ValueEnum;
use wiesel_core::diagnostic::{Diagnostic, Severity, SourceFile};
use wiesel_core::env::wall_clock_ms;
use wiesel_core::secret;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line of text.
    Text,
    /// One JSON object per line.
    Json,
}

/// Who must act: error = a user now, warn = a user soon, info = nobody, debug = us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Level {
    /// Something ended or was refused.
    Error,
    /// Something is waited for, or will be refused some day.
    Warn,
    /// What happens.
    Info,
    /// Details for finding bugs.
    Debug,
}

/// The one place that talks.
pub(crate) struct Log {
    out: Mutex<Box<dyn Write + Send>>,
    format: LogFormat,
    level: Level,
}

impl Log {
    /// Lines on stderr.
    pub(crate) fn stderr() -> Self {
        Log { out: Mutex::new(Box::new(std::io::stderr())), format: LogFormat::Text, level: Level::Info }
    }

    /// Lines in a file (appended), or on stderr.
    pub(crate) fn new(file: Option<&Path>, format: LogFormat, level: Level) -> std::io::Result<Self> {
        let out: Box<dyn Write + Send> = match file {
            Some(path) => Box::new(File::options().create(true).append(true).open(path)?),
            None => Box::new(std::io::stderr()),
        };
        Ok(Log { out: Mutex::new(out), format, level })
    }

    /// Something ended or was refused.
    pub(crate) fn error(&self, text: &str) {
        self.line(Level::Error, text);
    }

    /// Something is waited for.
    pub(crate) fn warn(&self, text: &str) {
        self.line(Level::Warn, text);
    }

    /// What happens.
    pub(crate) fn info(&self, text: &str) {
        self.line(Level::Info, text);
    }

    /// Details for finding bugs.
    pub(crate) fn debug(&self, text: &str) {
        self.line(Level::Debug, text);
    }

    /// Errors and warnings of a SQL text.
    pub(crate) fn diagnostics(&self, source: &SourceFile, diagnostics: &[Diagnostic]) {
        if diagnostics.is_empty() {
            return;
        }
        if self.format == LogFormat::Text {
            self.write(&source.render_all(diagnostics));
            return;
        }
        for diagnostic in diagnostics {
            let level = if diagnostic.severity == Severity::Error { Level::Error } else { Level::Warn };
            self.line(level, &source.render(diagnostic));
        }
    }

    fn line(&self, level: Level, text: &str) {
        if level > self.level {
            return;
        }
        let name = match level {
            Level::Error => "error",
            Level::Warn => "warning",
            Level::Info => "info",
            Level::Debug => "debug",
        };
        match self.format {
            LogFormat::Text if level == Level::Info => self.write(&format!("{text}\n")),
            LogFormat::Text => self.write(&format!("{name}: {text}\n")),
            LogFormat::Json => {
                let line = serde_json::json!({ "time_ms": wall_clock_ms(), "level": name, "message": text });
                self.write(&format!("{line}\n"));
            }
        }
    }

    fn write(&self, text: &str) {
        // Whatever was said by whom: no secret of the file leaves through here.
        let text = secret::redacted(text);
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // When nobody listens any more there is nobody to tell.
        _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}
