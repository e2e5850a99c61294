-- The sink table. A row is one window of one host and referrer; the key makes a repeated write an update.
CREATE TABLE IF NOT EXISTS aggregated_web_traffic (
    url TEXT,
    referrer TEXT NOT NULL DEFAULT '',
    user_agent TEXT,
    host TEXT NOT NULL,
    ip TEXT,
    headers TEXT,
    event_time TIMESTAMP NOT NULL,
    num_hits INT,
    PRIMARY KEY (event_time, host, referrer)
);
