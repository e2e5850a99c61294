//! Calls of several functions over one batch in one trip, also when they are nested: `f(a)`, `g(b)` and `f(g(c))` are one request.
//!
//! ```text
//! inputs -> worker: call 0, call 1 over the results of call 0, ..  -> a column per call, and the rows that raised
//!        -> died or hung                                           -> the calls one by one, which finds the bad row (`function.rs`)
//! ```
//! Only functions whose columns are plain (`plain.rs`) go together. The results are the fields of a ROW, which the projection takes apart.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_schema::{Field, Fields};
use serde_json::{Value as Json, json};
use wiesel_core::{DataType, Error, Result};
use wiesel_expr::EvalContext;
use wiesel_expr::foreign::OnRefused;
use wiesel_expr::function::{
    Argument, FunctionError, JoinedArgument, JoinedCall, Operand, PreparedCall, ScalarFunction, Signature,
};

use crate::function::{Inner, batch_of, columns_of};
use crate::worker::{Lost, Worker};
use crate::{plain, pool, sql_type};

/// Joined calls that a process may plan in its life, as for functions.
const JOINTS_MAX: usize = 10_000;

/// Equal calls over equal inputs: one.
static JOINTS: Mutex<BTreeMap<(Vec<JoinedCall>, String), &'static Joint>> = Mutex::new(BTreeMap::new());

/// A function that stands for several calls.
pub(crate) struct Joint(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    members: Vec<Member>,
    fields: Fields,
    /// The types of the inputs and the calls, for the worker.
    inputs: Json,
    calls: Json,
}

#[derive(Debug)]
struct Member {
    function: Arc<Inner>,
    arguments: Vec<JoinedArgument>,
}

impl fmt::Debug for Joint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.members.iter().map(|member| member.function.name).collect();
        write!(f, "{} (Python functions in one trip)", names.join(", "))
    }
}

/// One function for calls of these functions; `None` when there are too many of them.
pub(crate) fn join(
    calls: Vec<JoinedCall>,
    inputs: &[DataType],
    function: impl Fn(usize) -> Option<Arc<Inner>>,
) -> Option<&'static dyn ScalarFunction> {
    let key = (calls, format!("{inputs:?}"));
    let mut joints = JOINTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = joints.get(&key) {
        return Some(*known);
    }
    if joints.len() >= JOINTS_MAX || !inputs.iter().all(|input| plain::is_plain(&input.to_arrow())) {
        return None;
    }
    let members =
        key.0.iter().map(|call| Some(Member { function: function(call.number)?, arguments: call.arguments.clone() }));
    let members = members.collect::<Option<Vec<Member>>>()?;
    let place = |argument: &JoinedArgument| match argument {
        JoinedArgument::Input(index) => json!(["input", index]),
        JoinedArgument::Call(index) => json!(["call", index]),
    };
    let described: Vec<Json> = members
        .iter()
        .map(|member| json!([member.function.number, member.arguments.iter().map(place).collect::<Vec<Json>>()]))
        .collect();
    let field = |(index, member): (usize, &Member)| {
        Field::new(format!("f{index}"), member.function.call.result.to_arrow(), true)
    };
    let shared = Shared {
        fields: members.iter().enumerate().map(field).collect(),
        inputs: inputs.iter().map(sql_type::to_json).collect(),
        calls: Json::Array(described),
        members,
    };
    let joint: &'static Joint = Box::leak(Box::new(Joint(Arc::new(shared))));
    joints.insert(key, joint);
    Some(joint)
}

impl ScalarFunction for Joint {
    fn name(&self) -> &'static str {
        "PYTHON"
    }

    fn doc(&self) -> &'static str {
        "functions in Python in one trip"
    }

    fn bind(&self, _args: &[Argument<'_>]) -> Result<Signature, FunctionError> {
        Err(FunctionError { expected: "functions in one trip are no function of SQL".to_owned() })
    }

    fn eval(&self, _args: &[Operand], _call: &Signature, _rows: usize, _context: &EvalContext) -> Result<ArrayRef> {
        Err(Error::internal("Python functions are evaluated by their prepared call"))
    }

    fn is_deterministic(&self) -> bool {
        self.0.members.iter().all(|member| member.function.call.is_deterministic)
    }

    fn refuses_rows(&self) -> bool {
        self.0.members.iter().any(|member| member.function.surroundings.on_refused == OnRefused::DeadLetter)
    }

    fn is_foldable(&self) -> bool {
        false
    }

    fn prepare(&self) -> Option<Box<dyn PreparedCall>> {
        Some(Box::new(Prepared { joint: Arc::clone(&self.0), body: Vec::new() }))
    }
}

/// The joined calls in one expression.
#[derive(Debug)]
struct Prepared {
    joint: Arc<Shared>,
    body: Vec<u8>,
}

/// A row that a call refused; its arguments are known by the worker alone when they are results of other calls.
struct Refused {
    member: usize,
    row: usize,
    why: String,
    shown: Option<String>,
}

impl PreparedCall for Prepared {
    fn eval(&mut self, args: &[Operand], _call: &Signature, rows: usize, _context: &EvalContext) -> Result<ArrayRef> {
        let inputs = batch_of(columns_of(args, rows)?, rows)?;
        let joint = Arc::clone(&self.joint);
        let Some(first) = joint.members.first() else { return Err(Error::internal("a trip without a call")) };
        let surroundings = &first.function.surroundings;
        pool::with(surroundings, |place| {
            let mut parts = Vec::new();
            let mut start = 0;
            while start < rows {
                let count = surroundings.bundle_rows.min(rows - start);
                parts.push(self.bundle(&inputs.slice(start, count), start, place)?);
                start += count;
            }
            let columns = (0..joint.members.len()).map(|member| {
                let parts: Vec<&dyn Array> =
                    parts.iter().filter_map(|part| part.get(member)).map(AsRef::as_ref).collect();
                Ok(arrow_select::concat::concat(&parts)?)
            });
            let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
            Ok(Arc::new(StructArray::try_new(joint.fields.clone(), columns, None)?) as ArrayRef)
        })
    }
}

impl Prepared {
    /// The results of a bundle, which begins at row `start` of the batch.
    fn bundle(&mut self, inputs: &RecordBatch, start: usize, place: &mut Option<Worker>) -> Result<Vec<ArrayRef>> {
        for member in &self.joint.members {
            member.function.ready(place)?;
        }
        let (columns, refused) = match self.ask(inputs, place)? {
            Ok(answer) => answer,
            Err(lost) => {
                if !matches!(lost, Lost::Refused(_)) {
                    *place = None;
                }
                return self.one_by_one(inputs, start, place);
            }
        };
        for refused in refused {
            let Some(member) = self.joint.members.get(refused.member) else { continue };
            let shown = match refused.shown {
                Some(shown) => shown,
                None => member.function.arguments(&self.arguments(member, inputs, &columns)?, refused.row)?,
            };
            member.function.tell(start + refused.row, &shown, &refused.why)?;
        }
        Ok(columns)
    }

    /// One request with all calls.
    #[expect(clippy::type_complexity, reason = "what came back, or why nothing did, or a broken answer")]
    fn ask(
        &mut self,
        inputs: &RecordBatch,
        place: &mut Option<Worker>,
    ) -> Result<Result<(Vec<ArrayRef>, Vec<Refused>), Lost>> {
        let joint = &self.joint;
        let Some((worker, first)) = place.as_mut().zip(joint.members.first()) else {
            return Err(Error::internal("a trip without a worker"));
        };
        let rows = inputs.num_rows();
        let head = json!({
            "op": "together",
            "calls": joint.calls,
            "types": joint.inputs,
            "rows": rows,
            "all": first.function.surroundings.on_refused != OnRefused::Fail,
            "parts": plain::encode(inputs, &mut self.body)?,
        });
        let (answer, body) = match worker.ask(&head, &self.body, first.function.surroundings.timeout) {
            Ok(answer) => answer,
            Err(lost) => return Ok(Err(lost)),
        };
        if let Some(error) = answer.get("error") {
            return Ok(Err(Lost::Refused(error.as_str().unwrap_or_default().to_owned())));
        }
        let refused = answer.get("refused").and_then(Json::as_array).into_iter().flatten().filter_map(read_refused);
        let refused: Vec<Refused> = refused.collect();
        let given = answer.get("columns").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut rest = body.as_slice();
        let mut columns = Vec::with_capacity(joint.members.len());
        for (index, member) in joint.members.iter().enumerate() {
            let Some(lengths) = given.get(index) else {
                // The worker stops at the first row that ends the job.
                if refused.is_empty() {
                    return Err(Error::internal("a worker's answer lacks a column"));
                }
                break;
            };
            let result = member.function.call.result.to_arrow();
            columns.push(plain::decode(&mut rest, lengths, rows, &result)?);
        }
        Ok(Ok((columns, refused)))
    }

    /// The calls after one another, each as it would be alone.
    fn one_by_one(&mut self, inputs: &RecordBatch, start: usize, place: &mut Option<Worker>) -> Result<Vec<ArrayRef>> {
        let joint = Arc::clone(&self.joint);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(joint.members.len());
        for member in &joint.members {
            let arguments = self.arguments(member, inputs, &columns)?;
            let (column, refused) = member.function.run(&arguments, place, &mut self.body)?;
            columns.push(column);
            for (row, why) in refused {
                let shown = member.function.arguments(&arguments, row)?;
                member.function.tell(start + row, &shown, &why)?;
            }
        }
        Ok(columns)
    }

    /// The argument columns of a call; `results` holds those of the calls before it.
    fn arguments(&self, member: &Member, inputs: &RecordBatch, results: &[ArrayRef]) -> Result<RecordBatch> {
        let column = |argument: &JoinedArgument| match argument {
            JoinedArgument::Input(index) => inputs.columns().get(*index),
            JoinedArgument::Call(index) => results.get(*index),
        };
        let columns = member.arguments.iter().map(|argument| column(argument).cloned());
        let columns = columns.collect::<Option<Vec<ArrayRef>>>();
        batch_of(columns.ok_or_else(|| Error::internal("a call reads what no call gives"))?, inputs.num_rows())
    }
}

fn read_refused(entry: &Json) -> Option<Refused> {
    let number = |index: usize| entry.get(index)?.as_u64().and_then(|n| usize::try_from(n).ok());
    let text = |index: usize| Some(entry.get(index)?.as_str()?.to_owned());
    Some(Refused { member: number(0)?, row: number(1)?, why: text(2)?, shown: text(3) })
}
