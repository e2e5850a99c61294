-- A running count over 200 000 groups: every message changes one.
SET 'parallelism.default' = '2';
SET 'pipeline.object-reuse' = 'true';

CREATE TABLE events (
    org STRING,
    `date` STRING,
    url STRING,
    client STRING,
    amount BIGINT,
    ts TIMESTAMP(3)
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
    view_count BIGINT NOT NULL,
    PRIMARY KEY (org, `date`, url) NOT ENFORCED
) WITH ('connector' = 'blackhole');

INSERT INTO nowhere SELECT org, `date`, url, COUNT(*) FROM events GROUP BY org, `date`, url;
