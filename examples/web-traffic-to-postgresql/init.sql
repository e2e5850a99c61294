-- The sink table. A row is one window of one host, referrer and place; the key makes a repeated write an update. `headers` holds the place
-- as JSON: headers::json->>'city'.
CREATE TABLE IF NOT EXISTS aggregated_web_traffic (
    url TEXT,
    referrer TEXT NOT NULL DEFAULT '',
    user_agent TEXT,
    host TEXT NOT NULL,
    ip TEXT,
    headers TEXT,
    city TEXT NOT NULL DEFAULT '',
    country TEXT NOT NULL DEFAULT '',
    event_time TIMESTAMP NOT NULL,
    num_hits INT,
    PRIMARY KEY (event_time, host, referrer, city, country)
);
