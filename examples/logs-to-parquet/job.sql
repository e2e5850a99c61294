-- Application logs from a SASL_SSL Kafka into Parquet, a copy of every row on the console.
SET 'execution.checkpointing.interval' = '10 s';
SET 'execution.checkpointing.mode' = 'EXACTLY_ONCE';
SET 'execution.checkpointing.timeout' = '10min';
SET 'execution.checkpointing.max-concurrent-checkpoints' = '1';
SET 'execution.checkpointing.min-pause' = '500 ms';

CREATE TEMPORARY TABLE `last9Topic` (
    `timestamp` STRING,
    serviceName STRING,
    severityText STRING,
    attributes MAP<STRING, STRING>,
    resources MAP<STRING, STRING>,
    body STRING
) WITH (
    'connector' = 'kafka',
    'topic' = 'last9Topic',
    'properties.bootstrap.servers' = 'broker:9092',
    'properties.group.id' = 'flink-kafka-to-parquet',
    'properties.security.protocol' = 'SASL_SSL',
    'properties.sasl.mechanism' = 'PLAIN',
    'properties.sasl.jaas.config' = 'org.apache.flink.kafka.shaded.org.apache.kafka.common.security.plain.PlainLoginModule required username="reader" password="reader-secret";',
    -- Names of the Java client: those that mean something to every client are translated, the others are taken.
    'properties.auto.offset.reset' = 'earliest',
    'properties.enable.auto.commit' = 'false',
    'properties.max.poll.records' = '500',
    'properties.session.timeout.ms' = '45000',
    'properties.heartbeat.interval.ms' = '3000',
    'scan.startup.mode' = 'earliest-offset',
    'format' = 'json',
    'json.ignore-parse-errors' = 'true',
    'json.timestamp-format.standard' = 'ISO-8601'
);

CREATE TEMPORARY VIEW logs_enriched AS
SELECT
    `timestamp`,
    serviceName,
    severityText,
    attributes['msg'] AS msg,
    attributes['url'] AS url,
    COALESCE(CAST(JSON_VALUE(body, '$.data.mobile') AS STRING), attributes['mobile']) AS mobile,
    attributes,
    resources,
    body
FROM `last9Topic`;

CREATE TEMPORARY VIEW kafka_debug_view AS
SELECT `timestamp`, serviceName, severityText, CAST(attributes AS STRING) AS attributes
FROM `last9Topic`;

CREATE TEMPORARY TABLE debug_print (
    `timestamp` STRING,
    serviceName STRING,
    severityText STRING,
    attributes STRING
) WITH (
    'connector' = 'print',
    'print-identifier' = 'KafkaData>'
);

CREATE TEMPORARY TABLE parquet_sink (
    `timestamp` STRING,
    serviceName STRING,
    severityText STRING,
    msg STRING,
    url STRING,
    mobile STRING,
    attributes MAP<STRING, STRING>,
    resources MAP<STRING, STRING>,
    body STRING
) WITH (
    'connector' = 'filesystem',
    'path' = 'file:///tmp/last9_parquet',
    'format' = 'parquet',
    'sink.rolling-policy.file-size' = '128MB',
    'sink.rolling-policy.rollover-interval' = '5min',
    'sink.rolling-policy.check-interval' = '1min',
    'auto-compaction' = 'true',
    'compaction.file-size' = '256MB',
    'sink.partition-commit.delay' = '1min',
    'sink.partition-commit.policy.kind' = 'success-file',
    'parquet.compression' = 'SNAPPY',
    'parquet.block.size' = '134217728',
    'parquet.page.size' = '1048576'
);

EXECUTE STATEMENT SET
BEGIN
INSERT INTO debug_print SELECT * FROM kafka_debug_view;
INSERT INTO parquet_sink SELECT * FROM logs_enriched;
END;
