//! GEOIP(ip, 'file.mmdb'): where an address is, from a file in MaxMind's format.
//!
//! A cluster of Flink needs a user function for this. The file is a literal, so it is opened once, while the plan is made: a file that is
//! missing or broken is an error at the call and never a surprise of the first row. All calls of a process share the opened file, which is
//! read into memory whole (mapping it would need unsafe code, and a file that is replaced under a mapping kills the process).
//!
//! A row costs one walk down the file's tree. The entry at its end is decoded once per place and kept, because logs name few places and
//! many addresses. What has no place has NULL in every field: NULL, text that is no address, addresses of private networks, and addresses
//! the file does not know.

mod database;
mod list;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_array::builder::Float64Builder;
use arrow_array::{ArrayRef, StructArray};
use arrow_schema::DataType as ArrowType;
use wiesel_core::{DataType, Error, Field, Result, TypeKind, Value};

pub use self::database::look_beside;
use self::database::{Database, Places, opened};
pub use self::list::from_csv;
use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, takes};
use crate::function::{Argument, FunctionError, Operand, PreparedCall, ScalarFunction, Signature};
use crate::operand::TextBuilder;

/// GEOIP.
#[derive(Debug)]
pub(crate) struct Geoip;

const USAGE: &str = "GEOIP takes (ip STRING, file), the file as a literal: GEOIP(ip, 'GeoLite2-City.mmdb')";

impl ScalarFunction for Geoip {
    fn name(&self) -> &'static str {
        "GEOIP"
    }

    fn doc(&self) -> &'static str {
        "GEOIP(ip, 'file.mmdb'): where an address is, from a file in MaxMind's format, as ROW<country, country_code, city, region, latitude, longitude>; each field is NULL for private, unknown and malformed addresses. `SELECT ip, GEOIP(ip, 'GeoLite2-City.mmdb').city FROM clicks`, or once for several fields: `SELECT g.country, g.city FROM (SELECT GEOIP(ip, 'GeoLite2-City.mmdb') AS g FROM clicks)`"
    }

    fn bind(&self, args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
        let types = accept(args, &[Param::Text; 2], 2, USAGE)?;
        if file(args).is_none() {
            return Err(takes(USAGE));
        }
        let text = |name: &str| Field::new(name, DataType::string());
        let number = |name: &str| Field::new(name, DataType::new(TypeKind::Double));
        let fields = vec![
            text("country"),
            text("country_code"),
            text("city"),
            text("region"),
            number("latitude"),
            number("longitude"),
        ];
        Ok(Signature { args: types, returns: DataType::not_null(TypeKind::Row(fields)) })
    }

    fn open(&self, args: &[Argument<'_>]) -> Result<()> {
        file(args).map_or(Ok(()), |path| opened(path).map(|_| ()))
    }

    fn eval(&self, args: &[Operand], call: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef> {
        GeoipCall::default().eval(args, call, rows, context)
    }

    fn prepare(&self) -> Option<Box<dyn PreparedCall>> {
        Some(Box::<GeoipCall>::default())
    }
}

fn file<'a>(args: &[Argument<'a>]) -> Option<&'a str> {
    match args.get(1)?.literal? {
        Value::String(path) => Some(path),
        _ => None,
    }
}

/// One call: the opened file, and the places that were found in it.
#[derive(Debug, Default)]
struct GeoipCall {
    database: Option<Arc<Database>>,
    places: Places,
}

impl PreparedCall for GeoipCall {
    fn eval(&mut self, args: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let database = match &self.database {
            Some(database) => Arc::clone(database),
            None => {
                let Some(Value::String(path)) = args[1].constant() else {
                    return Err(Error::internal("the file of GEOIP is no literal"));
                };
                Arc::clone(self.database.insert(opened(path)?))
            }
        };
        let addresses = args[0].strings();
        let mut texts: [TextBuilder; 4] = std::array::from_fn(|_| TextBuilder::new(rows, rows * 8));
        let mut numbers: [Float64Builder; 2] = std::array::from_fn(|_| Float64Builder::with_capacity(rows));
        for row in 0..rows {
            let place = match addresses.get(row) {
                Some(address) => self.places.find(&database, address)?,
                None => None,
            };
            for (index, builder) in texts.iter_mut().enumerate() {
                builder.option(place.and_then(|p| p.texts[index].as_deref()));
            }
            for (index, builder) in numbers.iter_mut().enumerate() {
                builder.append_option(place.and_then(|p| p.position[index]));
            }
        }
        let ArrowType::Struct(fields) = call.returns.to_arrow() else {
            return Err(Error::internal("the result of GEOIP is no ROW"));
        };
        let mut columns = texts.into_iter().map(TextBuilder::finish).collect::<Result<Vec<_>>>()?;
        columns.extend(numbers.into_iter().map(|mut builder| Arc::new(builder.finish()) as ArrayRef));
        Ok(Arc::new(StructArray::try_new(fields, columns, None)?))
    }
}
