//! The parser against data files: what must be read (`tests/sql/parser/*.sql`), how errors look (`tests/errors/parser/*.txt`),
//! and what must hold for any text at all.
//!
//! A new case needs no Rust: add a statement or a file. `UPDATE=1 cargo test -p wiesel-sql --test parser` rewrites the expected
//! error texts.

use std::fs;
use std::path::{Path, PathBuf};

use wiesel_core::diagnostic::{CODES, Diagnostic, SourceFile};
use wiesel_sql::parser::ast::{Expr, ExprKind, Query, SetExprKind, Statement, StatementKind};
use wiesel_sql::parser::{ERRORS_MAX, NESTING_MAX, parse_expression, parse_script, quote_name};

fn data_files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the crate lies"))
        .join("../../tests")
        .join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    assert!(!files.is_empty(), "no .{extension} file in {}", folder.display());
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn render(text: &str, diagnostics: &[Diagnostic]) -> String {
    SourceFile::new("test.sql", text).render_all(diagnostics)
}

/// All statements of the data files, one by one.
fn all_statements() -> Vec<String> {
    let mut statements = Vec::new();
    for path in data_files("sql/parser", "sql") {
        let text = read(&path);
        let parsed =
            parse_script(&text).unwrap_or_else(|errors| panic!("{}\n{}", path.display(), render(&text, &errors)));
        statements.extend(parsed.iter().map(|statement| statement.span.text(&text).to_owned()));
    }
    statements
}

/// The queries of a statement, where printing is defined.
fn queries(statement: &Statement) -> Vec<&Query> {
    match &statement.kind {
        StatementKind::Query(query) => vec![query],
        StatementKind::Insert(insert) => vec![&insert.source],
        StatementKind::StatementSet(set) => set.inserts.iter().map(|(insert, _)| insert.source.as_ref()).collect(),
        StatementKind::CreateView(view) => vec![&view.query],
        StatementKind::CreateTable(table) => table.as_query.iter().map(AsRef::as_ref).collect(),
        StatementKind::Explain(explain) => queries(&explain.statement),
        _ => Vec::new(),
    }
}

#[test]
fn every_statement_of_the_data_files_is_read() {
    assert!(all_statements().len() > 200);
}

#[test]
fn the_text_of_a_statement_alone_gives_the_same_statement() {
    for text in all_statements() {
        let parsed = parse_script(&text).unwrap_or_else(|errors| panic!("{}", render(&text, &errors)));
        assert_eq!(parsed.len(), 1, "{text}");
        assert_eq!(parsed[0].span.text(&text), text);
    }
}

#[test]
fn a_printed_query_reads_back_as_the_same_text() {
    for text in all_statements() {
        let parsed = parse_script(&text).expect("read before");
        for query in queries(&parsed[0]) {
            let printed = query.to_string();
            let again = parse_script(&printed).unwrap_or_else(|errors| panic!("{text}\n{}", render(&printed, &errors)));
            assert_eq!(again.len(), 1, "{printed}");
            assert_eq!(queries(&again[0])[0].to_string(), printed);
        }
    }
}

#[test]
fn no_truncation_of_any_statement_panics() {
    for text in all_statements() {
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            if let Err(errors) = parse_script(&text[..end]) {
                assert!(!render(&text[..end], &errors).is_empty());
            }
        }
    }
}

#[test]
fn no_word_left_out_of_any_statement_panics_and_every_error_has_a_known_code() {
    for text in all_statements() {
        let words: Vec<&str> = text.split_inclusive(|c: char| !c.is_alphanumeric()).collect();
        for left_out in 0..words.len() {
            let rest: String =
                words.iter().enumerate().filter(|(index, _)| *index != left_out).map(|(_, word)| *word).collect();
            for error in parse_script(&rest).err().unwrap_or_default() {
                assert!(CODES.iter().any(|(code, _, _)| *code == error.code), "{}", error.code);
                let span = error.span.expect("every error of the parser has a place");
                assert!(span.start <= span.end && span.end as usize <= rest.len(), "{rest}\n{error}");
            }
        }
    }
}

#[test]
fn any_depth_of_nesting_is_refused_without_using_up_the_stack() {
    const DEEP: usize = 10_000;
    let around =
        |open: &str, inner: &str, close: &str| format!("SELECT {}{inner}{}", open.repeat(DEEP), close.repeat(DEEP));
    let cases = [
        around("(", "1", ")"),
        around("(", "1", ""),
        around("- ", "1", ""),
        around("NOT ", "a", ""),
        around("CASE WHEN ", "a", " THEN 1 END"),
        around("f(", "1", ")"),
        around("a[", "1", "]"),
        around("ARRAY[", "1", "]"),
        around("(SELECT ", "1", ")"),
        around("((SELECT ", "1", ") + 1)"),
        around("EXISTS (SELECT * FROM t WHERE ", "a", ")"),
        around("1 + ", "1", ""),
        around("a = ", "1", ""),
        around("a", "", "[1]"),
        around("f(a)", "", ".b"),
        around("a BETWEEN ", "1", " AND 2"),
        format!("SELECT CAST(a AS {}INT{})", "ARRAY<".repeat(DEEP), ">".repeat(DEEP)),
        format!("SELECT CAST(a AS INT{})", " ARRAY".repeat(DEEP)),
        format!("SELECT CAST(a AS {}INT{})", "ROW<a ".repeat(DEEP), ">".repeat(DEEP)),
        format!("SELECT * FROM {}t{}", "(".repeat(DEEP), ")".repeat(DEEP)),
        format!("SELECT * FROM {}SELECT 1{}", "(SELECT * FROM (".repeat(DEEP), "))".repeat(DEEP)),
        format!("SELECT * FROM t{}", ", t".repeat(DEEP)),
        format!("SELECT * FROM t{}", " JOIN t ON a = b".repeat(DEEP)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(DEEP)),
        format!("SELECT 1{}", " INTERSECT SELECT 1".repeat(DEEP)),
        format!("{}SELECT 1{}", "(".repeat(DEEP), ")".repeat(DEEP)),
        format!("WITH {}SELECT 1{} SELECT 1", "a AS (WITH ".repeat(DEEP), ")".repeat(DEEP)),
        format!("SELECT a FROM t GROUP BY {}a{}", "GROUPING SETS (".repeat(DEEP), ")".repeat(DEEP)),
        format!("SELECT * FROM t MATCH_RECOGNIZE (PATTERN ({}A{}))", "(".repeat(DEEP), ")".repeat(DEEP)),
        format!("SELECT * FROM {}t{}", "TABLE(f(TABLE ".repeat(DEEP), "))".repeat(DEEP)),
        format!("{}SELECT 1", "EXPLAIN ".repeat(DEEP)),
    ];
    for text in cases {
        let errors = parse_script(&text).expect_err(&text[..60]);
        assert_eq!(errors.len(), 1, "{}", &text[..60]);
    }
}

#[test]
fn nesting_up_to_the_bound_is_read_walked_and_dropped() {
    let depth = NESTING_MAX as usize - 8;
    let cases = [
        format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth)),
        format!("SELECT {}1{}", "f(".repeat(depth), ")".repeat(depth)),
        format!("SELECT {}", vec!["1"; 500].join(" + ")),
        format!("SELECT {}1{}", "(SELECT ".repeat(depth / 5), ")".repeat(depth / 5)),
    ];
    for text in cases {
        let parsed = parse_script(&text).unwrap_or_else(|errors| panic!("{}", render(&text, &errors)));
        assert!(!queries(&parsed[0])[0].to_string().is_empty());
    }
}

#[test]
fn a_filter_of_ten_thousand_terms_is_a_shallow_tree() {
    fn depth(expr: &Expr) -> usize {
        match &expr.kind {
            ExprKind::Binary { left, right, .. } => 1 + depth(left).max(depth(right)),
            _ => 0,
        }
    }
    let terms: Vec<String> = (0..10_000).map(|number| format!("a = {number}")).collect();
    let expr = parse_expression(&terms.join(" OR ")).expect("a long filter");
    assert!(depth(&expr) <= 16);
    assert_eq!(expr.to_string(), terms.join(" OR "));
}

#[test]
fn a_file_of_nothing_but_errors_is_given_up_soon() {
    let endless = [
        "x;".repeat(100_000),
        format!("CREATE TABLE t ({})", "1, ".repeat(100_000)),
        "CREATE TABLE t (a ) < ".to_owned() + &"<".repeat(100_000),
    ];
    for text in endless {
        let errors = parse_script(&text).expect_err("nothing but errors");
        assert!(errors.len() <= ERRORS_MAX);
        assert!(!render(&text, &errors).is_empty());
    }
}

#[test]
fn a_column_without_a_name_is_called_as_in_flink() {
    let parsed = parse_script("SELECT a + 1, t.b, f(c) AS d, t.*, (r).x, `e` FROM t").expect("a query");
    let SetExprKind::Select(select) = &queries(&parsed[0])[0].body.kind else { panic!("not a SELECT") };
    let names: Vec<Option<String>> =
        select.items.iter().enumerate().map(|(index, item)| item.output_name(index)).collect();
    let expected = [Some("EXPR$0"), Some("b"), Some("d"), None, Some("EXPR$4"), Some("e")];
    assert_eq!(names, expected.map(|name| name.map(str::to_owned)));
}

#[test]
fn operators_bind_as_in_flink() {
    // Both texts must print the same, so they must be the same tree.
    let cases = [
        ("a OR b AND c", "a OR (b AND c)"),
        ("NOT a AND b", "(NOT a) AND b"),
        ("NOT a = b", "NOT (a = b)"),
        ("NOT a IS NULL", "NOT (a IS NULL)"),
        ("a = b IS NULL", "(a = b) IS NULL"),
        ("a = b = c", "(a = b) = c"),
        ("a = b IN (c)", "a = (b IN (c))"),
        ("a IN (b) = c", "(a IN (b)) = c"),
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a || b + c", "(a || b) + c"),
        ("a * b || c", "(a * b) || c"),
        ("- a * b", "(- a) * b"),
        ("- a[1].b", "- (a[1].b)"),
        ("a BETWEEN b + 1 AND c AND d", "(a BETWEEN (b + 1) AND c) AND d"),
        ("a LIKE b || c ESCAPE d = e", "(a LIKE (b || c) ESCAPE d) = e"),
        ("a IS DISTINCT FROM b + c AND d", "(a IS DISTINCT FROM (b + c)) AND d"),
        ("a < b + INTERVAL '1' DAY", "a < (b + (INTERVAL '1' DAY))"),
        ("a AND b AND c", "(a AND b) AND c"),
    ];
    for (plain, parenthesised) in cases {
        let print = |text: &str| {
            parse_expression(text).unwrap_or_else(|errors| panic!("{}", render(text, &errors))).to_string()
        };
        assert_eq!(print(plain), print(parenthesised), "{plain}");
    }
}

#[test]
fn printing_keeps_parentheses_only_where_they_matter() {
    let cases = [
        ("(a + b) * c", "(a + b) * c"),
        ("((a * b)) + c", "a * b + c"),
        ("a - (b - c)", "a - (b - c)"),
        ("-(-a)", "-(-a)"),
        ("a - -b", "a - -b"),
        ("(NOT a) = b", "(NOT a) = b"),
        ("(r).a", "(r).a"),
        ("count(*)", "count(*)"),
        ("`timestamp` + `plain`", "`timestamp` + plain"),
        ("cast(a as timestamp(3) with local time zone)", "CAST(a AS TIMESTAMP_LTZ(3))"),
        ("trim(a)", "TRIM(BOTH FROM a)"),
        ("current_timestamp", "current_timestamp"),
    ];
    for (text, expected) in cases {
        let printed = parse_expression(text).unwrap_or_else(|errors| panic!("{}", render(text, &errors))).to_string();
        assert_eq!(printed, expected, "{text}");
    }
    assert_eq!(quote_name("a`b"), "`a``b`");
    assert_eq!(quote_name("value"), "`value`");
    assert_eq!(quote_name("plain_1"), "plain_1");
}

#[test]
fn broken_scripts_render_as_their_data_files_say() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut failures = String::new();
    for path in data_files("errors/parser", "txt") {
        let text = read(&path);
        let rewritten = rewrite_error_file(&text);
        if rewritten == text {
            continue;
        }
        if update {
            fs::write(&path, rewritten).expect("a writable data file");
        } else {
            failures.push_str(&format!("{} should be:\n{rewritten}\n", path.display()));
        }
    }
    assert!(failures.is_empty(), "{failures}\nrun with UPDATE=1 to take this over");
}

/// A data file is a list of cases: `# a sentence`, the script, `----`, the rendered errors. This gives the file with the errors
/// that the parser reports now.
fn rewrite_error_file(text: &str) -> String {
    let mut out = String::new();
    for case in text.split("\n# ") {
        let case = case.strip_prefix("# ").unwrap_or(case);
        let (title, rest) = case.split_once('\n').unwrap_or((case, ""));
        let script = rest.split("\n----").next().unwrap_or("");
        let rendered = match parse_script(script) {
            Ok(_) => "no error\n".to_owned(),
            Err(errors) => render(script, &errors),
        };
        let blank = if out.is_empty() { "" } else { "\n" };
        out.push_str(&format!("{blank}# {title}\n{script}\n----\n{rendered}"));
    }
    out
}
