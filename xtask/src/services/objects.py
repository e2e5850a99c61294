# An S3 server out of moto, with faults on request: GET /_faults/A/B answers every A-th request with 503 without doing anything, and does
# every B-th write and closes the connection without an answer; 0 is never. The answer says how many of each there were so far.
# Requests of the harness itself, which signs with 0, are spared.
import itertools
import sys
import threading

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

application = DomainDispatcherApplication(create_backend_app)
lock = threading.Lock()
faults = {"refuse": 0, "lose": 0, "requests": 0, "writes": 0, "refused": 0, "lost": 0}


def is_due(every, counter):
    with lock:
        faults[counter] += 1
        return every > 0 and faults[counter] % every == 0


def count(counter):
    with lock:
        faults[counter] += 1


def serve(environ, start_response):
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    if path.startswith("/_faults/"):
        faults["refuse"], faults["lose"] = (int(part) for part in path.split("/")[2:4])
        body = f"{faults['refused']} {faults['lost']}".encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    if environ.get("HTTP_AUTHORIZATION", "").endswith("Signature=0"):
        return application(environ, start_response)
    if is_due(faults["refuse"], "requests"):
        count("refused")
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        body = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
        start_response("503 Slow Down", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]
    if method in ("PUT", "POST", "DELETE") and is_due(faults["lose"], "writes"):
        count("lost")
        for _ in application(environ, lambda *arguments: lambda written: None):
            pass
        environ["werkzeug.socket"].shutdown(2)
        return []
    return application(environ, start_response)


run_simple("127.0.0.1", int(sys.argv[1]), serve, threaded=True)
