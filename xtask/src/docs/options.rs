//! WITH options and SET keys: the line of SQL that asks the program about each.

/// The table that a connector's or format's option is tried on: `(connector or format, other options)`.
const BASES: &[(&str, &str)] = &[
    ("(any table)", "'connector'='kafka','topic'='t','properties.bootstrap.servers'='k:9092','format'='json'"),
    ("blackhole", "'connector'='blackhole'"),
    ("datagen", "'connector'='datagen'"),
    ("elasticsearch-6", "'connector'='elasticsearch-6','hosts'='http://e:9200','index'='i','document-type'='d'"),
    ("elasticsearch-7", "'connector'='elasticsearch-7','hosts'='http://e:9200','index'='i'"),
    ("elasticsearch-8", "'connector'='elasticsearch-8','hosts'='http://e:9200','index'='i'"),
    ("opensearch", "'connector'='opensearch','hosts'='http://e:9200','index'='i'"),
    ("opensearch-2", "'connector'='opensearch-2','hosts'='http://e:9200','index'='i'"),
    ("filesystem", "'connector'='filesystem','path'='p','format'='json'"),
    ("format:avro", "'connector'='kafka','topic'='t','properties.bootstrap.servers'='k:9092','format'='avro'"),
    (
        "format:avro-confluent",
        "'connector'='kafka','topic'='t','properties.bootstrap.servers'='k:9092','format'='avro-confluent',\
         'avro-confluent.url'='http://u:p@r:8081','avro-confluent.bearer-auth.token'='t'",
    ),
    ("format:csv", "'connector'='filesystem','path'='p','format'='csv'"),
    ("format:json", "'connector'='filesystem','path'='p','format'='json'"),
    ("format:parquet", "'connector'='filesystem','path'='p','format'='parquet'"),
    ("jdbc", "'connector'='jdbc','url'='jdbc:postgresql://p:5432/d','table-name'='t'"),
    ("kafka", "'connector'='kafka','topic'='t','properties.bootstrap.servers'='k:9092','format'='json'"),
    ("print", "'connector'='print'"),
    (
        "upsert-kafka",
        "'connector'='upsert-kafka','topic'='t','properties.bootstrap.servers'='k:9092','key.format'='json','value.format'='json'",
    ),
];

/// A statement that gives a table the option, and no other thing to complain about; its metadata column for `METADATA x` rows.
pub(super) fn option_statement(connector: &str, option: &str, sample: &str) -> String {
    let format = connector.strip_prefix("format:");
    let other = format!("'connector'='filesystem','path'='p','format'='{}'", format.unwrap_or_default());
    let base = match BASES.iter().find(|(name, _)| *name == connector) {
        Some((_, base)) => (*base).to_owned(),
        None if format.is_some() => other,
        None => format!("'connector'='{connector}'"),
    };
    if let Some(key) = option.strip_prefix("METADATA ") {
        // Metadata of formats is asked for through Kafka.
        let (format, key) = match (format, key) {
            (Some(format), key) => (Some(format), format!("value.{key}")),
            (None, "value.*") => (Some("debezium-json"), "value.source.timestamp".to_owned()),
            (None, key) => (None, key.to_owned()),
        };
        let base = match format {
            Some(format) => {
                format!("'connector'='kafka','topic'='t','properties.bootstrap.servers'='k:9092','format'='{format}'")
            }
            None => base,
        };
        return format!("CREATE TABLE t (a INT, m STRING METADATA FROM '{key}' VIRTUAL) WITH ({base});");
    }
    let key = match format {
        Some(format) if !option.starts_with(format) => format!("{format}.{option}"),
        _ => option.to_owned(),
    };
    // Of all that a client can be told, one that it knows.
    let key = match option {
        "properties.*" => "properties.client.id".to_owned(),
        "fields.#.element.*" => "fields.a.element.min".to_owned(),
        "fields.#.key.*" => "fields.a.key.length".to_owned(),
        "fields.#.value.*" => "fields.a.value.min".to_owned(),
        "fields.#.<nested>.*" => "fields.a.x.min".to_owned(),
        _ => key,
    };
    let key = key.replace('*', "x").replace('#', "a");
    // A key that only means something for a column of some type, or beside others.
    let (column_type, base) = match option {
        "fields.#.length" | "fields.#.var-len" => ("STRING", base),
        "fields.#.max-past" => ("TIMESTAMP(3)", base),
        "fields.#.element.*" => ("ARRAY<INT>", base),
        "fields.#.key.*" | "fields.#.value.*" => ("MAP<STRING, INT>", base),
        "fields.#.<nested>.*" => ("ROW<x INT>", base),
        "fields.#.start" => ("INT", format!("{base},'fields.a.kind'='sequence','fields.a.end'='9'")),
        "fields.#.end" => ("INT", format!("{base},'fields.a.kind'='sequence','fields.a.start'='0'")),
        _ if connector == "format:raw" => ("STRING", base),
        _ => ("INT", base),
    };
    let with = if base.contains(&format!("'{key}'=")) { base } else { format!("{base},'{key}'='{sample}'") };
    // Some sinks ask for a key; a topic of rows may have none, and its error would hide what is said of the option.
    let primary_key = if with.contains("'connector'='kafka'") { "" } else { ", PRIMARY KEY (a) NOT ENFORCED" };
    format!("CREATE TABLE t (a {column_type}{primary_key}) WITH ({with});")
}

/// How an option stands in a test or an example.
pub(super) fn option_pattern(connector: &str, option: &str) -> String {
    if let Some(key) = option.strip_prefix("METADATA ") {
        return match connector.strip_prefix("format:") {
            // In one statement with the format.
            Some(format) => format!("METADATA FROM 'value\\.{}'[^;]*'{format}'", regex::escape(key)),
            None => format!("METADATA FROM '{}'", regex::escape(key).replace(r"\*", "[^']+")),
        };
    }
    let (sides, key) = match connector.strip_prefix("format:") {
        Some(format) if !option.starts_with(format) => ("", format!("{format}.{option}")),
        // A format of keys or of values alone has its options behind that word.
        Some(_) => (r"(?:key\.|value\.)?", option.to_owned()),
        None => ("", option.to_owned()),
    };
    let key = regex::escape(&key).replace(r"\*", "[^']+").replace(r"\#", "[^']+").replace("<nested>", r"\w+");
    format!("'{sides}{key}'")
}
