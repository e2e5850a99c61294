//! One shape for everything wiesel has to say about a text: a stable code, where, what was expected, what was found, and one honest hint.
//!
//! A [`Diagnostic`] is plain data: the parser, the binder and the option checks make them, and only the program's edge turns
//! them into text with [`SourceFile::render`]. So every layer can report *all* independent errors of a statement, a test can
//! compare them, and nobody formats carets by hand. Spans are byte offsets into the text of the whole file, never into a
//! statement, so a diagnostic can travel without knowing which statement it came from.
//!
//! [`CODES`] is the one list of codes. A code never changes its meaning; a code that is no longer used stays in the list.

use std::fmt;

/// A range of bytes in a source text; `start == end` marks a place between two characters (the end of the file, mostly).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The span of the bytes from `start` up to, not including, `end`.
    pub const fn new(start: u32, end: u32) -> Span {
        Span { start, end }
    }

    /// The smallest span that covers both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The text that this span covers; empty when the span does not fit the text.
    pub fn text(self, source: &str) -> &str {
        source.get(self.start as usize..self.end as usize).unwrap_or("")
    }
}

/// Whether a diagnostic stops the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The statement cannot be run.
    Error,
    /// The statement runs, and the reader should know something about it.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// One thing to tell the reader about a text.
///
/// ```
/// use wiesel_core::diagnostic::{Diagnostic, SourceFile, Span};
/// let file = SourceFile::new("jobs/clicks.sql", "SELECT usr FROM clicks");
/// let error = Diagnostic::error("W0301", "no column `usr` in `clicks`")
///     .at(Span::new(7, 10))
///     .label("expected a column of `clicks`: user_id STRING")
///     .hint("did you mean `user_id`?");
/// assert!(file.render(&error).starts_with("error[W0301]: no column `usr` in `clicks`\n  --> jobs/clicks.sql:1:8\n"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// A code of [`CODES`], such as `W0102`.
    pub code: &'static str,
    /// What is wrong: lower case, no final period, literals in backticks.
    pub message: String,
    /// Where it is wrong; `None` when no text is to blame.
    pub span: Option<Span>,
    /// The words beside the carets: what was expected there.
    pub label: Option<String>,
    /// What to do about it; given only when it is likely right.
    pub hint: Option<String>,
    /// Whether the work stops.
    pub severity: Severity,
}

impl Diagnostic {
    /// An error without a place yet.
    pub fn error(code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic { code, message: message.into(), span: None, label: None, hint: None, severity: Severity::Error }
    }

    /// A warning without a place yet.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, message) }
    }

    /// The same, pointing at `span`.
    pub fn at(mut self, span: Span) -> Diagnostic {
        self.span = Some(span);
        self
    }

    /// The same, with words beside the carets.
    pub fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = Some(label.into());
        self
    }

    /// The same, with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with the hint "did you mean ...?" when one of the candidates is near enough to `name`.
    pub fn did_you_mean<'a>(self, name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Diagnostic {
        match nearest(name, candidates) {
            Some(candidate) => self.hint(format!("did you mean `{candidate}`?")),
            None => self,
        }
    }
}

/// Without a source file at hand: the first line of the house form, and the hint.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", self.severity, self.code, self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " (hint: {hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

/// A text with its name and its line starts: what turns byte offsets into lines, columns and carets.
#[derive(Debug, Clone)]
pub struct SourceFile {
    name: String,
    text: String,
    line_starts: Vec<u32>,
}

/// The longest piece of a source line that is shown; a longer line is cut around the carets.
const SHOWN_LINE_CHARS_MAX: usize = 160;

/// How many characters stay visible before the carets when a long line is cut.
const SHOWN_CONTEXT_CHARS: usize = 60;

impl SourceFile {
    /// A source of that name (a path, or `<command line>`) and text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> SourceFile {
        let text = text.into();
        let mut line_starts = vec![0];
        for (offset, byte) in text.bytes().enumerate() {
            if byte == b'\n' {
                line_starts.push(u32::try_from(offset + 1).unwrap_or(u32::MAX));
            }
        }
        SourceFile { name: name.into(), text, line_starts }
    }

    /// The name the source was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte offset, both counted from 1, columns in characters. An offset past the end gives the end.
    pub fn position(&self, offset: u32) -> (usize, usize) {
        let offset = self.clamp(offset as usize);
        let line_index = self.line_index(offset);
        let line_start = self.line_starts[line_index] as usize;
        let before = self.text.get(line_start..offset).unwrap_or("");
        (line_index + 1, before.chars().count() + 1)
    }

    /// The diagnostic in the house form, ending with a newline.
    ///
    /// ```text
    /// error[W0301]: no column `usr` in `clicks`
    ///   --> jobs/clicks.sql:7:8
    ///    |
    ///  7 | SELECT usr, COUNT(*) FROM clicks GROUP BY usr
    ///    |        ^^^ expected a column of `clicks`: user_id STRING, ts TIMESTAMP(3)
    ///    |
    /// hint: did you mean `user_id`?
    /// ```
    pub fn render(&self, diagnostic: &Diagnostic) -> String {
        let mut out = format!("{}[{}]: {}\n", diagnostic.severity, diagnostic.code, diagnostic.message);
        if let Some(span) = diagnostic.span {
            self.render_place(span, diagnostic.label.as_deref(), &mut out);
        } else {
            out.push_str(&format!("  --> {}\n", self.name));
            if let Some(label) = &diagnostic.label {
                out.push_str(&format!("   = {label}\n"));
            }
        }
        if let Some(hint) = &diagnostic.hint {
            out.push_str(&format!("hint: {hint}\n"));
        }
        out
    }

    /// Several diagnostics in the order of their place, an empty line between them.
    pub fn render_all(&self, diagnostics: &[Diagnostic]) -> String {
        let mut ordered: Vec<&Diagnostic> = diagnostics.iter().collect();
        ordered.sort_by_key(|diagnostic| diagnostic.span.map_or(0, |span| span.start));
        let rendered: Vec<String> = ordered.into_iter().map(|diagnostic| self.render(diagnostic)).collect();
        rendered.join("\n")
    }

    fn render_place(&self, span: Span, label: Option<&str>, out: &mut String) {
        let start = self.clamp(span.start as usize);
        let end = self.clamp(span.end as usize).max(start);
        let (line, column) = self.position(span.start);
        let line_start = self.line_starts[line - 1] as usize;
        let line_text = self.text[line_start..].split('\n').next().unwrap_or("").trim_end_matches('\r');
        let line_end = line_start + line_text.len();
        let caret_end = end.min(line_end).max(start);
        let carets = self.text.get(start..caret_end).map_or(1, |marked| marked.chars().count()).max(1);

        let (shown, caret_column, carets) = clip_line(line_text, column - 1, carets);
        let number = line.to_string();
        let margin = " ".repeat(number.len().max(1) + 2);
        out.push_str(&format!("{}--> {}:{line}:{column}\n", &margin[1..], self.name));
        out.push_str(&format!("{margin}|\n"));
        out.push_str(format!(" {number} | {shown}").trim_end());
        out.push('\n');
        out.push_str(&format!("{margin}| {}{}", " ".repeat(caret_column), "^".repeat(carets)));
        if let Some(label) = label {
            out.push_str(&format!(" {label}"));
        }
        out.push_str(&format!("\n{margin}|\n"));
    }

    fn line_index(&self, offset: usize) -> usize {
        // The first line starts at 0, so at least one start is not behind the offset.
        self.line_starts.partition_point(|&start| start as usize <= offset) - 1
    }

    /// The nearest character boundary at or before the offset.
    fn clamp(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

/// Cuts a long line around its carets: the shown text, the column (from 0) of the first caret in it, the number of carets.
/// A tab is shown as one blank, so that carets line up in every terminal.
fn clip_line(line: &str, column: usize, carets: usize) -> (String, usize, usize) {
    let chars: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if chars.len() <= SHOWN_LINE_CHARS_MAX {
        return (chars.into_iter().collect(), column, carets);
    }
    let from = column.saturating_sub(SHOWN_CONTEXT_CHARS).min(chars.len() - SHOWN_LINE_CHARS_MAX);
    let to = from + SHOWN_LINE_CHARS_MAX;
    let mut shown = String::new();
    let mut caret_column = column - from;
    if from > 0 {
        shown.push_str("...");
        caret_column += 3;
    }
    shown.extend(&chars[from..to]);
    if to < chars.len() {
        shown.push_str("...");
    }
    (shown, caret_column, carets.min(to.saturating_sub(column)).max(1))
}

/// The candidate that a reader who wrote `name` most likely meant, or `None` when nothing is near enough to be worth a hint.
/// A difference in case alone always counts as near.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    // One edit in short names, a third of the letters in longer ones.
    let distance_max = (wanted.chars().count() / 3).max(1);
    let mut best: Option<(usize, &'a str)> = None;
    for candidate in candidates {
        let distance = strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase());
        let near_enough = distance <= distance_max && distance < wanted.chars().count();
        if candidate != name && near_enough && best.is_none_or(|(best_distance, _)| distance < best_distance) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Every code with its title and the page of the book that explains it, sorted by code.
/// W01 syntax, W02 catalog and DDL, W03 names, types and binding, W04 unsupported by name, W05 options and connectors,
/// W06 data at run time, W07 state and checkpoints.
pub const CODES: &[(&str, &str, &str)] = &[
    ("W0101", "unexpected text", "syntax"),
    ("W0102", "reserved word used as a name", "syntax"),
    ("W0103", "unclosed quote or comment", "syntax"),
    ("W0104", "character that SQL does not know", "syntax"),
    ("W0105", "expression or query nested too deeply", "syntax"),
    ("W0106", "malformed literal", "syntax"),
    ("W0107", "number out of its range", "syntax"),
    ("W0108", "clause given twice", "syntax"),
    ("W0109", "text too large", "syntax"),
    ("W0201", "no such table or view", "names"),
    ("W0202", "name is taken", "names"),
    ("W0203", "no such database", "names"),
    ("W0204", "primary key is not enforced", "tables"),
    ("W0205", "column declared twice", "tables"),
    ("W0206", "watermark does not fit its column", "tables"),
    ("W0207", "no such metadata key", "tables"),
    ("W0301", "no such column or field", "names"),
    ("W0302", "ambiguous column", "names"),
    ("W0303", "no such type", "types"),
    ("W0304", "types do not fit", "types"),
    ("W0305", "no such function, or arguments do not fit it", "functions"),
    ("W0306", "column is not being grouped", "grouping"),
    ("W0307", "window does not match GROUP BY", "grouping"),
    ("W0308", "window does not fit its table", "windows"),
    ("W0309", "shape of the statement does not fit", "statements"),
    ("W0310", "sink cannot take updates", "changelogs"),
    ("W0311", "primary key is not the key of the changes", "changelogs"),
    ("W0312", "NOT NULL column gets no value", "sinks"),
    ("W0313", "query does not fit its sink", "sinks"),
    ("W0401", "SQL that wiesel does not run", "unsupported"),
    ("W0501", "option or setting has a value that does not fit", "options"),
    ("W0502", "unknown option or setting", "options"),
    ("W0503", "option that is not supported yet", "options"),
    ("W0504", "setting that is not supported yet", "options"),
    ("W0505", "option given twice", "options"),
    ("W0506", "table cannot be read or written", "options"),
    ("W0507", "variable that cannot be expanded", "options"),
    ("W0601", "another system is away", "outages"),
    ("W0602", "another system refuses", "permissions"),
    ("W0603", "row that cannot be processed", "data"),
    ("W0604", "standard output is closed", "output"),
    ("W0605", "superseded by another run", "fencing"),
    ("W0699", "bug of wiesel", "bugs"),
];

/// Title and page of a code, written in any case.
pub fn find_code(code: &str) -> Option<(&'static str, &'static str, &'static str)> {
    let code = code.to_uppercase();
    let found = CODES.binary_search_by(|(known, _, _)| (*known).cmp(code.as_str())).ok()?;
    CODES.get(found).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_have_no_twin() {
        for pair in CODES.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{} must come before {}", pair[0].0, pair[1].0);
        }
        assert_eq!(find_code("w0101").map(|(code, _, _)| code), Some("W0101"));
        assert_eq!(find_code("W9999"), None);
    }

    #[test]
    fn a_diagnostic_is_rendered_with_line_caret_and_hint() {
        let file = SourceFile::new("jobs/clicks.sql", "\n\n\n\n\n\nSELECT usr, COUNT(*)\nFROM clicks");
        let error = Diagnostic::error("W0301", "no column `usr` in `clicks`")
            .at(Span::new(13, 16))
            .label("expected a column of `clicks`")
            .did_you_mean("usr", ["ts", "user"]);
        let expected = "error[W0301]: no column `usr` in `clicks`\n  --> jobs/clicks.sql:7:8\n   |\n 7 | SELECT usr, COUNT(*)\n   |        ^^^ expected a column of `clicks`\n   |\nhint: did you mean `user`?\n";
        assert_eq!(file.render(&error), expected);
    }

    #[test]
    fn any_span_can_be_rendered_even_outside_the_text() {
        let file = SourceFile::new("x", "aé\r\nb");
        for start in 0..9 {
            for end in 0..9 {
                let rendered = file.render(&Diagnostic::error("W0101", "m").at(Span::new(start, end)));
                assert!(rendered.contains("^"), "{rendered}");
            }
        }
    }

    #[test]
    fn a_long_line_is_cut_around_its_carets() {
        let text = format!("{}HERE{}", "a".repeat(1000), "b".repeat(1000));
        let rendered = SourceFile::new("x", text).render(&Diagnostic::error("W0101", "m").at(Span::new(1000, 1004)));
        let lines: Vec<&str> = rendered.lines().collect();
        assert!(lines[3].len() < 180 && lines[3].contains("HERE"), "{rendered}");
        assert_eq!(lines[3].find("HERE"), lines[4].find("^^^^"));
    }

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        assert_eq!(nearest("user", ["USER", "use"]), Some("USER"));
        assert_eq!(nearest("conector", ["format", "connector"]), Some("connector"));
        assert_eq!(nearest("amount", ["ts", "user_id"]), None);
        assert_eq!(nearest("a", ["b"]), None);
    }
}
