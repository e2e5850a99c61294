//! The formats avro and avro-confluent: records in Avro's binary form, straight into columns and out of them.
//!
//! **avro**: a record is a row of the table's physical columns, written with the schema that Flink derives from them.
//! **avro-confluent**: a byte 0, the four bytes of a schema's id in a registry, then the row. Read by the schema of that id; written by the
//! schema that the table gives, which is registered under the subject when the sink opens.
//!
//! | option | default | |
//! |---|---|---|
//! | avro.encoding | binary | json is refused |
//! | avro.timestamp_mapping.legacy | true | true: TIMESTAMP(0..3) as timestamp-millis; false: as local-timestamp-millis or -micros, and TIMESTAMP_LTZ as timestamp-millis or -micros |
//! | avro-confluent.url | required | the registry; several with `,` |
//! | avro-confluent.subject | `<topic>-value`, `<topic>-key` | what a sink registers its schema under |
//! | avro-confluent.schema | derived | the schema to write with; has the columns as its fields |
//! | avro-confluent.basic-auth.credentials-source | | USER_INFO, URL |
//! | avro-confluent.basic-auth.user-info | | user:password |
//! | avro-confluent.bearer-auth.credentials-source, .token | | STATIC_TOKEN |
//!
//! | file | idea |
//! |---|---|
//! | `schema` | schemas: read, and derived from columns |
//! | `decode` | bytes to columns by a plan made once per schema |
//! | `encode` | columns to bytes by a plan |
//! | `registry` | schemas by id, asked for and kept |
//! | `watch` | a source fetches the schemas of its records before they go on |
//!
//! WHY-NOT apache-avro: it makes a tree of values for every record; here a record is one walk and nothing is allocated.

mod decode;
mod encode;
mod registry;
mod schema;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{RecordBatch, RecordBatchOptions};
use wiesel_core::options::Options;
use wiesel_core::source::{RawBatch, RawRecord};
use wiesel_core::{ChangeBatch, Error, Result};

pub use self::registry::SchemaRegistry;
pub(crate) use self::watch::{Registries, SchemaSource};

use self::decode::Plan;
use self::schema::Schema;
use super::json::encode::typed_columns;
use super::json::object::ObjectColumn;
use super::{Decoded, Decoder, DecoderFactory, Encoder, EncoderFactory, FormatContext};

/// The names of the formats.
pub(super) const NAMES: [&str; 2] = ["avro", "avro-confluent"];

/// Bytes in front of a row of avro-confluent.
const HEADER_BYTES: usize = 5;

/// The schema's id in front of a record of avro-confluent.
fn schema_id(record: &[u8]) -> Option<u32> {
    match record {
        [0, a, b, c, d, ..] => Some(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

/// Makes decoders.
#[derive(Debug)]
pub struct AvroDecoderFactory {
    context: FormatContext,
    schemas: Schemas,
    /// Fields with a default in the schema that the table gives.
    defaults: Arc<[String]>,
}

/// Where the schemas of records come from.
#[derive(Debug, Clone)]
enum Schemas {
    /// They are all of the one that the table gives.
    Own(Arc<str>),
    /// Each record names its own.
    Registry(Arc<SchemaRegistry>),
}

impl AvroDecoderFactory {
    /// Reads the options under `prefix` and checks that Avro can carry the columns.
    pub fn new(name: &str, options: &mut Options<'_>, prefix: &str, context: FormatContext) -> Result<Self> {
        let mut defaults = Vec::new();
        let schemas = if name == "avro" {
            let legacy = read_avro_options(options, prefix)?;
            Schemas::Own(derived(&context, legacy)?)
        } else {
            if let (_, Some(text)) = read_sink_options(options, prefix) {
                let given = Schema::parse(text)
                    .map_err(|e| Error::config(format!("option '{prefix}schema' of table `{}`: {e}", context.table)))?;
                defaults = given.defaults();
            }
            Schemas::Registry(Arc::new(SchemaRegistry::read(options, prefix, &context.table, &context.addresses)?))
        };
        if let Schemas::Own(text) = &schemas {
            plan(text, &context, &[])
                .map_err(|e| Error::config(format!("format 'avro' of table `{}`: {e}", context.table)))?;
        }
        Ok(AvroDecoderFactory { context, schemas, defaults: defaults.into() })
    }
}

/// The options of avro; whether the mapping of timestamps is the legacy one.
fn read_avro_options(options: &mut Options<'_>, prefix: &str) -> Result<bool> {
    let encoding = format!("{prefix}encoding");
    if options.one_of(&encoding, &["binary", "json"])? == Some("json") {
        return Err(options.unsupported(&encoding, "records are in Avro's binary form; for JSON text use 'json'"));
    }
    options.boolean(&format!("{prefix}timestamp_mapping.legacy"), true)
}

/// The options of avro-confluent that only a sink needs; a source knows them, too.
fn read_sink_options<'a>(options: &mut Options<'a>, prefix: &str) -> (Option<&'a str>, Option<&'a str>) {
    let old = options.get(&format!("{prefix}schema-registry.subject"));
    (options.get(&format!("{prefix}subject")).or(old), options.get(&format!("{prefix}schema")))
}

fn derived(context: &FormatContext, legacy: bool) -> Result<Arc<str>> {
    let json = schema::derived(context.record.fields(), legacy)
        .map_err(|e| Error::config(format!("format 'avro' of table `{}`: {e}", context.table)))?;
    Ok(json.to_string().into())
}

fn plan(text: &str, context: &FormatContext, defaults: &[String]) -> std::result::Result<Plan, String> {
    Plan::new(Schema::parse(text)?, context.schema.fields(), defaults)
}

impl DecoderFactory for AvroDecoderFactory {
    fn create(&self) -> Result<Box<dyn Decoder>> {
        let root = ObjectColumn::new(self.context.schema.fields());
        Ok(Box::new(AvroDecoder {
            context: self.context.clone(),
            schemas: self.schemas.clone(),
            defaults: Arc::clone(&self.defaults),
            plans: HashMap::new(),
            root,
        }))
    }

    fn registry(&self) -> Option<Arc<SchemaRegistry>> {
        match &self.schemas {
            Schemas::Own(_) => None,
            Schemas::Registry(registry) => Some(Arc::clone(registry)),
        }
    }
}

/// Decodes one worker's share.
struct AvroDecoder {
    context: FormatContext,
    schemas: Schemas,
    defaults: Arc<[String]>,
    /// The plan of each schema met, or why there is none; bounded by the registry's own bound.
    plans: HashMap<u32, std::result::Result<Arc<Plan>, String>>,
    root: ObjectColumn,
}

impl AvroDecoder {
    fn plan(&mut self, id: u32) -> Result<std::result::Result<Arc<Plan>, String>> {
        if let Some(known) = self.plans.get(&id) {
            return Ok(known.clone());
        }
        let made = match &self.schemas {
            Schemas::Own(text) => plan(text, &self.context, &[]).map(Arc::new),
            // The source has fetched it before it handed the record on.
            Schemas::Registry(registry) => match registry.fetch(id)? {
                registry::Schema::Text(text) => plan(&text, &self.context, &self.defaults)
                    .map(Arc::new)
                    .map_err(|e| format!("schema {id} of {} does not fit the table: {e}", registry.name())),
                registry::Schema::Unusable(reason) => Err(reason.as_ref().to_owned()),
            },
        };
        self.plans.insert(id, made.clone());
        Ok(made)
    }

    /// Reads one record as the next row.
    fn read(&mut self, record: &RawRecord, bytes: &[u8], last: &mut Option<(u32, Arc<Plan>)>) -> Result<()> {
        let (id, start) = match (&self.schemas, schema_id(bytes)) {
            (Schemas::Own(_), _) => (0, 0),
            (Schemas::Registry(_), Some(id)) => (id, HEADER_BYTES),
            (Schemas::Registry(_), None) => {
                return Err(self.failure(
                    record,
                    "it does not begin with a byte 0 and a schema's id, as records of 'avro-confluent' do",
                    None,
                ));
            }
        };
        let plan = match last {
            Some((known, plan)) if *known == id => Arc::clone(plan),
            _ => {
                let plan = self.plan(id)?.map_err(|reason| self.failure(record, &reason, None))?;
                *last = Some((id, Arc::clone(&plan)));
                plan
            }
        };
        match plan.read(bytes, start, &mut self.root) {
            Ok(_) => Ok(()),
            Err(fault) => {
                let path: Vec<String> = fault.path.into_iter().rev().collect();
                let place = if path.is_empty() { String::new() } else { format!("field `{}`: ", path.join(".")) };
                let id = matches!(self.schemas, Schemas::Registry(_)).then_some(id);
                Err(self.failure(record, &format!("{place}{}", fault.reason), id))
            }
        }
    }

    #[cold]
    fn failure(&self, record: &RawRecord, reason: &str, id: Option<u32>) -> Error {
        let by = id.map_or(String::new(), |id| format!(" of schema {id}"));
        Error::data(format!("table `{}` cannot read an Avro record{by}: {reason}", self.context.table))
            .at(format!("record at offset {} of table `{}`", record.offset, self.context.table))
    }
}

impl Decoder for AvroDecoder {
    fn decode(&mut self, batch: &RawBatch, range: Range<usize>) -> Result<Decoded> {
        let records = batch.records.get(range.clone()).unwrap_or_default();
        self.root.truncate(0);
        self.root.reserve(records.len());
        let mut taken: Vec<u32> = Vec::with_capacity(records.len());
        let mut skipped = 0;
        let mut last = None;
        for (index, record) in records.iter().enumerate() {
            if !record.has_value {
                skipped += 1;
                continue;
            }
            let bytes = batch
                .arena
                .get(record.value_start as usize..record.value_end as usize)
                .ok_or_else(|| Error::internal("a record lies outside its arena"))?;
            if let Err(error) = self.read(record, bytes, &mut last) {
                self.root.truncate(0);
                return Err(error);
            }
            let position =
                u32::try_from(range.start + index).map_err(|_| Error::internal("a batch of 2^32 records"))?;
            taken.push(position);
        }
        let rows = self.root.rows();
        let columns = self.root.finish_columns()?;
        let row_count = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows = RecordBatch::try_new_with_options(self.context.schema.arrow().clone(), columns, &row_count)?;
        Ok(Decoded { rows, kinds: None, taken: (skipped > 0).then_some(taken), skipped })
    }
}

/// Makes encoders.
#[derive(Debug)]
pub struct AvroEncoderFactory {
    context: FormatContext,
    schema: Arc<str>,
    /// The registry, the subject, and the id once it is known.
    registered: Option<(SchemaRegistry, String, Mutex<Option<u32>>)>,
}

impl AvroEncoderFactory {
    /// Reads the options under `prefix` and checks that Avro can carry the columns. `format_key` says whose subject it is.
    pub fn new(
        name: &str,
        options: &mut Options<'_>,
        prefix: &str,
        format_key: &str,
        context: FormatContext,
    ) -> Result<Self> {
        let of_table = |e: String| Error::config(format!("format '{name}' of table `{}`: {e}", context.table));
        if name == "avro" {
            let legacy = read_avro_options(options, prefix)?;
            let schema = derived(&context, legacy)?;
            return Ok(AvroEncoderFactory { context, schema, registered: None });
        }
        let registry = SchemaRegistry::read(options, prefix, &context.table, &context.addresses)?;
        let (subject, explicit) = read_sink_options(options, prefix);
        let schema = match explicit {
            Some(text) => {
                let parsed = Schema::parse(text).map_err(of_table)?;
                encode::Plan::new(&parsed, context.schema.fields()).map_err(of_table)?;
                // One form for one schema, however the text has it.
                let json: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
                json.to_string().into()
            }
            None => derived(&context, true)?,
        };
        let part = if format_key == "key.format" { "key" } else { "value" };
        let subject = match (subject, options.get("topic")) {
            (Some(subject), _) => subject.to_owned(),
            (None, Some(topic)) if !topic.contains(';') => format!("{topic}-{part}"),
            _ => {
                return Err(Error::config(format!("table `{}`: option '{prefix}subject' is missing", context.table))
                    .hint("it names what the schema is registered under"));
            }
        };
        Ok(AvroEncoderFactory { context, schema, registered: Some((registry, subject, Mutex::new(None))) })
    }
}

impl EncoderFactory for AvroEncoderFactory {
    fn create(&self) -> Result<Box<dyn Encoder>> {
        let of_table = |e: String| Error::config(format!("an Avro format of table `{}`: {e}", self.context.table));
        let plan = encode::Plan::new(&Schema::parse(&self.schema).map_err(of_table)?, self.context.schema.fields())
            .map_err(of_table)?;
        let mut header = Vec::new();
        if let Some((registry, subject, id)) = &self.registered {
            let mut id = id.lock().unwrap_or_else(PoisonError::into_inner);
            let id = match *id {
                Some(id) => id,
                None => *id.insert(registry.register(subject, &self.schema)?),
            };
            header.push(0);
            header.extend_from_slice(&id.to_be_bytes());
        }
        Ok(Box::new(AvroEncoder { context: self.context.clone(), plan, header }))
    }
}

/// Encodes one worker's share.
struct AvroEncoder {
    context: FormatContext,
    plan: encode::Plan,
    header: Vec<u8>,
}

impl Encoder for AvroEncoder {
    fn encode(&mut self, batch: &ChangeBatch, bytes: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let columns = typed_columns(&self.context, batch)?;
        ends.reserve(batch.len());
        for row in 0..batch.len() {
            bytes.extend_from_slice(&self.header);
            self.plan.write(&columns, row, bytes).map_err(|e| e.at(format!("sink table `{}`", self.context.table)))?;
            ends.push(bytes.len());
        }
        Ok(())
    }
}
