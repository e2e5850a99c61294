-- The windowed variant: requests per organisation and URL in the last hour, every ten minutes.
SET 'parallelism.default' = '1';
SET 'execution.checkpointing.interval' = '10 s';
-- EventTime is a point in time; windows of it begin and end by this zone's clock.
SET 'table.local-time-zone' = 'UTC';

-- The function lies beside this file, in edge_logs.py.
CREATE FUNCTION extract_event_time AS 'edge_logs.extract_event_time' LANGUAGE PYTHON;

CREATE TABLE edge_logs (
    EdgeEndTimestamp STRING,
    ClientRequestURI STRING,
    EdgeResponseStatus INT,
    ResponseHeaders ROW<`x-org-uid` STRING>,
    OrgUID AS ResponseHeaders.`x-org-uid`,
    EventTime AS extract_event_time(EdgeEndTimestamp),
    WATERMARK FOR EventTime AS EventTime - INTERVAL '1' SECOND
) WITH (
    'connector' = 'kafka',
    'topic' = 'test-logs',
    'properties.bootstrap.servers' = 'localhost:9092',
    'properties.group.id' = 'pyflink-consumer-group',
    'scan.startup.mode' = 'latest-offset',
    'format' = 'json'
);

CREATE TABLE url_counts_windowed (
    org_id STRING,
    url STRING,
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    first_seen TIMESTAMP(3),
    url_count BIGINT,
    PRIMARY KEY (org_id, url, window_start) NOT ENFORCED
) WITH (
    'connector' = 'elasticsearch-7',
    'hosts' = 'http://localhost:9200',
    'index' = 'url_counts_windowed',
    'format' = 'json'
);

INSERT INTO url_counts_windowed
SELECT OrgUID, ClientRequestURI, window_start, window_end, CAST(MIN(EventTime) AS TIMESTAMP(3)) AS first_seen, COUNT(*) AS url_count
FROM TABLE(HOP(TABLE edge_logs, DESCRIPTOR(EventTime), INTERVAL '10' MINUTE, INTERVAL '60' MINUTE))
GROUP BY OrgUID, ClientRequestURI, window_start, window_end;
