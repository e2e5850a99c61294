//! Avro schemas: read from their JSON, and derived from the columns of a table as Flink derives them.
//!
//! Named types (records, enums, fixed) are kept once, and everything that means one holds its number, so a record may contain itself.

use std::collections::HashMap;

use serde_json::{Map as JsonMap, Value as Json, json};
use wiesel_core::types::{DataType, Field, TypeKind};

/// How deep schemas, and values that no column takes, may nest.
pub(super) const DEPTH_MAX: usize = 64;
/// The largest schema that is read, in bytes.
pub(super) const SCHEMA_BYTES_MAX: usize = 4 << 20;

/// A schema with the named types that it uses.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) root: Type,
    pub(super) names: Vec<Named>,
}

/// A type of Avro.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Boolean,
    Int(Option<Logical>),
    Long(Option<Logical>),
    Float,
    Double,
    Bytes(Option<Logical>),
    String,
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    /// A named type, by its place in [`Schema::names`].
    Named(usize),
}

/// What a value means beyond its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logical {
    Decimal {
        scale: u8,
    },
    Date,
    /// Time of day in units of so many nanoseconds.
    Time(i64),
    /// Time since 1970 in units of so many nanoseconds, with or without a zone.
    Timestamp(i64),
}

/// A type with a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    Record {
        name: String,
        fields: Vec<RecordField>,
    },
    Enum {
        symbols: Vec<String>,
    },
    Fixed {
        size: usize,
        logical: Option<Logical>,
    },
    /// Only while it is read.
    Open,
}

/// A field of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RecordField {
    pub(super) name: String,
    pub(super) data_type: Type,
    /// Whether it has a default other than null.
    pub(super) has_default: bool,
}

impl Schema {
    /// Reads a schema; an error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Schema, String> {
        if text.len() > SCHEMA_BYTES_MAX {
            return Err(format!("the schema has {} bytes, more than {SCHEMA_BYTES_MAX}", text.len()));
        }
        // A schema that is one word may stand without quotes.
        let json: Json = serde_json::from_str(text)
            .or_else(|error| match text.trim() {
                word if word.bytes().all(|b| b.is_ascii_lowercase()) => Ok(Json::String(word.to_owned())),
                _ => Err(error),
            })
            .map_err(|e| format!("the schema is no JSON: {e}"))?;
        let mut parser = Parser { names: Vec::new(), by_name: HashMap::new() };
        let root = parser.data_type(&json, "", 0)?;
        Ok(Schema { root, names: parser.names })
    }

    /// The fields of its record that have a default other than null.
    pub(super) fn defaults(&self) -> Vec<String> {
        let Type::Named(index) = &self.root else { return Vec::new() };
        match self.names.get(*index) {
            Some(Named::Record { fields, .. }) => {
                fields.iter().filter(|f| f.has_default).map(|f| f.name.clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The words for a type, for messages.
    pub(super) fn describe(&self, data_type: &Type) -> String {
        match data_type {
            Type::Null => "null".to_owned(),
            Type::Boolean => "boolean".to_owned(),
            Type::Int(_) => "int".to_owned(),
            Type::Long(_) => "long".to_owned(),
            Type::Float => "float".to_owned(),
            Type::Double => "double".to_owned(),
            Type::Bytes(_) => "bytes".to_owned(),
            Type::String => "string".to_owned(),
            Type::Array(_) => "array".to_owned(),
            Type::Map(_) => "map".to_owned(),
            Type::Union(branches) => {
                let branches: Vec<String> = branches.iter().map(|b| self.describe(b)).collect();
                format!("union of {}", branches.join(", "))
            }
            Type::Named(index) => match self.names.get(*index) {
                Some(Named::Record { name, .. }) => format!("record {name}"),
                Some(Named::Enum { .. }) => "enum".to_owned(),
                _ => "fixed".to_owned(),
            },
        }
    }
}

struct Parser {
    names: Vec<Named>,
    by_name: HashMap<String, usize>,
}

impl Parser {
    fn data_type(&mut self, json: &Json, namespace: &str, depth: usize) -> Result<Type, String> {
        if depth > DEPTH_MAX {
            return Err(format!("the schema nests deeper than {DEPTH_MAX}"));
        }
        match json {
            Json::String(name) => self.by_word(name, namespace, None),
            Json::Array(branches) => {
                let branches: Result<Vec<Type>, String> =
                    branches.iter().map(|b| self.data_type(b, namespace, depth + 1)).collect();
                Ok(Type::Union(branches?))
            }
            Json::Object(object) => self.object(object, namespace, depth),
            other => Err(format!("`{other}` is no Avro type")),
        }
    }

    fn by_word(&self, word: &str, namespace: &str, object: Option<&JsonMap<String, Json>>) -> Result<Type, String> {
        let logical = || object.and_then(logical);
        Ok(match word {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "int" => Type::Int(logical()),
            "long" => Type::Long(logical()),
            "float" => Type::Float,
            "double" => Type::Double,
            "bytes" => Type::Bytes(logical()),
            "string" => Type::String,
            name => {
                let known = self.by_name.get(&full_name(name, namespace)).or_else(|| self.by_name.get(name));
                Type::Named(*known.ok_or_else(|| format!("the schema names an unknown type `{name}`"))?)
            }
        })
    }

    fn object(&mut self, object: &JsonMap<String, Json>, namespace: &str, depth: usize) -> Result<Type, String> {
        let part = |key: &str| object.get(key).ok_or_else(|| format!("an Avro type lacks `{key}`"));
        let word = match part("type")? {
            Json::String(word) => word.as_str(),
            inner => return self.data_type(inner, namespace, depth + 1),
        };
        match word {
            "array" => Ok(Type::Array(Box::new(self.data_type(part("items")?, namespace, depth + 1)?))),
            "map" => Ok(Type::Map(Box::new(self.data_type(part("values")?, namespace, depth + 1)?))),
            "record" | "error" | "enum" | "fixed" => {
                let name = part("name")?.as_str().ok_or("the name of an Avro type is no text")?;
                let namespace = match name.rsplit_once('.') {
                    Some((namespace, _)) => namespace,
                    None => object.get("namespace").and_then(Json::as_str).unwrap_or(namespace),
                };
                let index = self.names.len();
                self.names.push(Named::Open);
                if self.by_name.insert(full_name(name, namespace), index).is_some() {
                    return Err(format!("the schema defines `{name}` twice"));
                }
                let named = self.named(word, name, object, namespace, depth)?;
                if let Some(place) = self.names.get_mut(index) {
                    *place = named;
                }
                Ok(Type::Named(index))
            }
            word => self.by_word(word, namespace, Some(object)),
        }
    }

    fn named(
        &mut self,
        word: &str,
        name: &str,
        object: &JsonMap<String, Json>,
        namespace: &str,
        depth: usize,
    ) -> Result<Named, String> {
        let wrong = |what: &str| format!("the {word} `{name}` has no {what}");
        match word {
            "enum" => {
                let symbols = object.get("symbols").and_then(Json::as_array).ok_or_else(|| wrong("symbols"))?;
                let symbols: Option<Vec<String>> = symbols.iter().map(|s| s.as_str().map(str::to_owned)).collect();
                Ok(Named::Enum { symbols: symbols.ok_or_else(|| wrong("symbols"))? })
            }
            "fixed" => {
                let size = object.get("size").and_then(Json::as_u64).and_then(|s| u32::try_from(s).ok());
                let size = size.ok_or_else(|| wrong("size"))? as usize;
                Ok(Named::Fixed { size, logical: logical(object) })
            }
            _ => {
                let fields = object.get("fields").and_then(Json::as_array).ok_or_else(|| wrong("fields"))?;
                let fields = fields.iter().map(|field| {
                    let field_name =
                        field.get("name").and_then(Json::as_str).ok_or_else(|| wrong("names of fields"))?;
                    let data_type = field.get("type").ok_or_else(|| wrong("types of fields"))?;
                    Ok(RecordField {
                        name: field_name.to_owned(),
                        data_type: self.data_type(data_type, namespace, depth + 1)?,
                        has_default: field.get("default").is_some_and(|d| !d.is_null()),
                    })
                });
                Ok(Named::Record { name: name.to_owned(), fields: fields.collect::<Result<_, String>>()? })
            }
        }
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

/// Logical types; one that is unknown, or wrong, counts as none, as Avro demands.
fn logical(object: &JsonMap<String, Json>) -> Option<Logical> {
    Some(match object.get("logicalType")?.as_str()? {
        "decimal" => {
            let scale = object.get("scale").map_or(Some(0), Json::as_u64)?;
            Logical::Decimal { scale: u8::try_from(scale).ok().filter(|s| *s <= 38)? }
        }
        "date" => Logical::Date,
        "time-millis" => Logical::Time(1_000_000),
        "time-micros" => Logical::Time(1_000),
        "timestamp-millis" | "local-timestamp-millis" => Logical::Timestamp(1_000_000),
        "timestamp-micros" | "local-timestamp-micros" => Logical::Timestamp(1_000),
        "timestamp-nanos" | "local-timestamp-nanos" => Logical::Timestamp(1),
        _ => return None,
    })
}

/// The schema that Flink derives from columns; an error says which type has none. `legacy` is `timestamp_mapping.legacy`.
pub(super) fn derived(fields: &[Field], legacy: bool) -> Result<Json, String> {
    let mut json = record(fields, "record", legacy)?;
    if let Some(object) = json.as_object_mut() {
        let own = std::mem::take(object);
        for (key, value) in own {
            let is_name = key == "name";
            object.insert(key, value);
            if is_name {
                object.insert("namespace".to_owned(), json!("org.apache.flink.avro.generated"));
            }
        }
    }
    Ok(json)
}

fn record(fields: &[Field], name: &str, legacy: bool) -> Result<Json, String> {
    let fields = fields.iter().map(|field| {
        if !is_name(&field.name) {
            return Err(format!("Avro has no field of the name `{}`: letters, digits and `_` only", field.name));
        }
        let data_type = derived_type(&field.data_type, &format!("{name}_{}", field.name), legacy)
            .map_err(|e| format!("column `{}`: {e}", field.name))?;
        Ok(if field.data_type.nullable {
            json!({"name": field.name, "type": data_type, "default": null})
        } else {
            json!({"name": field.name, "type": data_type})
        })
    });
    let fields = fields.collect::<Result<Vec<Json>, String>>()?;
    Ok(json!({"type": "record", "name": name, "fields": fields}))
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn derived_type(data_type: &DataType, name: &str, legacy: bool) -> Result<Json, String> {
    let logical = |of: &str, logical: &str| json!({"type": of, "logicalType": logical});
    let none = || Err(format!("Avro has no form for {}", data_type.kind));
    let plain = match &data_type.kind {
        TypeKind::Null => return Ok(json!("null")),
        TypeKind::Boolean => json!("boolean"),
        TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int => json!("int"),
        TypeKind::BigInt => json!("long"),
        TypeKind::Float => json!("float"),
        TypeKind::Double => json!("double"),
        TypeKind::Char(_) | TypeKind::VarChar(_) => json!("string"),
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => json!("bytes"),
        TypeKind::Date => logical("int", "date"),
        TypeKind::Time(0..=3) => logical("int", "time-millis"),
        TypeKind::Timestamp(0..=3) if legacy => logical("long", "timestamp-millis"),
        TypeKind::Timestamp(0..=3) => logical("long", "local-timestamp-millis"),
        TypeKind::Timestamp(4..=6) if !legacy => logical("long", "local-timestamp-micros"),
        TypeKind::TimestampLtz(0..=3) if !legacy => logical("long", "timestamp-millis"),
        TypeKind::TimestampLtz(4..=6) if !legacy => logical("long", "timestamp-micros"),
        TypeKind::Timestamp(_) if legacy => {
            return Err("Avro's timestamps have milliseconds; declare TIMESTAMP(3), or set 'timestamp_mapping.legacy' = 'false'".to_owned());
        }
        TypeKind::TimestampLtz(_) if legacy => {
            return Err("TIMESTAMP_LTZ needs 'timestamp_mapping.legacy' = 'false', as in Flink".to_owned());
        }
        TypeKind::Decimal { precision, scale } => {
            json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
        }
        TypeKind::Row(fields) => record(fields, name, legacy)?,
        TypeKind::Array(element) => json!({"type": "array", "items": derived_type(element, name, legacy)?}),
        TypeKind::Map(key, _) if !key.kind.is_string() => {
            return Err(format!("the keys of Avro's maps are texts, not {}", key.kind));
        }
        TypeKind::Multiset(element) if !element.kind.is_string() => return none(),
        TypeKind::Map(_, value) => json!({"type": "map", "values": derived_type(value, name, legacy)?}),
        TypeKind::Multiset(_) => json!({"type": "map", "values": "int"}),
        _ => return none(),
    };
    Ok(if data_type.nullable { json!(["null", plain]) } else { plain })
}
