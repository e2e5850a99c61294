-- The amount each client moved per minute of event time. The key is the client alone, so each window replaces the one before.
CREATE TABLE transaction_msg(
    client INT,
    amount INT,
    ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts
) WITH (
    'connector' = 'kafka',
    'topic' = 'client_amount',
    'properties.bootstrap.servers' = 'kafka:9092',
    'properties.group.id' = 'test',
    'scan.startup.mode' = 'latest-offset',
    'format' = 'json'
);

CREATE TABLE es_sink(
    client INT PRIMARY KEY NOT ENFORCED,
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    total_amount INT
) with (
    'connector' = 'elasticsearch-7',
    'hosts' = 'http://elasticsearch:9200',
    'index' = 'total_amount',
    'document-id.key-delimiter' = '$',
    'format' = 'json'
);

INSERT INTO es_sink
SELECT
    client,
    TUMBLE_START(ts, INTERVAL '1' MINUTE) AS window_start,
    TUMBLE_END(ts, INTERVAL '1' MINUTE) AS window_end,
    SUM(amount) AS total_amount
FROM transaction_msg
GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE), client;
