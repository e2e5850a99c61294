-- q13 where there is no lookup source at hand: the side table does not change, so an ordinary join gives the same rows.
CREATE TABLE side_input (
  key BIGINT, `value` STRING
) WITH ('connector' = 'filesystem', 'path' = '/tmp/nexmark_side_input', 'format' = 'json');

CREATE TABLE nexmark_q13 (
  auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3), `value` STRING
) WITH ('connector' = 'blackhole');

INSERT INTO nexmark_q13
SELECT B.auction, B.bidder, B.price, B.`dateTime`, S.`value`
FROM bid AS B JOIN side_input AS S ON MOD(B.auction, 10000) = S.key;
