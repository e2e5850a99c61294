-- Hits per host, referrer and place in windows of five minutes, in PostgreSQL. init.sql creates the table.
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
    city STRING,
    country STRING,
    headers STRING,
    event_time TIMESTAMP(3),
    num_hits INT,
    PRIMARY KEY (event_time, host, referrer, city, country) NOT ENFORCED
) WITH (
    'connector' = 'jdbc',
    'url' = 'jdbc:postgresql://localhost:5432/postgres',
    'table-name' = 'aggregated_web_traffic',
    'driver' = 'org.postgresql.Driver',
    'username' = 'postgres',
    'password' = 'postgres'
);

-- Where a visitor is, by the file beside this one; an address without a place has empty texts, because they are part of the key.
CREATE VIEW located_traffic AS
SELECT
    host,
    COALESCE(referrer, '') AS referrer,
    COALESCE(place.city, '') AS city,
    COALESCE(place.country, '') AS country,
    ts
FROM (SELECT *, GEOIP(ip, 'places.mmdb') AS place FROM web_traffic)
WHERE host IS NOT NULL;

INSERT INTO aggregated_web_traffic
SELECT
    host,
    referrer,
    city,
    country,
    JSON_OBJECT('city' VALUE NULLIF(city, ''), 'country' VALUE NULLIF(country, '') ABSENT ON NULL) AS headers,
    window_start AS event_time,
    CAST(COUNT(*) AS INT) AS num_hits
FROM TABLE(TUMBLE(TABLE located_traffic, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
GROUP BY host, referrer, city, country, window_start, window_end;
