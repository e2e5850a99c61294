//! A Python function as an expression calls it: argument columns out, one result column back.
//!
//! ```text
//! rows of the batch -> bundles of at most `bundle.size` rows -> worker -> results, and the rows that raised
//!                                                           -> died or hung -> the rows before and behind the bad one run again
//! ```
//! A row that raises is told by the worker, and nothing runs twice. When the process dies, the bundle is halved until the row stands alone;
//! when it hangs, the worker has told how many rows were done, so the next one is it. What ran in a process that died runs again in the
//! next one: a function with effects on the outside may have them twice there, as it would after a restart in Flink.

use std::fmt;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, make_array, new_null_array};
use arrow_schema::{Field, Schema};
use serde_json::{Value as Json, json};
use wiesel_core::{ChangeBatch, DataType, Error, Result};
use wiesel_expr::foreign::{ForeignCall, OnRefused};
use wiesel_expr::function::{
    Argument, FunctionError, JoinedCall, Membership, Operand, PreparedCall, ScalarFunction, Signature,
};
use wiesel_expr::operand::repeat;
use wiesel_expr::refusal::{self, Refusal};
use wiesel_expr::text::RowTexts;
use wiesel_expr::{EvalContext, Session};

use crate::pool;
use crate::settings::Surroundings;
use crate::worker::{Lost, Worker, refusal};
use crate::{frame, joint, plain, runtime, sql_type};

/// How long `open()` of a function may take, beside the time limit of a row.
const OPEN_MAX: std::time::Duration = std::time::Duration::from_secs(120);
/// Characters of the arguments that an error shows.
const SHOWN_MAX: usize = 200;

/// A function that plans refer to.
pub(crate) struct PythonFunction(pub(crate) Arc<Inner>);

impl fmt::Debug for PythonFunction {
    /// Equal calls are equal text: plans are compared by it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (Python function {})", self.0.name, self.0.number)
    }
}

/// One function with its types and surroundings.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) number: usize,
    /// Functions of one family share a process.
    family: usize,
    pub(crate) name: &'static str,
    pub(crate) call: ForeignCall,
    pub(crate) surroundings: Surroundings,
    result: Arc<Schema>,
    open: Json,
    /// The arguments travel as plain buffers.
    takes_plain: bool,
    /// The result does.
    gives_plain: bool,
}

impl PythonFunction {
    pub(crate) fn new(number: usize, family: usize, call: ForeignCall, surroundings: Surroundings) -> PythonFunction {
        let result = Arc::new(Schema::new(vec![Field::new("result", call.result.to_arrow(), true)]));
        let is_plain = |data_type: &DataType| !call.is_columnar && plain::is_plain(&data_type.to_arrow());
        let (takes_plain, gives_plain) = (call.arguments.iter().all(is_plain), is_plain(&call.result));
        let arguments: Vec<Json> = call.arguments.iter().map(sql_type::to_json).collect();
        let open = json!({
            "op": "open",
            "id": number,
            "name": call.class,
            "arguments": arguments,
            "result": sql_type::to_json(&call.result),
            "plain": gives_plain,
            "arrow": !(takes_plain && gives_plain),
        });
        // As long as the function itself, which lives to the end of the process.
        let name = Box::leak(call.name.clone().into_boxed_str());
        PythonFunction(Arc::new(Inner {
            number,
            family,
            name,
            call,
            surroundings,
            result,
            open,
            takes_plain,
            gives_plain,
        }))
    }
}

impl Inner {
    /// The process, with the function opened in it.
    pub(crate) fn ready<'a>(&self, place: &'a mut Option<Worker>) -> Result<&'a mut Worker> {
        let worker = match place {
            Some(worker) => worker,
            None => place.insert(pool::take(&self.surroundings)?),
        };
        if !worker.opened.contains(&self.number) {
            let mut body = Vec::new();
            frame::encode(&RecordBatch::new_empty(Arc::clone(&self.result)), &mut body)?;
            let (answer, _) =
                worker.ask(&self.open, &body, OPEN_MAX.max(self.surroundings.timeout)).map_err(|lost| {
                    Error::config(format!(
                        "the Python function `{}` cannot be opened: its process {}",
                        self.name,
                        lost.shown()
                    ))
                })?;
            if let Some(error) = answer.get("error") {
                return Err(refusal(error, &answer));
            }
            worker.opened.push(self.number);
        }
        Ok(worker)
    }

    /// One round trip.
    fn send(&self, worker: &mut Worker, rows: &RecordBatch, body: &mut Vec<u8>) -> Result<Result<Answer, Lost>> {
        let parts = if self.takes_plain {
            Some(plain::encode(rows, body)?)
        } else {
            frame::encode(rows, body)?;
            None
        };
        let goes_on = self.surroundings.on_refused != OnRefused::Fail;
        let head = json!({
            "op": "call",
            "id": self.number,
            "rows": rows.num_rows(),
            "columns": self.surroundings.arrow_rows,
            "all": goes_on,
            "parts": parts,
        });
        let (answer, body) = match worker.ask(&head, body, self.surroundings.timeout) {
            Ok(answer) => answer,
            Err(lost) => return Ok(Err(lost)),
        };
        if let Some(error) = answer.get("error") {
            return Ok(Err(Lost::Refused(error.as_str().unwrap_or_default().to_owned())));
        }
        let column = match answer.get("parts").filter(|_| self.gives_plain) {
            Some(parts) => plain::decode(&mut body.as_slice(), parts, rows.num_rows(), &self.call.result.to_arrow())?,
            None => self.fitted(frame::decode(&body)?.column(0), rows.num_rows())?,
        };
        let refused = answer.get("refused").and_then(Json::as_array).into_iter().flatten();
        let refused = refused.filter_map(|pair| {
            Some((usize::try_from(pair.get(0)?.as_u64()?).ok()?, pair.get(1)?.as_str()?.to_owned()))
        });
        Ok(Ok(Answer { column, refused: refused.collect() }))
    }

    /// The results of a batch, and the rows that were refused.
    pub(crate) fn run(
        &self,
        batch: &RecordBatch,
        place: &mut Option<Worker>,
        body: &mut Vec<u8>,
    ) -> Result<(ArrayRef, Vec<(usize, String)>)> {
        let mut run = Run { function: self, place, body, parts: Vec::new(), refused: Vec::new() };
        let (rows, mut start) = (batch.num_rows(), 0);
        while start < rows {
            let count = self.surroundings.bundle_rows.min(rows - start);
            run.call(batch, start, count, true)?;
            start += count;
        }
        run.finish()
    }

    /// Says what becomes of a refused row: it ends the job, is handed over to be left out, or stays with NULL.
    pub(crate) fn tell(&self, row: usize, arguments: &str, why: &str) -> Result<()> {
        let failed = || Error::data(format!("Python function `{}`({arguments}) failed: {why}", self.name));
        match self.surroundings.on_refused {
            OnRefused::Fail => {
                Err(failed().hint("SET 'wiesel.on-refused' = 'null' or 'dead-letter' keeps the job running"))
            }
            OnRefused::Null => Ok(()),
            OnRefused::DeadLetter => {
                let (function, reason) = (self.name.to_owned(), why.to_owned());
                if refusal::refuse(Refusal { row, function, arguments: arguments.to_owned(), reason }) {
                    return Ok(());
                }
                Err(failed()
                    .hint("a row is left out in a SELECT list or WHERE; compute the value there, in a subquery"))
            }
        }
    }

    /// The arguments of a row, for people.
    pub(crate) fn arguments(&self, batch: &RecordBatch, row: usize) -> Result<String> {
        let call = &self.call;
        let fields = call.arguments.iter().map(|data_type| wiesel_core::Field::new("a", data_type.clone())).collect();
        let session = Session { time_zone: Arc::clone(&call.settings.time_zone), legacy_cast: true };
        let mut texts = RowTexts::new(&wiesel_core::Schema::new(fields), session);
        let row = texts.rows(&ChangeBatch::inserts(batch.slice(row, 1)))?.pop();
        let values = row.map(|(_, values)| values).unwrap_or_default();
        let values: Vec<String> = values.into_iter().map(|value| value.unwrap_or_else(|| "NULL".to_owned())).collect();
        let mut text = values.join(", ");
        if text.chars().count() > SHOWN_MAX {
            text = text.chars().take(SHOWN_MAX).chain("...".chars()).collect();
        }
        Ok(text)
    }

    fn fitted(&self, column: &ArrayRef, rows: usize) -> Result<ArrayRef> {
        let wanted = self.call.result.to_arrow();
        if column.len() != rows {
            return Err(Error::internal(format!("a worker gave {} results for {rows} rows", column.len())));
        }
        if *column.data_type() == wanted {
            return Ok(Arc::clone(column));
        }
        // Names of nested fields may differ; the layout may not.
        Ok(make_array(column.to_data().into_builder().data_type(wanted).build()?))
    }
}

/// What came back.
struct Answer {
    column: ArrayRef,
    refused: Vec<(usize, String)>,
}

impl Lost {
    /// What the process did.
    pub(crate) fn shown(&self) -> String {
        match self {
            Lost::Died(how) => how.clone(),
            Lost::Hung(_) => "gave no answer within the time limit".to_owned(),
            Lost::Refused(why) => format!("refused: {why}"),
        }
    }
}

impl ScalarFunction for PythonFunction {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn doc(&self) -> &'static str {
        "a function in Python"
    }

    fn bind(&self, _args: &[Argument<'_>]) -> Result<Signature, FunctionError> {
        Err(FunctionError { expected: format!("`{}` is bound by its own description", self.0.name) })
    }

    fn eval(&self, _args: &[Operand], _call: &Signature, _rows: usize, _context: &EvalContext) -> Result<ArrayRef> {
        Err(Error::internal("a Python function is evaluated by its prepared call"))
    }

    fn is_deterministic(&self) -> bool {
        self.0.call.is_deterministic
    }

    fn refuses_rows(&self) -> bool {
        self.0.surroundings.on_refused == OnRefused::DeadLetter
    }

    fn is_foldable(&self) -> bool {
        false
    }

    fn prepare(&self) -> Option<Box<dyn PreparedCall>> {
        Some(Box::new(Prepared { function: Arc::clone(&self.0), body: Vec::new() }))
    }

    fn membership(&self) -> Option<Membership> {
        let function = &*self.0;
        let is_plain = function.takes_plain && function.gives_plain;
        is_plain.then_some(Membership { family: function.family, number: function.number })
    }

    fn join(&self, calls: Vec<JoinedCall>, inputs: Vec<DataType>) -> Option<&'static dyn ScalarFunction> {
        joint::join(calls, &inputs, runtime::function)
    }
}

/// A call in one expression.
#[derive(Debug)]
struct Prepared {
    function: Arc<Inner>,
    body: Vec<u8>,
}

impl PreparedCall for Prepared {
    fn eval(&mut self, args: &[Operand], _call: &Signature, rows: usize, _context: &EvalContext) -> Result<ArrayRef> {
        let batch = batch_of(columns_of(args, rows)?, rows)?;
        let function = &*self.function;
        pool::with(&function.surroundings, |place| {
            let (column, refused) = function.run(&batch, place, &mut self.body)?;
            for (row, why) in refused {
                function.tell(row, &function.arguments(&batch, row)?, &why)?;
            }
            Ok(column)
        })
    }
}

/// The arguments as columns.
pub(crate) fn columns_of(args: &[Operand], rows: usize) -> Result<Vec<ArrayRef>> {
    let column = |operand: &Operand| match operand {
        Operand::Column(column) => Ok(Arc::clone(column)),
        Operand::Constant(one, _) => repeat(one, rows),
    };
    args.iter().map(column).collect()
}

/// The columns as a batch; there may be none.
pub(crate) fn batch_of(columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let field = |(index, column): (usize, &ArrayRef)| Field::new(format!("a{index}"), column.data_type().clone(), true);
    let fields: Vec<Field> = columns.iter().enumerate().map(field).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

/// A batch on its way through a worker.
struct Run<'a> {
    function: &'a Inner,
    place: &'a mut Option<Worker>,
    body: &'a mut Vec<u8>,
    parts: Vec<ArrayRef>,
    refused: Vec<(usize, String)>,
}

impl Run<'_> {
    /// Appends the results of `count` rows from `start`. `again`: a single row whose process died is tried once more, because something
    /// else may have ended the process.
    fn call(&mut self, batch: &RecordBatch, start: usize, count: usize, again: bool) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let worker = self.function.ready(self.place)?;
        let lost = match self.function.send(worker, &batch.slice(start, count), self.body)? {
            Ok(answer) => {
                self.parts.push(answer.column);
                let refused = answer.refused.into_iter().map(|(row, why)| (start + row, why));
                self.refused.extend(refused);
                return self.check(batch);
            }
            Err(lost) => lost,
        };
        if !matches!(lost, Lost::Refused(_)) {
            *self.place = None;
        }
        let seconds = self.function.surroundings.timeout.as_secs_f64();
        match lost {
            Lost::Hung(Some(done)) if done < count => {
                self.call(batch, start, done, true)?;
                self.refuse(batch, start + done, format!("no result within {seconds} s"))?;
                self.call(batch, start + done + 1, count - done - 1, true)
            }
            Lost::Died(_) if count == 1 && again => self.call(batch, start, 1, false),
            Lost::Died(how) if count == 1 => self.refuse(batch, start, format!("the Python process {how}")),
            Lost::Hung(_) if count == 1 => self.refuse(batch, start, format!("no result within {seconds} s")),
            Lost::Refused(why) if count == 1 => self.refuse(batch, start, why),
            _ => {
                self.call(batch, start, count / 2, again)?;
                self.call(batch, start + count / 2, count - count / 2, again)
            }
        }
    }

    fn refuse(&mut self, batch: &RecordBatch, row: usize, why: String) -> Result<()> {
        self.parts.push(new_null_array(&self.function.call.result.to_arrow(), 1));
        self.refused.push((row, why));
        self.check(batch)
    }

    /// The first refused row ends the job, unless the file says otherwise.
    fn check(&self, batch: &RecordBatch) -> Result<()> {
        match (self.function.surroundings.on_refused, self.refused.first()) {
            (OnRefused::Fail, Some((row, why))) => {
                let shown = self.function.arguments(batch, *row)?;
                self.function.tell(*row, &shown, why)
            }
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<(ArrayRef, Vec<(usize, String)>)> {
        let column = match self.parts.as_slice() {
            [one] => Arc::clone(one),
            parts => {
                let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
                arrow_select::concat::concat(&parts)?
            }
        };
        Ok((column, self.refused))
    }
}
