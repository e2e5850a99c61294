//! The SQL data files on a real Apache Flink: the same statements, the same rows, and whether the same comes out.
//!
//! wiesel's side is what `wiesel test --outputs` prints: all changes of every query and written table, with the inputs ended at the
//! file's end. Flink's side is one JVM, its SQL gateway, with a session per file. There a scripted input is a file of all its rows, so
//! what is compared is the whole: a file's looks in between are proven by the file itself.

mod compare;
pub(crate) mod report;
mod script;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use wiesel_slt::record::{Directive, Record, TestFile, parse};

use crate::services::flink_gateway::{FlinkGateway, ResultRow, Session};
use crate::services::process::interrupted;
use compare::{Output, Strictness, as_printed, difference, printed_row, row_text};
use report::{FileReport, Verdict};
use script::{Tables, is_query, statements, written_tables};

/// What wiesel gives for each file.
pub(crate) fn outputs(binary: &Path, files: &[PathBuf]) -> Result<Vec<Value>> {
    let output = Command::new(binary)
        .args(["test", "--outputs"])
        .args(files)
        .stderr(Stdio::inherit())
        .output()
        .context("run wiesel")?;
    ensure!(output.status.success(), "`wiesel test --outputs` ended with {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).context("read what wiesel printed")).collect()
}

/// Compares one file. `number` keeps its files and printed lines apart from those of others.
pub(crate) fn compare_file(
    gateway: &FlinkGateway,
    folder: &Path,
    number: usize,
    path: &Path,
    ours: &Value,
) -> Result<FileReport> {
    ensure!(!interrupted(), "interrupted");
    let text = fs::read_to_string(path)?;
    let file = match parse(&text) {
        Ok(file) => file,
        Err(e) => return Ok(FileReport::one(Verdict::Differ(format!("line {}: {}", e.line, e.message)))),
    };
    if let Some(why) = reason_to_skip(&file) {
        return Ok(skip_all(&file, &why));
    }
    let tables = Tables::of(&file);
    let folder = folder.join(format!("file-{number}"));
    fs::create_dir_all(&folder)?;
    let mut names: Vec<&String> = tables.inputs.keys().collect();
    let declared = declared_tables(&file);
    names.extend(declared.iter().filter(|name| !tables.inputs.contains_key(*name)));
    for name in names {
        match tables.file_of(name) {
            Ok(text) => fs::write(folder.join(format!("{name}.json")), text)?,
            Err(why) => return Ok(skip_all(&file, &why)),
        }
    }
    let session = gateway.session()?;
    let identifier = format!("file-{number}-");
    let mut run = FileRun {
        session,
        gateway,
        tables: &tables,
        folder: folder.display().to_string(),
        identifier,
        ours,
        report: FileReport::default(),
        skipped_outputs: Vec::new(),
        queries: Vec::new(),
        failed_jobs: Vec::new(),
    };
    run.all(&file)?;
    Ok(run.report)
}

/// Every case of a file that is not compared.
fn skip_all(file: &TestFile, why: &str) -> FileReport {
    let is_case = |record: &&Record| {
        matches!(record.directive, Directive::StatementError(_) | Directive::StatementQuery(_) | Directive::Job { .. })
    };
    let cases = file.records.iter().filter(is_case).map(|_| Verdict::Skipped(why.to_owned()));
    FileReport { cases: cases.collect(), skipped: Some(why.to_owned()) }
}

fn reason_to_skip(file: &TestFile) -> Option<String> {
    file.records.iter().find_map(|record| match &record.directive {
        Directive::OnlyWiesel(why) => Some(why.clone()),
        Directive::Advance(_) | Directive::Clock(_) => Some("it moves the clock".to_owned()),
        Directive::File(_) => Some("its tables are those of a job file".to_owned()),
        _ => None,
    })
}

fn declared_tables(file: &TestFile) -> Vec<String> {
    let sqls = file.records.iter().filter_map(|record| match &record.directive {
        Directive::StatementOk(sql) => Some(sql),
        _ => None,
    });
    sqls.flat_map(|sql| statements(sql)).filter_map(|s| script::created_table(&s)).collect()
}

/// Leaves the options of a shown CREATE TABLE away.
fn cut_options(row: &mut String) {
    if row.starts_with("CREATE ")
        && let Some(at) = row.find("WITH (\\n")
    {
        row.truncate(at);
    }
}

struct FileRun<'a> {
    session: Session<'a>,
    gateway: &'a FlinkGateway,
    tables: &'a Tables,
    folder: String,
    identifier: String,
    ours: &'a Value,
    report: FileReport,
    /// What skipped jobs give: queries by their job, tables by their name.
    skipped_outputs: Vec<String>,
    queries: Vec<(String, Vec<ResultRow>)>,
    failed_jobs: Vec<String>,
}

impl FileRun<'_> {
    fn all(&mut self, file: &TestFile) -> Result<()> {
        for failure in self.ours["failures"].as_array().into_iter().flatten() {
            let message = failure["message"].as_str().unwrap_or_default();
            let text = format!("line {}: wiesel: {}", failure["line"], message.lines().next().unwrap_or_default());
            self.report.cases.push(refused_or_differs(text));
        }
        if !self.report.cases.is_empty() {
            return Ok(());
        }
        let mut skipped = None;
        for record in &file.records {
            if let Directive::NextOnlyWiesel(why) = &record.directive {
                skipped = Some(why.clone());
            } else if let Some(why) = skipped.take() {
                self.skip(record, why);
            } else {
                self.carry_out(record);
            }
        }
        self.compare_outputs()
    }

    fn skip(&mut self, record: &Record, why: String) {
        if let Directive::Job { name, sql } = &record.directive {
            self.skipped_outputs.push(name.clone());
            let statements = statements(sql.as_deref().unwrap_or_default());
            self.skipped_outputs.extend(statements.iter().flat_map(|s| written_tables(s)));
        }
        self.report.cases.push(Verdict::Skipped(format!("line {}: {why}", record.line)));
    }

    fn differs(&mut self, text: String) {
        self.report.cases.push(Verdict::Differ(text));
    }

    fn carry_out(&mut self, record: &Record) {
        let line = record.line;
        match &record.directive {
            // What was declared is no case by itself, unless Flink does not take it.
            Directive::StatementOk(sql) => {
                for statement in statements(sql) {
                    if let Err(error) = self.run(&statement) {
                        self.differs(format!("line {line}: Flink refuses the statement: {error:#}"));
                        return;
                    }
                }
            }
            Directive::StatementError(sql) => {
                let results: Vec<Result<Vec<ResultRow>>> = statements(sql).iter().map(|s| self.run(s)).collect();
                // A text without any statement in it is wrong for both.
                let is_taken = !results.is_empty() && results.iter().all(Result::is_ok);
                self.report.cases.push(if is_taken {
                    let first = self.found(line).into_iter().next().unwrap_or_default();
                    refused_or_differs(format!("line {line}: Flink takes the statement; wiesel: {first}"))
                } else {
                    Verdict::Agree
                });
            }
            Directive::StatementQuery(sql) => {
                let verdict = self.shown(line, sql);
                self.report.cases.push(verdict);
            }
            Directive::Job { name, sql: Some(sql) } => {
                for statement in statements(sql) {
                    match self.run(&statement) {
                        Ok(rows) if is_query(&statement) => self.queries.push((name.clone(), rows)),
                        Ok(_) => {}
                        Err(error) => {
                            let is_expected = self.failed_in_wiesel(name);
                            self.failed_jobs.push(name.clone());
                            self.skipped_outputs.extend(written_tables(&statement));
                            if is_expected {
                                self.report.cases.push(Verdict::Agree);
                            } else {
                                self.differs(format!("line {line}: job `{name}` fails in Flink: {error:#}"));
                            }
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn shown(&self, line: usize, sql: &str) -> Verdict {
        let mut rows = Vec::new();
        for statement in statements(sql) {
            match self.run(&statement) {
                Ok(more) => rows.extend(more.iter().map(|(_, values)| row_text(values))),
                Err(error) => return Verdict::Differ(format!("line {line}: Flink refuses the statement: {error:#}")),
            }
        }
        // SET, RESET and their like say OK.
        rows.retain(|row| row != "OK");
        let mut ours = self.found(line);
        ours.retain(|row| row != "(nothing)");
        // The options of a table are not the same: its connector was replaced.
        rows.iter_mut().chain(&mut ours).for_each(cut_options);
        rows.sort();
        ours.sort();
        if rows == ours {
            return Verdict::Agree;
        }
        let show = |rows: &[String]| rows.iter().map(|r| format!("        {r}\n")).collect::<String>();
        Verdict::Differ(format!("line {line}: the shown rows\n    wiesel:\n{}    flink:\n{}", show(&ours), show(&rows)))
    }

    fn run(&self, statement: &str) -> Result<Vec<ResultRow>> {
        self.session.run(&self.tables.rewrite(statement, &self.folder, &self.identifier))
    }

    /// What wiesel gave for the record at a line.
    fn found(&self, line: usize) -> Vec<String> {
        let records = self.ours["found"].as_array().map_or(&[][..], Vec::as_slice);
        let record = records.iter().find(|r| r["line"].as_u64() == u64::try_from(line).ok());
        let rows = record.and_then(|r| r["rows"].as_array()).map_or(&[][..], Vec::as_slice);
        rows.iter().filter_map(|r| r.as_str().map(str::to_owned)).collect()
    }

    fn failed_in_wiesel(&self, job: &str) -> bool {
        self.ours["failed_jobs"].as_array().is_some_and(|jobs| jobs.iter().any(|j| j.as_str() == Some(job)))
    }

    fn compare_outputs(&mut self) -> Result<()> {
        let strictness = if self.tables.inputs.len() > 1 { Strictness::Table } else { Strictness::Changes };
        for job in self.ours["failed_jobs"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !self.failed_jobs.iter().any(|f| f == job) && !self.skipped_outputs.iter().any(|s| s == job) {
                self.differs(format!("job `{job}` fails in wiesel and not in Flink"));
            }
        }
        for output in self.ours["outputs"].as_array().into_iter().flatten().map(Output::read) {
            let name = &output.name;
            if self.skipped_outputs.contains(name) {
                continue;
            }
            let (ours, theirs) = if output.is_query {
                if self.failed_jobs.iter().any(|f| f == name) || self.failed_in_wiesel(name) {
                    continue;
                }
                let rows = self.queries.iter().find(|(n, _)| n == name).map(|(_, rows)| rows.clone());
                (output.clone(), rows.unwrap_or_default())
            } else {
                let lines = self.gateway.printed(&format!("{}{name}", self.identifier))?;
                let printed = Output { rows: output.rows.iter().map(as_printed).collect(), ..output.clone() };
                (printed, lines.iter().map(|l| printed_row(l)).collect())
            };
            self.report.cases.push(match difference(&ours, &theirs, strictness) {
                None => Verdict::Agree,
                Some(text) => {
                    Verdict::Differ(format!("{} `{name}`\n{text}", if output.is_query { "query" } else { "table" }))
                }
            });
        }
        Ok(())
    }
}

fn refused_or_differs(text: String) -> Verdict {
    if text.contains("not supported") { Verdict::Refused(text) } else { Verdict::Differ(text) }
}
