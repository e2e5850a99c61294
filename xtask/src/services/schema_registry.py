"""The part of a schema registry's REST interface that clients of Avro use, for tests: schemas by id, versions of subjects.

Usage: schema_registry.py PORT FILE. Everything is kept in FILE, so a server that is started again knows what it knew. A subject whose name
ends with -strict takes one schema only, as one would whose compatibility level forbids the second. Requests for a subject that begins with
private- need the user `reader` with the password `canary-registry-secret`.
"""

import base64
import http.server
import json
import os
import sys
import urllib.parse

PORT, FILE = int(sys.argv[1]), sys.argv[2]
LOGIN = "Basic " + base64.b64encode(b"reader:canary-registry-secret").decode()


def load():
    if os.path.exists(FILE):
        with open(FILE) as file:
            return json.load(file)
    return {"schemas": [], "subjects": {}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/vnd.schemaregistry.v1+json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *parts):
        print(self.command, self.path, flush=True)

    def is_refused(self, parts):
        if any(p.startswith("private-") for p in parts) and self.headers.get("authorization") != LOGIN:
            self.answer(401, {"error_code": 40101, "message": "Unauthorized"})
            return True
        return False

    def parts(self):
        path = urllib.parse.urlsplit(self.path).path
        return [urllib.parse.unquote(p) for p in path.split("/") if p]

    def do_GET(self):
        state, parts = load(), self.parts()
        if self.is_refused(parts):
            return
        if parts == ["subjects"]:
            self.answer(200, sorted(state["subjects"]))
        elif len(parts) == 3 and parts[:2] == ["schemas", "ids"]:
            number = int(parts[2])
            if 0 < number <= len(state["schemas"]):
                self.answer(200, {"schema": state["schemas"][number - 1]})
            else:
                self.answer(404, {"error_code": 40403, "message": "Schema not found"})
        elif len(parts) == 4 and parts[0] == "subjects" and parts[3] == "latest":
            ids = state["subjects"].get(parts[1])
            if ids:
                schema = state["schemas"][ids[-1] - 1]
                self.answer(200, {"subject": parts[1], "version": len(ids), "id": ids[-1], "schema": schema})
            else:
                self.answer(404, {"error_code": 40401, "message": "Subject not found"})
        else:
            self.answer(404, {"error_code": 404, "message": "HTTP 404 Not Found"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", "0"))))
        state, parts = load(), self.parts()
        if self.is_refused(parts):
            return
        subject, schema = parts[1], json.dumps(json.loads(body["schema"]))
        ids = state["subjects"].setdefault(subject, [])
        known = state["schemas"].index(schema) + 1 if schema in state["schemas"] else None
        if parts[2:] == ["versions"]:
            if subject.endswith("-strict") and ids and known not in ids:
                message = "Schema being registered is incompatible with an earlier schema"
                self.answer(409, {"error_code": 409, "message": message})
                return
            if known is None:
                state["schemas"].append(schema)
                known = len(state["schemas"])
            if known not in ids:
                ids.append(known)
            with open(FILE + ".new", "w") as file:
                json.dump(state, file)
            os.replace(FILE + ".new", FILE)
        elif known not in ids:
            self.answer(404, {"error_code": 40403, "message": "Schema not found"})
            return
        self.answer(200, {"subject": subject, "id": known, "version": ids.index(known) + 1, "schema": schema})


http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
