-- The payments of examples/payments-to-elasticsearch with a generator in place of Kafka, so that it runs on nothing but wiesel.
SET 'execution.checkpointing.interval' = '2 s';

CREATE TABLE payments (
    orderId BIGINT,
    payAmount DOUBLE,
    payPlatform INT,
    branchId INT,
    ts AS PROCTIME()
) WITH (
    'connector' = 'datagen',
    'rows-per-second' = '2000',
    'fields.orderId.kind' = 'sequence',
    'fields.orderId.start' = '1',
    'fields.orderId.end' = '1000000000',
    'fields.payAmount.min' = '0',
    'fields.payAmount.max' = '1000',
    'fields.payPlatform.min' = '0',
    'fields.payPlatform.max' = '1',
    'fields.branchId.min' = '0',
    'fields.branchId.max' = '9'
);

CREATE VIEW branch_payments AS
SELECT CONCAT('Branch_', CAST(branchId AS STRING)) AS branch, payAmount, ts FROM payments;

CREATE TABLE branch_sums (
    branch STRING,
    window_start TIMESTAMP(3),
    pay_amount DOUBLE,
    payments BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = 'wiesel-demo',
    'format' = 'parquet'
);

-- One-second sums are final, so they can go to files.
INSERT INTO branch_sums
SELECT branch, window_start, SUM(payAmount), COUNT(*)
FROM TABLE(TUMBLE(TABLE branch_payments, DESCRIPTOR(ts), INTERVAL '1' SECOND))
GROUP BY branch, window_start, window_end;

-- Totals change with every payment, so they are shown.
SELECT branch, SUM(payAmount) AS total, COUNT(*) AS payments FROM branch_payments GROUP BY branch;
