//! [`Python`], which a session asks for functions: it describes them in a process, and gives expressions a function to call.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use wiesel_core::{Error, Result};
use wiesel_expr::ScalarFunction;
use wiesel_expr::foreign::{Foreign, ForeignCall, ForeignFunction, ForeignKind, ForeignSettings};

use crate::function::{Inner, PythonFunction};
use crate::pool;
use crate::settings::Surroundings;
use crate::worker::refusal;

/// How long a module may take to import.
const DESCRIBE_MAX: Duration = Duration::from_secs(120);

/// Functions that a process may plan in its life: they are kept to its end, because a plan refers to them for as long as it runs.
const FUNCTIONS_MAX: usize = 10_000;

type Key = (String, String, String, bool, Surroundings);

static FUNCTIONS: Mutex<BTreeMap<Key, &'static PythonFunction>> = Mutex::new(BTreeMap::new());

/// The surroundings of those functions, as many as there are at most.
static FAMILIES: Mutex<Vec<Surroundings>> = Mutex::new(Vec::new());

/// The function of a number.
pub(crate) fn function(number: usize) -> Option<Arc<Inner>> {
    let functions = FUNCTIONS.lock().unwrap_or_else(PoisonError::into_inner);
    functions.values().find(|function| function.0.number == number).map(|function| Arc::clone(&function.0))
}

/// Python functions of one SQL file.
#[derive(Debug, Default)]
pub struct Python {
    base: Option<PathBuf>,
    described: Mutex<BTreeMap<(String, Surroundings), ForeignFunction>>,
}

impl Python {
    /// Modules are looked for in the folder of the SQL file too, behind all other places.
    pub fn beside(file: &Path) -> Python {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Python::within(folder)
    }

    /// The same for a folder.
    pub fn within(folder: &Path) -> Python {
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        Python { base: Some(folder), described: Mutex::default() }
    }

    fn ask(&self, class: &str, settings: &ForeignSettings) -> Result<ForeignFunction> {
        let of_workers = Surroundings::new(settings, self.base.as_deref());
        let surroundings = of_workers.of_client(settings, self.base.as_deref());
        let key = (class.to_owned(), surroundings.clone());
        let mut described = self.described.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = described.get(&key) {
            return Ok(known.clone());
        }
        let mut worker = pool::take(&surroundings)?;
        let request = json!({"op": "describe", "name": class});
        let (answer, _) = worker.ask(&request, &[], DESCRIBE_MAX).map_err(|lost| {
            Error::config(format!("the Python function `{class}` cannot be imported: its process {}", lost.shown()))
        })?;
        pool::park(surroundings, worker);
        if let Some(error) = answer.get("error") {
            return Err(refusal(error, &answer));
        }
        let function = read(answer.get("ok").unwrap_or(&Value::Null))
            .ok_or_else(|| Error::internal(format!("a worker does not say what `{class}` is")))?;
        described.insert(key, function.clone());
        Ok(function)
    }
}

fn read(answer: &Value) -> Option<ForeignFunction> {
    let texts = |key: &str| -> Option<Vec<String>> {
        Some(answer.get(key)?.as_array()?.iter().map(|v| v.as_str().unwrap_or_default().to_owned()).collect())
    };
    let flag = |key: &str| answer.get(key).and_then(Value::as_bool).unwrap_or(false);
    let number = |key: &str| answer.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    Some(ForeignFunction {
        kind: match answer.get("kind")?.as_str()? {
            "scalar" => ForeignKind::Scalar,
            "table" => ForeignKind::Table,
            "aggregate" => ForeignKind::Aggregate,
            "table-aggregate" => ForeignKind::TableAggregate,
            _ => return None,
        },
        is_columnar: flag("pandas"),
        input: texts("input"),
        result: texts("result")?,
        accumulator: texts("accumulator"),
        is_deterministic: flag("deterministic"),
        arguments_min: number("least")?,
        arguments_max: number("most"),
        retracts: flag("retracts"),
        merges: flag("merges"),
    })
}

impl Foreign for Python {
    fn describe(&self, class: &str, settings: &ForeignSettings) -> Result<ForeignFunction> {
        self.ask(class, settings)
    }

    fn scalar(&self, call: ForeignCall) -> Result<&'static dyn ScalarFunction> {
        let surroundings = Surroundings::new(&call.settings, self.base.as_deref());
        let types: Vec<String> = call.arguments.iter().map(ToString::to_string).collect();
        let signature = format!("({}) -> {}", types.join(", "), call.result);
        let key = (call.class.clone(), call.name.clone(), signature, call.is_deterministic, surroundings.clone());
        let mut functions = FUNCTIONS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = functions.get(&key) {
            return Ok(*known);
        }
        if functions.len() >= FUNCTIONS_MAX {
            return Err(Error::config(format!(
                "more than {FUNCTIONS_MAX} Python functions are planned in one process"
            )));
        }
        let mut families = FAMILIES.lock().unwrap_or_else(PoisonError::into_inner);
        let family = families.iter().position(|of| *of == surroundings).unwrap_or_else(|| {
            families.push(surroundings.clone());
            families.len() - 1
        });
        let function = PythonFunction::new(functions.len(), family, call, surroundings);
        let function: &'static PythonFunction = Box::leak(Box::new(function));
        functions.insert(key, function);
        Ok(function)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        pool::clear();
    }
}
