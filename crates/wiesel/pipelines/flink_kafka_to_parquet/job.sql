-- Logs from Kafka into Parquet, a copy of every row on the console.
SET 'execution.checkpointing.interval' = '${checkpoint_interval}';

CREATE TEMPORARY TABLE kafka_logs (
    `timestamp` STRING,
    serviceName STRING,
    severityText STRING,
    attributes MAP<STRING, STRING>,
    resources MAP<STRING, STRING>,
    body STRING
) WITH (
    'connector' = 'kafka',
    'topic' = '${topic}',
    'properties.bootstrap.servers' = '${bootstrap_servers}',
    'properties.security.protocol' = '${security_protocol}',
    'properties.group.id' = '${group_id}',
    'scan.startup.mode' = '${scan_startup_mode}',
    'format' = 'json',
    'json.ignore-parse-errors' = 'true'
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
FROM kafka_logs;

CREATE TEMPORARY TABLE console (
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
    'path' = '${sink_path}',
    'format' = 'parquet',
    'sink.rolling-policy.file-size' = '${rolling_file_size}',
    'sink.rolling-policy.rollover-interval' = '${rollover_interval}',
    'sink.rolling-policy.check-interval' = '${rolling_check_interval}'
);

EXECUTE STATEMENT SET
BEGIN
INSERT INTO console SELECT `timestamp`, serviceName, severityText, CAST(attributes AS STRING) FROM kafka_logs;
INSERT INTO parquet_sink SELECT * FROM logs_enriched;
END;
