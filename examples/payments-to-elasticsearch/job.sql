-- Payments of ten branches, summed per branch, in Elasticsearch. The running total of a branch is one document.
-- The function lies beside this file, in payment_msg_processing.py.
CREATE FUNCTION branch_id_to_name AS 'payment_msg_processing.branch_id_to_name' LANGUAGE PYTHON;

CREATE TABLE payment_msg(
    createTime VARCHAR,
    orderId BIGINT,
    payAmount DOUBLE,
    payPlatform INT,
    branchId INT
) WITH (
  'connector' = 'kafka',
  'topic' = 'payment_msg',
  'properties.bootstrap.servers' = 'kafka:9092',
  'properties.group.id' = 'test_3',
  'scan.startup.mode' = 'latest-offset',
  'format' = 'json'
);

CREATE TABLE es_sink(
    branch VARCHAR PRIMARY KEY,
    pay_amount DOUBLE
) with (
    'connector' = 'elasticsearch-7',
    'hosts' = 'http://elasticsearch:9200',
    'index' = 'platform_pay_amount_1',
    'document-id.key-delimiter' = '$',
    'sink.bulk-flush.max-size' = '42mb',
    'sink.bulk-flush.max-actions' = '32',
    'sink.bulk-flush.interval' = '1000',
    'sink.bulk-flush.backoff.delay' = '1000',
    'format' = 'json'
);

INSERT INTO es_sink
SELECT branch, SUM(payAmount) AS pay_amount
FROM (SELECT branch_id_to_name(branchId) AS branch, payAmount FROM payment_msg)
GROUP BY branch;
