-- Hits per host and referrer in windows of five minutes, in PostgreSQL. init.sql creates the table.
CREATE TABLE web_traffic (
    url STRING,
    referrer STRING,
    user_agent STRING,
    host STRING,
    ip STRING,
    headers STRING,
    event_time STRING,
    ts AS TO_TIMESTAMP(event_time, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z'''),
    WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE
) WITH (
    'connector' = 'kafka',
    'topic' = 'web_traffic_topic',
    'properties.bootstrap.servers' = 'localhost:9093',
    'properties.group.id' = 'web_traffic_group',
    'scan.startup.mode' = 'latest-offset',
    'format' = 'json'
);

CREATE TABLE aggregated_web_traffic (
    host STRING,
    referrer STRING,
    event_time TIMESTAMP(3),
    num_hits INT,
    PRIMARY KEY (event_time, host, referrer) NOT ENFORCED
) WITH (
    'connector' = 'jdbc',
    'url' = 'jdbc:postgresql://localhost:5432/postgres',
    'table-name' = 'aggregated_web_traffic',
    'driver' = 'org.postgresql.Driver',
    'username' = 'postgres',
    'password' = 'postgres'
);

INSERT INTO aggregated_web_traffic
SELECT host, COALESCE(referrer, '') AS referrer, window_start AS event_time, CAST(COUNT(*) AS INT) AS num_hits
FROM TABLE(TUMBLE(TABLE web_traffic, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
WHERE host IS NOT NULL
GROUP BY host, COALESCE(referrer, ''), window_start, window_end;
