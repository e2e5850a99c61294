-- What a user waits for: the first rows of a small topic on the terminal.
SET 'sql-client.execution.result-mode' = 'tableau';

CREATE TABLE events (
    org STRING,
    url STRING,
    client STRING,
    amount BIGINT
) WITH (
    'connector' = 'kafka',
    'topic' = 'bench_first_row',
    'properties.bootstrap.servers' = 'kafka:9092',
    'scan.startup.mode' = 'earliest-offset',
    'scan.bounded.mode' = 'latest-offset',
    'format' = 'json'
);

SELECT org, url, client, amount FROM events;
