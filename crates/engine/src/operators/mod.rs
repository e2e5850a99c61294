//! Stand-in until the operators are there: Calc and UnionAll only.
use arrow_array::RecordBatch;
use arrow_select::filter::filter_record_batch;
use wiesel_core::{ChangeBatch, Error, Result, Schema};
use wiesel_expr::{EvalContext, Evaluator};
use wiesel_plan::{Node, NodeKind};

use crate::operator::{Operator, OperatorContext, Output, StateWriter};

struct Calc {
    filter: Option<Evaluator>,
    project: Vec<Evaluator>,
    schema: Schema,
}

impl Operator for Calc {
    fn process(&mut self, _port: usize, batch: ChangeBatch, context: &EvalContext, output: &mut Output) -> Result<()> {
        let mut rows = batch.rows;
        if let Some(filter) = &mut self.filter {
            let keep = filter.evaluate_filter(&rows, context)?;
            rows = filter_record_batch(&rows, &keep)?;
        }
        let columns = self.project.iter_mut().map(|e| e.evaluate(&rows, context)).collect::<Result<Vec<_>>>()?;
        output.emit(ChangeBatch::inserts(RecordBatch::try_new(self.schema.arrow().clone(), columns)?));
        Ok(())
    }
    fn advance(&mut self, watermark: i64, _context: &EvalContext, _output: &mut Output) -> Result<i64> {
        Ok(watermark)
    }
    fn snapshot(&mut self, _full: bool, _writer: &mut dyn StateWriter) -> Result<()> {
        Ok(())
    }
    fn restore(&mut self, _table: u8, _vnode: u8, _key: &[u8], _value: &[u8]) -> Result<()> {
        Ok(())
    }
    fn restored(&mut self, _watermark: i64) -> Result<()> {
        Ok(())
    }
    fn state_bytes(&self) -> usize {
        0
    }
}

struct Union;
impl Operator for Union {
    fn process(&mut self, _port: usize, batch: ChangeBatch, _context: &EvalContext, output: &mut Output) -> Result<()> {
        output.emit(batch);
        Ok(())
    }
    fn advance(&mut self, watermark: i64, _context: &EvalContext, _output: &mut Output) -> Result<i64> {
        Ok(watermark)
    }
    fn snapshot(&mut self, _full: bool, _writer: &mut dyn StateWriter) -> Result<()> {
        Ok(())
    }
    fn restore(&mut self, _table: u8, _vnode: u8, _key: &[u8], _value: &[u8]) -> Result<()> {
        Ok(())
    }
    fn restored(&mut self, _watermark: i64) -> Result<()> {
        Ok(())
    }
    fn state_bytes(&self) -> usize {
        0
    }
}

/// Stand-in.
pub fn build(node: &Node, _inputs: &[&Schema], _context: &OperatorContext) -> Result<Box<dyn Operator>> {
    match &node.kind {
        NodeKind::Calc(calc) => Ok(Box::new(Calc {
            filter: calc.filter.clone().map(Evaluator::new),
            project: calc.project.iter().cloned().map(Evaluator::new).collect(),
            schema: node.schema.clone(),
        })),
        NodeKind::UnionAll => Ok(Box::new(Union)),
        _ => Err(Error::internal("not there yet")),
    }
}
