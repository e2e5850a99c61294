-- Fetch and decode alone: every declared field of every message, nowhere.
SET 'parallelism.default' = '2';
SET 'pipeline.object-reuse' = 'true';

CREATE TABLE events (
    org STRING,
    `date` STRING,
    url STRING,
    client STRING,
    amount BIGINT,
    ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH (
    'connector' = 'kafka',
    'topic' = 'bench_events',
    'properties.bootstrap.servers' = 'kafka:9092',
    'scan.startup.mode' = 'earliest-offset',
    'scan.bounded.mode' = 'latest-offset',
    'format' = 'json'
);

CREATE TABLE nowhere (
    org STRING,
    `date` STRING,
    url STRING,
    client STRING,
    amount BIGINT,
    ts TIMESTAMP(3)
) WITH ('connector' = 'blackhole');

INSERT INTO nowhere SELECT org, `date`, url, client, amount, ts FROM events;
