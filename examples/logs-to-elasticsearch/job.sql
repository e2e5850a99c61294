-- Edge logs of many organisations, counted three ways from one topic into three indices.
SET 'parallelism.default' = '1';
SET 'execution.checkpointing.interval' = '5 s';
SET 'table.exec.state.ttl' = '1 h';

-- The function lies beside this file, in edge_logs.py.
CREATE FUNCTION extract_date AS 'edge_logs.extract_date' LANGUAGE PYTHON;

CREATE TABLE edge_logs (
    EdgeEndTimestamp STRING,
    ClientRequestURI STRING,
    EdgeResponseStatus INT,
    ResponseHeaders ROW<`x-org-uid` STRING>,
    OrgUID AS ResponseHeaders.`x-org-uid`,
    DateStr AS extract_date(EdgeEndTimestamp)
) WITH (
    'connector' = 'kafka',
    'topic' = 'test-logs',
    'properties.bootstrap.servers' = 'localhost:9092',
    'properties.group.id' = 'pyflink-consumer-group',
    'scan.startup.mode' = 'latest-offset',
    'format' = 'json'
);

-- Document ids: org1_2025-05-20__v1_test. url_key is the URL as the id holds it.
CREATE TABLE url_counts (
    org_id STRING,
    `date` STRING,
    url_key STRING,
    url STRING,
    url_count BIGINT,
    PRIMARY KEY (org_id, `date`, url_key) NOT ENFORCED
) WITH (
    'connector' = 'elasticsearch-7',
    'hosts' = 'http://localhost:9200',
    'index' = 'url_counts',
    'format' = 'json'
);

-- Document ids: org1_2025-05-20_404.
CREATE TABLE status_counts (
    org_id STRING,
    `date` STRING,
    status_code INT,
    status_count BIGINT,
    PRIMARY KEY (org_id, `date`, status_code) NOT ENFORCED
) WITH (
    'connector' = 'elasticsearch-7',
    'hosts' = 'http://localhost:9200',
    'index' = 'status_counts',
    'format' = 'json'
);

-- Document ids: org1.
CREATE TABLE org_latest (
    org_id STRING,
    latest_date STRING,
    last_status INT,
    PRIMARY KEY (org_id) NOT ENFORCED
) WITH (
    'connector' = 'elasticsearch-7',
    'hosts' = 'http://localhost:9200',
    'index' = 'org_latest',
    'format' = 'json'
);

EXECUTE STATEMENT SET
BEGIN

INSERT INTO url_counts
SELECT OrgUID, DateStr, url_key, FIRST_VALUE(ClientRequestURI) AS url, COUNT(*) AS url_count
FROM (
    SELECT OrgUID, DateStr, ClientRequestURI,
           REPLACE(REPLACE(REPLACE(ClientRequestURI, '/', '_'), '?', '_'), '&', '_') AS url_key
    FROM edge_logs
)
GROUP BY OrgUID, DateStr, url_key;

INSERT INTO status_counts
SELECT OrgUID, DateStr, EdgeResponseStatus, COUNT(*) AS status_count
FROM edge_logs
GROUP BY OrgUID, DateStr, EdgeResponseStatus;

INSERT INTO org_latest
SELECT OrgUID, LAST_VALUE(DateStr) AS latest_date, LAST_VALUE(EdgeResponseStatus) AS last_status
FROM edge_logs
GROUP BY OrgUID;

END;
