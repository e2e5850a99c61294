-- The third step: columns become Parquet.
SET 'execution.checkpointing.interval' = '${checkpoint_interval}';

CREATE TEMPORARY TABLE transformed (
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
    'path' = '${input}',
    'format' = 'json'
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

INSERT INTO parquet_sink SELECT * FROM transformed;
