-- The second step: nested fields become columns.
SET 'execution.checkpointing.interval' = '${checkpoint_interval}';

CREATE TEMPORARY TABLE extracted (
    `timestamp` STRING,
    serviceName STRING,
    severityText STRING,
    attributes MAP<STRING, STRING>,
    resources MAP<STRING, STRING>,
    body STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${input}',
    'format' = 'json'
);

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
    'path' = '${output}',
    'format' = 'json',
    'sink.rolling-policy.file-size' = '${rolling_file_size}',
    'sink.rolling-policy.rollover-interval' = '${rollover_interval}',
    'sink.rolling-policy.check-interval' = '${rolling_check_interval}'
);

INSERT INTO transformed
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
FROM extracted;
