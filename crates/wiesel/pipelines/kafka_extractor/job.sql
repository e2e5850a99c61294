-- The first step: a topic becomes files, exactly once.
SET 'execution.checkpointing.interval' = '${checkpoint_interval}';

CREATE TEMPORARY TABLE raw_events (
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

CREATE TEMPORARY TABLE extracted (
    `timestamp` STRING,
    serviceName STRING,
    severityText STRING,
    attributes MAP<STRING, STRING>,
    resources MAP<STRING, STRING>,
    body STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${output}',
    'format' = 'json',
    'sink.rolling-policy.file-size' = '${rolling_file_size}',
    'sink.rolling-policy.rollover-interval' = '${rollover_interval}',
    'sink.rolling-policy.check-interval' = '${rolling_check_interval}'
);

INSERT INTO extracted SELECT * FROM raw_events;
