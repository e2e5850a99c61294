//! One error type for everything that happens while a job runs, sorted by who must act.
//!
//! An error says what happened, where (a chain of contexts from the inside out), and, when it is likely right, what to do. Errors that
//! point into SQL text are [`crate::diagnostic::Diagnostic`]s instead; they exist before a job runs. Secrets never enter a message.

use std::fmt;

/// Who must act on an error. It decides whether the engine retries, and the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The user's SQL or options are wrong: exit code 2.
    Config,
    /// Another system is away, full or overloaded: retried, the job stays up.
    Unavailable,
    /// Another system refuses us (password, missing right): the job ends.
    Permission,
    /// A row cannot be processed: the job ends.
    Data,
    /// Another run has claimed what this one writes to: the job ends, and must not start again by itself.
    Superseded,
    /// Our own bug: the job ends and asks for a report.
    Internal,
}

/// What went wrong.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    code: &'static str,
    message: String,
    context: Vec<String>,
    hint: Option<String>,
}

/// The result of anything that can fail with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind and stable code (see [`crate::diagnostic`] for the list of codes).
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Error(Box::new(Inner { kind, code, message: message.into(), context: Vec::new(), hint: None }))
    }

    /// Wrong options or SQL found by a connector or the engine.
    pub fn config(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Config, "W0501", message)
    }

    /// A system that is away for now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Unavailable, "W0601", message)
    }

    /// A system that refuses us.
    pub fn permission(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Permission, "W0602", message)
    }

    /// A row that cannot be processed.
    pub fn data(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Data, "W0603", message)
    }

    /// Another run has claimed a sink of this one.
    pub fn superseded(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Superseded, "W0605", message)
    }

    /// A bug of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Internal, "W0699", message)
    }

    /// Adds where it happened; the innermost place is added first.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.0.context.push(place.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Who must act.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// What happened, without place and hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The places, innermost first.
    pub fn places(&self) -> &[String] {
        &self.0.context
    }

    /// What to do about it.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for place in &self.0.context {
            write!(f, "\n  at {place}")?;
        }
        if let Some(hint) = &self.0.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<arrow_schema::ArrowError> for Error {
    /// Arrow kernels are called with types we chose, so a failure there is our bug; data errors are found before.
    fn from(e: arrow_schema::ArrowError) -> Self {
        Error::internal(format!("column kernel failed: {e}"))
    }
}
