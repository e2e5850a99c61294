//! What each system's dashboard shows. Field names are those that Elasticsearch's own mapping makes: a text has `.keyword` beside it.

/// A dashboard of one system.
#[derive(Debug)]
pub(crate) struct Board {
    /// The name of the system's folder under `examples/`.
    pub(crate) system: &'static str,
    /// Its title.
    pub(crate) title: &'static str,
    /// What it reads.
    pub(crate) indices: &'static [Index],
}

/// An index pattern (a data view, as Kibana 8 says), and the pictures of it.
#[derive(Debug)]
pub(crate) struct Index {
    /// The pattern.
    pub(crate) pattern: &'static str,
    /// What is drawn of it.
    pub(crate) pictures: &'static [Picture],
}

/// A visualisation: a sum, or the number of documents, by some fields.
#[derive(Debug)]
pub(crate) struct Picture {
    /// Its title.
    pub(crate) title: &'static str,
    /// How it looks.
    pub(crate) form: Form,
    /// The field that is summed; without one, documents are counted.
    pub(crate) sum: Option<&'static str>,
    /// The fields that it is grouped by; of bars the first is the axis and the second the colour.
    pub(crate) by: &'static [&'static str],
    /// How many groups of each field are shown.
    pub(crate) groups: u32,
}

/// How a picture looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A ring of shares.
    Pie,
    /// Upright bars.
    Bars,
    /// Rows and columns.
    Table,
}

/// Every dashboard, sorted by system.
pub(crate) const BOARDS: [Board; 3] = [
    Board {
        system: "logs-to-elasticsearch",
        title: "Requests per organisation",
        indices: &[
            Index {
                pattern: "url_counts",
                pictures: &[
                    Picture {
                        title: "Requests by URL",
                        form: Form::Bars,
                        sum: Some("url_count"),
                        by: &["url.keyword", "org_id.keyword"],
                        groups: 20,
                    },
                    Picture {
                        title: "Requests by organisation",
                        form: Form::Pie,
                        sum: Some("url_count"),
                        by: &["org_id.keyword"],
                        groups: 20,
                    },
                ],
            },
            Index {
                pattern: "status_counts",
                pictures: &[Picture {
                    title: "Requests by status",
                    form: Form::Bars,
                    sum: Some("status_count"),
                    by: &["status_code", "org_id.keyword"],
                    groups: 20,
                }],
            },
            Index {
                pattern: "org_latest",
                pictures: &[Picture {
                    title: "Latest date and status",
                    form: Form::Table,
                    sum: None,
                    by: &["org_id.keyword", "latest_date", "last_status"],
                    groups: 100,
                }],
            },
        ],
    },
    Board {
        system: "payments-to-elasticsearch",
        title: "Payments per branch",
        indices: &[Index {
            pattern: "platform_pay_amount_*",
            pictures: &[
                Picture {
                    title: "Share of each branch",
                    form: Form::Pie,
                    sum: Some("pay_amount"),
                    by: &["branch.keyword"],
                    groups: 10,
                },
                Picture {
                    title: "Amount of each branch",
                    form: Form::Bars,
                    sum: Some("pay_amount"),
                    by: &["branch.keyword"],
                    groups: 10,
                },
            ],
        }],
    },
    Board {
        system: "windowed-amounts-to-elasticsearch",
        title: "Amounts per client and minute",
        indices: &[Index {
            pattern: "total_amount",
            pictures: &[
                Picture {
                    title: "Amount of each client in its last minute",
                    form: Form::Bars,
                    sum: Some("total_amount"),
                    by: &["client"],
                    groups: 100,
                },
                Picture {
                    title: "Last minute of each client",
                    form: Form::Table,
                    sum: Some("total_amount"),
                    by: &["client", "window_start.keyword", "window_end.keyword"],
                    groups: 100,
                },
            ],
        }],
    },
];
