-- Payments of ten branches, summed per branch, in Elasticsearch. The running total of a branch is one document.
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

-- The Python function of the original maps 0 to 'Branch_0' and so on.
INSERT INTO es_sink
SELECT branch, SUM(payAmount) AS pay_amount
FROM (SELECT CONCAT('Branch_', CAST(branchId AS STRING)) AS branch, payAmount FROM payment_msg)
GROUP BY branch;
