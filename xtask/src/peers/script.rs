//! A data file's SQL for Flink: its tables read from files and print to the log, everything else stays as it stands.
//!
//! The text is only cut into tokens; nothing is parsed. A CREATE TABLE is known by its first words, its options are what stands in the
//! parentheses behind the last WITH outside all others.

use std::collections::{BTreeMap, BTreeSet};

use wiesel_slt::record::{Directive, InputRow, TestFile};

/// Formats whose records say what kind of change they are.
const CHANGELOG_FORMAT: &str = "debezium-json";
/// Formats of tables that take such changes; the rows are those of the file, whatever documents the format would make of them.
const CHANGELOG_FORMATS: [&str; 3] = ["canal-json", CHANGELOG_FORMAT, "maxwell-json"];

/// A token: where it stands, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token {
    start: usize,
    end: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Quoted,
    Text,
    Symbol,
}

/// The tokens of a text, without comments and spaces.
fn tokens(sql: &str) -> Vec<Token> {
    let bytes = sql.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    let until = |from: usize, wanted: &str| sql[from..].find(wanted).map_or(sql.len(), |i| from + i + wanted.len());
    while at < bytes.len() {
        let start = at;
        let kind = match bytes[at] {
            b'-' if sql[at..].starts_with("--") => {
                at = until(at, "\n");
                continue;
            }
            // A hint is part of the statement.
            b'/' if sql[at..].starts_with("/*") && !sql[at..].starts_with("/*+") => {
                at = until(at + 2, "*/");
                continue;
            }
            quote @ (b'\'' | b'`') => {
                at = end_of_quoted(bytes, at, quote);
                if quote == b'\'' { Kind::Text } else { Kind::Quoted }
            }
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            byte if is_word(byte) => {
                at = bytes[at..].iter().position(|b| !is_word(*b)).map_or(bytes.len(), |i| at + i);
                Kind::Word
            }
            _ => {
                at += 1;
                Kind::Symbol
            }
        };
        tokens.push(Token { start, end: at, kind });
    }
    tokens
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// A doubled quote stands for itself.
fn end_of_quoted(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        if bytes[at] == quote {
            if bytes.get(at + 1) != Some(&quote) {
                return at + 1;
            }
            at += 1;
        }
        at += 1;
    }
    bytes.len()
}

/// The statements of a text, without their semicolons.
pub(crate) fn statements(sql: &str) -> Vec<String> {
    let tokens = tokens(sql);
    let mut statements = Vec::new();
    let mut first = 0;
    for (index, token) in tokens.iter().enumerate() {
        let is_last = index + 1 == tokens.len();
        let is_semicolon = &sql[token.start..token.end] == ";";
        if !is_semicolon && !is_last {
            continue;
        }
        let of_statement = &tokens[first..=index];
        let words = words(sql, of_statement);
        let is_set = words.iter().take(4).any(|w| w == "SET") && words.iter().take(4).any(|w| w == "BEGIN");
        let is_open = is_set && words.iter().rev().find(|w| *w != ";").is_none_or(|w| w != "END");
        if is_open && !is_last {
            continue;
        }
        let end = if is_semicolon { token.start } else { token.end };
        let text = of_statement.first().map_or("", |t| sql.get(t.start..end).unwrap_or_default());
        if !text.trim().is_empty() {
            // The parser of a STATEMENT SET wants to see its end.
            statements.push(if is_set { format!("{text};") } else { text.to_owned() });
        }
        first = index + 1;
    }
    statements
}

/// Words in upper case, quoted names as they are, symbols as themselves.
fn words(sql: &str, tokens: &[Token]) -> Vec<String> {
    tokens
        .iter()
        .map(|t| match t.kind {
            Kind::Word => sql[t.start..t.end].to_uppercase(),
            _ => sql[t.start..t.end].to_owned(),
        })
        .collect()
}

/// The last part of the name whose first token is `tokens[at]`.
fn name_at(sql: &str, tokens: &[Token], mut at: usize) -> Option<String> {
    while tokens.get(at + 1).is_some_and(|t| &sql[t.start..t.end] == ".") {
        at += 2;
    }
    let token = tokens.get(at)?;
    Some(sql[token.start..token.end].trim_matches('`').replace("``", "`"))
}

/// What the tables of a file are for.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// Rows of the input records, by table.
    pub(crate) inputs: BTreeMap<String, Vec<InputRow>>,
    /// Tables that an INSERT writes.
    pub(crate) sinks: BTreeSet<String>,
    /// Tables whose input rows have kinds.
    changelogs: BTreeSet<String>,
}

impl Tables {
    /// Reads them from a file's records.
    pub(crate) fn of(file: &TestFile) -> Tables {
        let mut tables = Tables::default();
        for record in &file.records {
            match &record.directive {
                Directive::Input { table, rows } => {
                    let name = table.rsplit('.').next().unwrap_or(table).to_owned();
                    tables.inputs.entry(name).or_default().extend(rows.iter().cloned());
                }
                Directive::StatementOk(sql)
                | Directive::StatementQuery(sql)
                | Directive::StatementError(sql)
                | Directive::Job { sql: Some(sql), .. } => {
                    for statement in statements(sql) {
                        tables.note(&statement);
                    }
                }
                _ => {}
            }
        }
        tables
    }

    fn note(&mut self, sql: &str) {
        self.sinks.extend(written_tables(sql));
        if let Some(create) = CreateTable::find(sql) {
            let format = create.options.get("format").or_else(|| create.options.get("value.format"));
            if format.is_some_and(|f| CHANGELOG_FORMATS.contains(&f.as_str())) {
                self.changelogs.insert(create.name.clone());
            }
        }
    }

    /// The rows of a table as a file of its format; an error when its changes cannot be said in it.
    pub(crate) fn file_of(&self, table: &str) -> Result<String, String> {
        let none = Vec::new();
        let rows = self.inputs.get(table).unwrap_or(&none);
        if !self.changelogs.contains(table) {
            return Ok(rows.iter().map(|row| row.json.clone() + "\n").collect());
        }
        let mut text = String::new();
        let mut rows = rows.iter().peekable();
        while let Some(row) = rows.next() {
            let json = &row.json;
            let line = match row.kind.as_str() {
                "+I" => format!("{{\"before\":null,\"after\":{json},\"op\":\"c\"}}\n"),
                "-D" => format!("{{\"before\":{json},\"after\":null,\"op\":\"d\"}}\n"),
                "-U" => match rows.next() {
                    Some(after) if after.kind == "+U" => {
                        format!("{{\"before\":{json},\"after\":{},\"op\":\"u\"}}\n", after.json)
                    }
                    _ => {
                        return Err(format!(
                            "line {}: a -U without its +U cannot be said in {CHANGELOG_FORMAT}",
                            row.line
                        ));
                    }
                },
                _ => {
                    return Err(format!("line {}: a +U without its -U cannot be said in {CHANGELOG_FORMAT}", row.line));
                }
            };
            text.push_str(&line);
        }
        Ok(text)
    }

    /// The statement with a table's connector replaced, when it is a CREATE TABLE.
    pub(crate) fn rewrite(&self, sql: &str, folder: &str, identifier: &str) -> String {
        let Some(create) = CreateTable::find(sql) else { return sql.to_owned() };
        let mut options = vec![];
        if self.sinks.contains(&create.name) {
            options.push(("connector".to_owned(), "print".to_owned()));
            options.push(("print-identifier".to_owned(), format!("{identifier}{}", create.name)));
        } else {
            let format = if self.changelogs.contains(&create.name) { CHANGELOG_FORMAT } else { "json" };
            options.push(("connector".to_owned(), "filesystem".to_owned()));
            options.push(("path".to_owned(), format!("file://{folder}/{}.json", create.name)));
            options.push(("format".to_owned(), format.to_owned()));
            let own = create.options.iter().map(|(k, v)| (k.strip_prefix("value.").unwrap_or(k).to_owned(), v.clone()));
            options.extend(own.filter(|(k, _)| k.starts_with("json.") || k.starts_with("debezium-json.")));
        }
        let options: Vec<String> =
            options.iter().map(|(k, v)| format!("'{k}' = '{}'", v.replace('\'', "''"))).collect();
        format!("{}WITH ({}){}", &sql[..create.with_start], options.join(", "), &sql[create.with_end..])
    }
}

/// Where a CREATE TABLE says its name and options.
struct CreateTable {
    name: String,
    options: BTreeMap<String, String>,
    with_start: usize,
    with_end: usize,
}

impl CreateTable {
    fn find(sql: &str) -> Option<CreateTable> {
        let tokens = tokens(sql);
        let words = words(sql, &tokens);
        let table = words.iter().take(5).position(|w| w == "TABLE")?;
        if words.first().is_none_or(|w| w != "CREATE" && w != "REPLACE") {
            return None;
        }
        let has_condition = words.get(table + 1).is_some_and(|w| w == "IF");
        let name = name_at(sql, &tokens, if has_condition { table + 4 } else { table + 1 })?;
        let mut depth = 0;
        let mut with = None;
        let mut close = None;
        for (at, word) in words.iter().enumerate() {
            match word.as_str() {
                "(" => depth += 1,
                ")" => {
                    depth -= 1;
                    if depth == 0 && with.is_some() && close.is_none() {
                        close = Some(at);
                    }
                }
                "WITH" if depth == 0 && words.get(at + 1).is_some_and(|w| w == "(") => with = Some(at),
                _ => {}
            }
        }
        let (with, close) = (with?, close?);
        let texts: Vec<String> = tokens[with..close]
            .iter()
            .filter(|t| t.kind == Kind::Text)
            .map(|t| sql[t.start + 1..t.end - 1].replace("''", "'"))
            .collect();
        let options = texts.chunks(2).filter_map(|pair| Some((pair.first()?.clone(), pair.get(1)?.clone()))).collect();
        Some(CreateTable { name, options, with_start: tokens[with].start, with_end: tokens[close].end })
    }
}

/// The tables that a statement writes: those of its INSERTs, and that of a CREATE TABLE ... AS.
pub(crate) fn written_tables(sql: &str) -> Vec<String> {
    let tokens = tokens(sql);
    let words = words(sql, &tokens);
    let is_insert =
        |at: &usize| words[*at] == "INSERT" && words.get(at + 1).is_some_and(|w| w == "INTO" || w == "OVERWRITE");
    let mut tables: Vec<String> =
        (0..words.len()).filter(is_insert).filter_map(|at| name_at(sql, &tokens, at + 2)).collect();
    if let Some(create) = CreateTable::find(sql) {
        let behind = sql.get(create.with_end..).unwrap_or_default();
        if behind.trim_start().get(..2).is_some_and(|word| word.eq_ignore_ascii_case("AS")) {
            tables.push(create.name);
        }
    }
    tables
}

/// The name of the table that a statement creates.
pub(crate) fn created_table(sql: &str) -> Option<String> {
    CreateTable::find(sql).map(|create| create.name)
}

/// Whether a statement is a query whose rows are shown, and not an INSERT.
pub(crate) fn is_query(sql: &str) -> bool {
    let tokens = tokens(sql);
    let first = words(sql, &tokens).into_iter().find(|w| w != "(");
    first.is_some_and(|w| matches!(w.as_str(), "SELECT" | "WITH" | "VALUES"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wiesel_slt::record::parse;

    #[test]
    fn statements_are_cut_at_semicolons_that_are_none_of_texts_comments_or_sets() {
        let cases: [(&str, &[&str]); 4] = [
            ("SELECT ';' AS `a;b`; SELECT 2", &["SELECT ';' AS `a;b`", "SELECT 2"]),
            ("SELECT 1 -- a; b\n, 2;", &["SELECT 1 -- a; b\n, 2"]),
            (
                "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END; SELECT 3",
                &["EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END;", "SELECT 3"],
            ),
            (" ; ", &[]),
        ];
        for (sql, expected) in cases {
            assert_eq!(statements(sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_source_becomes_a_file_and_a_sink_prints() {
        let text = "statement ok\nCREATE TABLE t (x INT, `with` ROW<a INT>) WITH ('connector' = 'datagen', 'json.ignore-parse-errors' = 'true');\n\
                    CREATE TEMPORARY TABLE IF NOT EXISTS db.o (x INT) WITH ('connector' = 'kafka')\n\n\
                    job j\nINSERT INTO db.o SELECT x FROM t\n\ninput t\n{\"x\":1}\n";
        let file = parse(text).unwrap();
        let tables = Tables::of(&file);
        let Directive::StatementOk(sql) = &file.records[0].directive else { panic!("not a statement") };
        let rewritten: Vec<String> = statements(sql).iter().map(|s| tables.rewrite(s, "/f", "7:")).collect();
        assert_eq!(
            rewritten[0],
            "CREATE TABLE t (x INT, `with` ROW<a INT>) WITH ('connector' = 'filesystem', 'path' = 'file:///f/t.json', \
             'format' = 'json', 'json.ignore-parse-errors' = 'true')"
        );
        assert_eq!(
            rewritten[1],
            "CREATE TEMPORARY TABLE IF NOT EXISTS db.o (x INT) WITH ('connector' = 'print', 'print-identifier' = '7:o')"
        );
        assert_eq!(tables.file_of("t").unwrap(), "{\"x\":1}\n");
    }
}
