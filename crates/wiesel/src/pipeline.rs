//! A pipeline: a folder with `pipeline.yaml`, which declares parameters, and `job.sql`, which uses them.
//!
//! A parameter is a variable of the template, `${name}` in the values of WITH and SET, or an option of a table, which is left out when
//! the parameter has no value. It never becomes SQL text, so no value can change what the template says. A value comes from the command
//! line, else from the environment (under the name that the declaration gives), else from `--env-file` or `.env.dev` and `.env` in the
//! working folder, else from a `.properties` file, else it is the declared default.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use wiesel_core::diagnostic::nearest;
use wiesel_core::options::{parse_duration, parse_memory_size};
use wiesel_core::secret::{HIDDEN, is_secret_key, keep, shown};
use wiesel_core::variable::{Variables, expand};
use wiesel_sql::session::TableOption;

use crate::variables::{JobVariables, read};

/// The pipelines that are part of the program: name, declaration, template.
const BUILT_IN: [(&str, &str, &str); 4] = [
    (
        "data_transformer",
        include_str!("../pipelines/data_transformer/pipeline.yaml"),
        include_str!("../pipelines/data_transformer/job.sql"),
    ),
    (
        "flink_kafka_to_parquet",
        include_str!("../pipelines/flink_kafka_to_parquet/pipeline.yaml"),
        include_str!("../pipelines/flink_kafka_to_parquet/job.sql"),
    ),
    (
        "kafka_extractor",
        include_str!("../pipelines/kafka_extractor/pipeline.yaml"),
        include_str!("../pipelines/kafka_extractor/job.sql"),
    ),
    (
        "parquet_loader",
        include_str!("../pipelines/parquet_loader/pipeline.yaml"),
        include_str!("../pipelines/parquet_loader/job.sql"),
    ),
];

/// Where pipelines of the user's own are looked for.
pub(crate) const FOLDER: &str = "pipelines";

/// A template and what it asks for.
#[derive(Debug)]
pub(crate) struct Pipeline {
    /// Its name.
    pub(crate) name: String,
    /// The SQL text.
    pub(crate) template: String,
    declaration: Declaration,
    /// Its folder; none for one that is part of the program.
    folder: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declaration {
    doc: String,
    /// A Java properties file, from the working folder, that is read where it is there.
    properties: Option<String>,
    #[serde(default)]
    parameters: Vec<Parameter>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameter {
    name: String,
    doc: String,
    #[serde(default, rename = "type")]
    kind: Kind,
    /// The only values there are.
    #[serde(default)]
    values: Vec<String>,
    default: Option<String>,
    /// May stay without a value.
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    secret: bool,
    /// The variable of the environment.
    env: Option<String>,
    /// The key in the properties file.
    property: Option<String>,
    /// `TABLE.KEY`, one or several.
    #[serde(default)]
    options: Vec<String>,
}

impl Parameter {
    fn is_secret(&self) -> bool {
        self.secret || is_secret_key(&self.name) || is_secret_key(&self.name.replace('_', "-"))
    }

    /// What is wrong with a value, without saying the value of a secret.
    fn check(&self, value: &str) -> Result<(), String> {
        let expected = match self.kind {
            Kind::String => None,
            Kind::Integer => value.parse::<i64>().is_err().then_some("a whole number"),
            Kind::Boolean => (!matches!(value, "true" | "false")).then_some("true or false"),
            Kind::Duration => parse_duration(value).is_none().then_some("a duration, for instance 30s or 5min"),
            Kind::Size => parse_memory_size(value).is_none().then_some("a size, for instance 128MB"),
        };
        let found = if self.is_secret() { HIDDEN } else { value };
        if let Some(expected) = expected {
            return Err(format!("parameter `{}`: expected {expected}, found `{found}`", self.name));
        }
        if !self.values.is_empty() && !self.values.iter().any(|v| v == value) {
            let near = nearest(value, self.values.iter().map(String::as_str));
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            return Err(format!(
                "parameter `{}`: expected one of {}, found `{found}`{near}",
                self.name,
                self.values.join(", ")
            ));
        }
        Ok(())
    }
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    String,
    Integer,
    Boolean,
    Duration,
    Size,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Boolean => "boolean",
            Kind::Duration => "duration",
            Kind::Size => "size",
        }
    }
}

impl Pipeline {
    /// Finds a pipeline: as a folder below `pipelines/` of the working folder, else among those of the program.
    pub(crate) fn find(name: &str) -> Result<Pipeline, String> {
        let folder = Path::new(FOLDER).join(name);
        let is_plain = !name.is_empty() && !name.contains(['/', '\\']) && !name.starts_with('.');
        if is_plain && folder.join("pipeline.yaml").is_file() {
            let text = |file: &str| {
                let path = folder.join(file);
                read(&path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))
            };
            return Self::new(name, &text("pipeline.yaml")?, text("job.sql")?, Some(folder.clone()));
        }
        if let Some((_, declaration, template)) = BUILT_IN.iter().find(|(known, ..)| *known == name) {
            return Self::new(name, declaration, (*template).to_owned(), None);
        }
        let names = Self::names();
        let near = match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}; one of your own is a folder `{FOLDER}/{name}`", names.join(", ")),
        };
        Err(format!("there is no pipeline `{name}`\nhint: {near}"))
    }

    /// The names of all pipelines, sorted.
    pub(crate) fn names() -> Vec<String> {
        let mut names: Vec<String> = BUILT_IN.iter().map(|(name, ..)| (*name).to_owned()).collect();
        let own = std::fs::read_dir(FOLDER).into_iter().flatten().flatten();
        names.extend(
            own.filter(|e| e.path().join("pipeline.yaml").is_file())
                .map(|e| e.file_name().to_string_lossy().into_owned()),
        );
        names.sort();
        names.dedup();
        names
    }

    fn new(name: &str, declaration: &str, template: String, folder: Option<PathBuf>) -> Result<Pipeline, String> {
        let place = folder.as_deref().unwrap_or_else(|| Path::new(name)).join("pipeline.yaml");
        let declaration: Declaration =
            serde_saphyr::from_str(declaration).map_err(|e| format!("`{}`: {e}", place.display()))?;
        let mut seen = std::collections::BTreeSet::new();
        for parameter in &declaration.parameters {
            if !seen.insert(&parameter.name) {
                return Err(format!("`{}`: parameter `{}` is declared twice", place.display(), parameter.name));
            }
            if let Some(option) = parameter.options.iter().find(|option| !option.contains('.')) {
                return Err(format!(
                    "`{}`: parameter `{}`: expected TABLE.KEY, found `{option}`",
                    place.display(),
                    parameter.name
                ));
            }
            if let Some(default) = &parameter.default {
                parameter.check(default).map_err(|e| format!("`{}`, default of {e}", place.display()))?;
            }
        }
        Ok(Pipeline { name: name.to_owned(), template, declaration, folder })
    }

    /// What errors call the template.
    pub(crate) fn template_name(&self) -> String {
        self.folder.as_deref().unwrap_or_else(|| Path::new(&self.name)).join("job.sql").display().to_string()
    }

    /// Its description and parameters, as `--help` of it.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("{}: {}\n", self.name, self.declaration.doc);
        for parameter in &self.declaration.parameters {
            let kind = if parameter.values.is_empty() {
                parameter.kind.name().to_owned()
            } else {
                parameter.values.join(" | ")
            };
            let default = match (&parameter.default, parameter.optional) {
                (Some(default), _) => format!(", default {default}"),
                (None, true) => ", may be left out".to_owned(),
                (None, false) => String::new(),
            };
            let env = parameter.env.as_ref().map_or_else(String::new, |env| format!(", ${env}"));
            _ = writeln!(text, "  {} ({kind}{default}{env})\n      {}", parameter.name, parameter.doc);
        }
        text
    }

    /// Every parameter's value, or all problems.
    pub(crate) fn resolve(
        &self,
        given: &[(String, String)],
        env_files: &[PathBuf],
        properties: Option<&Path>,
    ) -> Result<Values, Vec<String>> {
        let parameters = &self.declaration.parameters;
        let alone = |problem| vec![problem];
        let below = JobVariables::beside(Path::new("."), env_files).map_err(alone)?;
        let properties = Properties::open(properties, self.declaration.properties.as_deref()).map_err(alone)?;
        let mut problems = Vec::new();
        for (index, (name, _)) in given.iter().enumerate() {
            if !parameters.iter().any(|p| p.name == *name) {
                let near = match nearest(name, parameters.iter().map(|p| p.name.as_str())) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("`wiesel pipeline {}` has these: {}", self.name, self.parameter_names()),
                };
                problems.push(format!("there is no parameter `{name}`\nhint: {near}"));
            } else if given[..index].iter().any(|(earlier, _)| earlier == name) {
                problems.push(format!("parameter `{name}` is given twice"));
            }
        }
        let mut values = Vec::new();
        for parameter in parameters {
            match origin_of(parameter, given, &below, &properties) {
                // An empty value takes a default away.
                Ok(Some((value, _))) if value.is_empty() && parameter.optional => {}
                Ok(Some((value, origin))) => {
                    if parameter.is_secret() {
                        keep(&value);
                    }
                    if let Err(problem) = parameter.check(&value) {
                        problems.push(format!("{problem}, from {origin}"));
                    }
                    values.push(ParameterValue {
                        name: parameter.name.clone(),
                        value,
                        origin,
                        is_secret: parameter.is_secret(),
                        options: parameter.options.clone(),
                    });
                }
                Ok(None) if parameter.optional => {}
                Ok(None) => problems.push(missing(parameter)),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(Values { values, below: Arc::new(below) }) } else { Err(problems) }
    }

    fn parameter_names(&self) -> String {
        let names: Vec<&str> = self.declaration.parameters.iter().map(|p| p.name.as_str()).collect();
        names.join(", ")
    }
}

fn missing(parameter: &Parameter) -> String {
    let mut places = vec![format!("`{}=...` on the command line", parameter.name)];
    places.extend(parameter.env.as_ref().map(|env| format!("`{env}` in the environment or an environment file")));
    places.extend(parameter.property.as_ref().map(|key| format!("`{key}` in the properties file")));
    format!("parameter `{}` has no value: {}\nhint: give {}", parameter.name, parameter.doc, places.join(", or "))
}

/// A parameter's value and where it is from.
fn origin_of(
    parameter: &Parameter,
    given: &[(String, String)],
    below: &JobVariables,
    properties: &Properties,
) -> Result<Option<(String, String)>, String> {
    if let Some((_, value)) = given.iter().find(|(name, _)| *name == parameter.name) {
        return Ok(Some((value.clone(), "the command line".to_owned())));
    }
    if let Some(found) = parameter.env.as_deref().and_then(|env| below.look(env)) {
        return Ok(Some(found));
    }
    if let Some(key) = &parameter.property
        && let Some(found) = properties.get(key, below)?
    {
        return Ok(Some(found));
    }
    Ok(parameter.default.clone().map(|value| (value, "the default".to_owned())))
}

/// A Java properties file.
#[derive(Debug, Default)]
struct Properties {
    place: String,
    values: BTreeMap<String, String>,
}

impl Properties {
    /// The one that is asked for, else the declared one, which may be missing.
    fn open(asked: Option<&Path>, declared: Option<&str>) -> Result<Properties, String> {
        let path = match (asked, declared) {
            (Some(path), _) => path,
            (None, Some(path)) if Path::new(path).is_file() => Path::new(path),
            _ => return Ok(Properties::default()),
        };
        let text = read(path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))?;
        Ok(Properties { place: path.display().to_string(), values: parse_properties(&text) })
    }

    fn get(&self, key: &str, variables: &JobVariables) -> Result<Option<(String, String)>, String> {
        let Some(value) = self.values.get(key) else { return Ok(None) };
        let value = expand(value, variables)
            .map_err(|e| format!("`{}`, {key}: {}\nhint: {}", self.place, e.message, e.hint))?;
        Ok(Some((value, format!("`{}`", self.place))))
    }
}

/// Reads `key=value`, `key: value` and `key value` lines; `#` and `!` begin comments, a backslash at the end joins lines.
fn parse_properties(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut whole = line.trim_start().to_owned();
        if whole.is_empty() || whole.starts_with(['#', '!']) {
            continue;
        }
        while whole.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1 {
            whole.pop();
            let Some(next) = lines.next() else { break };
            whole.push_str(next.trim_start());
        }
        let end = whole.find(['=', ':', ' ', '\t']).unwrap_or(whole.len());
        let (key, rest) = whole.split_at(end);
        let rest = rest.trim_start();
        let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim();
        values.insert(key.to_owned(), value.to_owned());
    }
    values
}

#[derive(Debug)]
struct ParameterValue {
    name: String,
    value: String,
    origin: String,
    is_secret: bool,
    options: Vec<String>,
}

/// The values of a pipeline's parameters.
pub(crate) struct Values {
    values: Vec<ParameterValue>,
    below: Arc<JobVariables>,
}

impl Values {
    /// Rows of name, value, origin; secrets hidden.
    pub(crate) fn rows(&self) -> Vec<Vec<Option<String>>> {
        let row = |v: &ParameterValue| {
            let value = if v.is_secret { HIDDEN.to_owned() } else { shown(&v.name, &v.value).into_owned() };
            vec![Some(v.name.clone()), Some(value), Some(v.origin.clone())]
        };
        self.values.iter().map(row).collect()
    }

    /// What the parameters set in tables.
    pub(crate) fn table_options(&self) -> Vec<TableOption> {
        let mut options = Vec::new();
        for value in &self.values {
            for (table, key) in value.options.iter().filter_map(|option| option.split_once('.')) {
                options.push(TableOption { table: table.to_owned(), key: key.to_owned(), value: value.value.clone() });
            }
        }
        options
    }

    /// The parameters as variables, in front of all others.
    pub(crate) fn variables(&self) -> Arc<dyn Variables> {
        let parameters = self.values.iter().map(|v| (v.name.clone(), v.value.clone())).collect();
        Arc::new(Layered { parameters, below: self.below.clone() })
    }
}

struct Layered {
    parameters: BTreeMap<String, String>,
    below: Arc<JobVariables>,
}

impl Variables for Layered {
    fn variable(&self, name: &str) -> Option<String> {
        self.parameters.get(name).cloned().or_else(|| self.below.variable(name))
    }

    fn file(&self, path: &str) -> Result<String, String> {
        self.below.file(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pipeline_of_the_program_is_well_declared() {
        for (name, declaration, template) in BUILT_IN {
            let pipeline = Pipeline::new(name, declaration, template.to_owned(), None).unwrap();
            assert!(!pipeline.declaration.parameters.is_empty(), "{name}");
            for parameter in &pipeline.declaration.parameters {
                let is_used = template.contains(&format!("${{{}}}", parameter.name)) || !parameter.options.is_empty();
                assert!(is_used, "{name}: nothing uses `{}`", parameter.name);
            }
        }
    }

    #[test]
    fn properties_are_read_as_java_reads_them() {
        let text =
            "# a\n! b\n bootstrap.servers=${B}\nsasl.username : u\nempty=\nlong=a,\\\n   b\nkey value\nsign=a=b\n";
        let expected = [
            ("bootstrap.servers", "${B}"),
            ("empty", ""),
            ("key", "value"),
            ("long", "a,b"),
            ("sasl.username", "u"),
            ("sign", "a=b"),
        ];
        let found = parse_properties(text);
        let found: Vec<(&str, &str)> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn values_are_checked_by_type_and_all_problems_are_told() {
        let declaration = "\
doc: A test.
parameters:
  - {name: count, doc: How many., type: integer, default: '1'}
  - {name: pause, doc: How long., type: duration}
  - {name: mode, doc: Which., values: [first, last], default: first}
  - {name: password, doc: Secret., type: size, optional: true}
";
        let pipeline = Pipeline::new("p", declaration, String::new(), None).unwrap();
        let given = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let wrong = given(&[("count", "x"), ("mode", "frist"), ("password", "hunter22"), ("cuont", "1")]);
        let problems = pipeline.resolve(&wrong, &[], None).err().unwrap().join("\n");
        let expected = "\
there is no parameter `cuont`
hint: did you mean `count`?
parameter `count`: expected a whole number, found `x`, from the command line
parameter `pause` has no value: How long.
hint: give `pause=...` on the command line
parameter `mode`: expected one of first, last, found `frist`; did you mean `first`?, from the command line
parameter `password`: expected a size, for instance 128MB, found `******`, from the command line";
        assert_eq!(problems, expected);
        let values = pipeline.resolve(&given(&[("pause", "5 s")]), &[], None).ok().unwrap();
        let shown: Vec<String> =
            values.rows().into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join("|")).collect();
        assert_eq!(shown, ["count|1|the default", "pause|5 s|the command line", "mode|first|the default"]);
    }
}
