-- q13: bids with a text from a side table of 10000 keys, looked up one by one.
CREATE TABLE side_input (
  key BIGINT, `value` STRING, PRIMARY KEY (key) NOT ENFORCED
) WITH (
  'connector' = 'jdbc', 'url' = 'jdbc:postgresql://localhost:5432/nexmark', 'table-name' = 'side_input',
  'username' = 'nexmark', 'password' = 'nexmark',
  'lookup.cache' = 'PARTIAL', 'lookup.partial-cache.max-rows' = '10000'
);

CREATE TABLE nexmark_q13 (
  auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3), `value` STRING
) WITH ('connector' = 'blackhole');

INSERT INTO nexmark_q13
SELECT B.auction, B.bidder, B.price, B.`dateTime`, S.`value`
FROM (SELECT *, PROCTIME() AS p_time FROM bid) AS B
JOIN side_input FOR SYSTEM_TIME AS OF B.p_time AS S ON MOD(B.auction, 10000) = S.key;
