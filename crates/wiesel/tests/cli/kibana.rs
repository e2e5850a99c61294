//! `wiesel kibana`: the calls it makes, to a local HTTP server in Kibana's place. Kibana itself is on no package registry, so the objects
//! have never been loaded into a real one; their references and fields are checked beside the code that makes them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::program::{Output, Place};

/// A request as it came in.
struct Request {
    line: String,
    headers: Vec<String>,
    body: String,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.iter();
        lines.filter_map(|h| h.split_once(": ")).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

fn read(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut next = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let line = next();
    let mut headers = Vec::new();
    loop {
        match next() {
            header if header.is_empty() => break,
            header => headers.push(header),
        }
    }
    let mut request = Request { line, headers, body: String::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    request.body = String::from_utf8(body).unwrap();
    request
}

/// Serves one answer per request, and gives back the requests.
fn serve(answers: Vec<(u16, String)>) -> (String, JoinHandle<Vec<Request>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::Builder::new().name("kibana".to_owned()).spawn(move || {
        let mut requests = Vec::new();
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            requests.push(read(&stream));
            let length = body.len();
            write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
                .unwrap();
        }
        requests
    });
    (url, server.unwrap())
}

fn load(system: &str, url: &str, environment: &[(&str, &str)]) -> Output {
    Place::new().wiesel_with(&["kibana", "load", system, "--url", url, "--wait", "20"], environment)
}

#[test]
fn what_export_prints_is_imported_in_the_form_of_the_running_version() {
    let cases = [
        ("7.8.0", r#"{"state":"green"}"#, "7.8", "payments-to-elasticsearch", 4),
        ("8.19.0", r#"{"level":"available"}"#, "8.0", "logs-to-elasticsearch", 8),
    ];
    for (version, overall, form, system, count) in cases {
        let status = format!(r#"{{"version":{{"number":"{version}"}},"status":{{"overall":{overall}}}}}"#);
        let imported = format!(r#"{{"success":true,"successCount":{count}}}"#);
        // Kibana says this while it starts.
        let starting = (503, "Kibana server is not ready yet".to_owned());
        let (url, server) = serve(vec![starting, (200, status), (200, imported)]);
        let run = load(system, &url, &[("KIBANA_USERNAME", "elastic"), ("KIBANA_PASSWORD", "verborgen-91")]);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stderr.contains(&format!("{count} objects are in Kibana {version}")), "{run:?}");
        let requests = server.join().unwrap();
        let import = requests.last().unwrap();
        assert_eq!(import.line, "POST /api/saved_objects/_import?overwrite=true HTTP/1.1");
        assert_eq!(import.header("kbn-xsrf"), Some("true"));
        assert!(
            import.header("content-type").unwrap().starts_with("multipart/form-data; boundary="),
            "{:?}",
            import.headers
        );
        assert!(requests.iter().all(|r| r.header("authorization").unwrap().starts_with("Basic ")));
        let export = Place::new().wiesel(&["kibana", "export", system, "--form", form]);
        assert_eq!((export.code, export.stdout.lines().count()), (Some(0), count), "{export:?}");
        assert!(import.body.contains(&export.stdout), "{}", import.body);
    }
}

#[test]
fn what_kibana_does_not_take_is_told_object_by_object() {
    let status = r#"{"version":{"number":"8.2.0"},"status":{"overall":{"level":"available"}}}"#.to_owned();
    let answer = r#"{"success":false,"successCount":3,"errors":[{"type":"dashboard","id":"wiesel-x","error":{"type":"conflict"}}]}"#;
    let (url, server) = serve(vec![(200, status), (200, answer.to_owned())]);
    let run = load("payments-to-elasticsearch", &url, &[]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("dashboard `wiesel-x`: conflict"), "{run:?}");
    assert_eq!(server.join().unwrap().len(), 2);
    let (url, server) = serve(vec![(401, "{}".to_owned())]);
    let run = load("payments-to-elasticsearch", &url, &[]);
    assert!(run.code == Some(1) && run.stderr.contains("KIBANA_API_KEY"), "{run:?}");
    server.join().unwrap();
}

#[test]
fn a_kibana_that_never_comes_and_a_system_without_a_dashboard_end_with_a_reason() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place::new();
    let url = format!("http://{free}");
    let run = place.wiesel(&["kibana", "load", "payments-to-elasticsearch", "--url", &url, "--wait", "0"]);
    assert!(run.code == Some(1) && run.stderr.contains("did not serve within 0 s"), "{run:?}");
    let run = place.wiesel(&["kibana", "load", "payments-to-elastic", "--url", &url]);
    assert!(run.code == Some(2) && run.stderr.contains("did you mean `payments-to-elasticsearch`?"), "{run:?}");
    let run = place.wiesel(&["kibana", "export", "logs-to-parquet"]);
    assert!(run.code == Some(2) && run.stderr.contains("no dashboard for `logs-to-parquet`"), "{run:?}");
}
