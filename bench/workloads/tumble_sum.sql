-- One-minute windows, a sum for each of 10 000 clients; every window fires once, when the watermark passes its end.
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
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    client STRING,
    total BIGINT,
    PRIMARY KEY (window_start, window_end, client) NOT ENFORCED
) WITH ('connector' = 'blackhole');

INSERT INTO nowhere
SELECT window_start, window_end, client, SUM(amount)
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, client;
