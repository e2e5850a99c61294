//! Settings that only wiesel has, `wiesel.*`: Flink's client takes unknown keys, so a file that uses them stays a Flink file.

use wiesel_core::diagnostic::{Diagnostic, nearest};
use wiesel_core::options::{parse_duration, parse_memory_size};
use wiesel_core::table::SinkSettings;
use wiesel_expr::foreign::{ForeignSettings, OnRefused};

use super::Config;
use crate::parser::ast::OptionPair;

const SINK: &str = "wiesel.sink.";
const ON_REFUSED: &str = "wiesel.on-refused";
const DEAD_LETTER_TABLE: &str = "wiesel.dead-letter.table";
const PYTHON_TIMEOUT: &str = "wiesel.python.timeout";
const PYTHON_MEMORY: &str = "wiesel.python.memory";
/// What else a function in Python depends on.
const FOREIGN: &[&str] = &["python.", "wiesel.python.", "pipeline.global-job-parameters"];

/// What can be asked of one sink: the end of the key, and the values.
const OF_SINK: &[(&str, &[&str])] = &[("delivery", &["default", "exactly-once"]), ("versioned", &["true", "false"])];

/// Refuses a key that is not there and a value that does not fit.
pub(super) fn check(pair: &OptionPair, value: &str) -> Result<(), Diagnostic> {
    let key = pair.key.value.as_str();
    let expected = |is_valid: bool, expected: &str| {
        if is_valid {
            return Ok(());
        }
        Err(Diagnostic::error("W0501", format!("setting '{key}' cannot be '{value}'"))
            .at(pair.value.span)
            .label(format!("expected {expected}")))
    };
    match key {
        ON_REFUSED => {
            let known = ["fail", "dead-letter", "null"].iter().any(|known| value.eq_ignore_ascii_case(known));
            return expected(known, "fail, dead-letter, or null (for functions in Python)");
        }
        DEAD_LETTER_TABLE => return Ok(()),
        PYTHON_TIMEOUT => {
            let is_valid = parse_duration(value).is_some_and(|time| !time.is_zero());
            return expected(is_valid, "a duration above zero such as `500 ms`, `60 s`");
        }
        PYTHON_MEMORY => return expected(parse_memory_size(value).is_some(), "a size such as `512mb`, or 0"),
        _ => {}
    }
    let unknown = || {
        let mut known: Vec<String> = [ON_REFUSED, DEAD_LETTER_TABLE, PYTHON_MEMORY, PYTHON_TIMEOUT]
            .iter()
            .map(|key| format!("'{key}'"))
            .collect();
        known.extend(OF_SINK.iter().map(|(end, _)| format!("'{SINK}<table>.{end}'")));
        Diagnostic::error("W0502", format!("unknown setting '{key}'"))
            .at(pair.key.span)
            .hint(format!("known are {}", known.join(", ")))
    };
    let (_, end) = split(key).ok_or_else(unknown)?;
    let Some((_, values)) = OF_SINK.iter().find(|(known, _)| *known == end) else {
        let near = nearest(end, OF_SINK.iter().map(|(known, _)| *known));
        return Err(match near {
            Some(near) => Diagnostic::error("W0502", format!("unknown setting '{key}'"))
                .at(pair.key.span)
                .hint(format!("did you mean '...{near}'?")),
            None => unknown(),
        });
    };
    if values.iter().any(|known| known.eq_ignore_ascii_case(value)) {
        return Ok(());
    }
    Err(Diagnostic::error("W0501", format!("setting '{key}' cannot be '{value}'"))
        .at(pair.value.span)
        .label(format!("expected {}", values.join(" or "))))
}

/// Table and end of `wiesel.sink.<table>.<end>`.
fn split(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix(SINK)?.rsplit_once('.').filter(|(table, _)| !table.is_empty())
}

impl Config {
    /// What functions in Python depend on.
    pub fn foreign_settings(&self) -> ForeignSettings {
        let values = self.values.iter().filter(|(key, _)| FOREIGN.iter().any(|start| key.starts_with(start)));
        let on_refused = match self.get(ON_REFUSED) {
            Some(value) if value.eq_ignore_ascii_case("null") => OnRefused::Null,
            Some(value) if value.eq_ignore_ascii_case("dead-letter") => OnRefused::DeadLetter,
            _ => OnRefused::Fail,
        };
        let values = values.map(|(key, value)| (key.clone(), value.clone())).collect();
        ForeignSettings { values, time_zone: self.time_zone(), on_refused }
    }

    /// `wiesel.dead-letter.table`, when refused rows go there.
    pub fn dead_letter_table(&self) -> Result<Option<&str>, Diagnostic> {
        let goes = self.get(ON_REFUSED).is_some_and(|value| value.eq_ignore_ascii_case("dead-letter"));
        match (goes, self.get(DEAD_LETTER_TABLE)) {
            (true, None) => Err(Diagnostic::error(
                "W0501",
                format!("setting '{ON_REFUSED}' = 'dead-letter' needs a table: SET '{DEAD_LETTER_TABLE}' = '...'"),
            )),
            (true, table) => Ok(table),
            (false, _) => Ok(None),
        }
    }

    /// What the file asks of the sink `table`.
    pub fn sink_settings(&self, table: &str) -> SinkSettings {
        let is = |end: &str, wanted: &str| {
            self.get(&format!("{SINK}{table}.{end}")).is_some_and(|value| value.eq_ignore_ascii_case(wanted))
        };
        SinkSettings { exactly_once: is("delivery", "exactly-once"), versioned: is("versioned", "true") }
    }

    /// The tables that are named by settings of sinks.
    pub fn tables_of_settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.keys().filter_map(|key| Some((key.as_str(), split(key)?.0)))
    }
}
