"""The loop of a worker: one request, one answer.

    frame = length of the head (4 bytes), length of the body (8 bytes), head as JSON, body as an Arrow IPC stream

| request | answer |
|---|---|
| describe name | what the function is |
| open id, name, types; body: an empty batch of the result's column | |
| call id; body: the argument columns | the result column, and the rows that failed |

An aggregate function is called with one argument, the array of the rows of its group.

While a call runs, a thread tells every so often how many rows are done, so that the other side knows which row hangs.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any, Callable, Optional

from pyflink.table.udf import UserDefinedFunction
from wiesel_worker import functions
from wiesel_worker.functions import NotFound, Progress, last_line

TELL_SECONDS = 0.25
ROWS_REFUSED_MAX = 10_000


class Opened:
    """A function that was opened, with the types of its call."""

    def __init__(self, declared: Any, call: Callable[..., Any], head: dict[str, Any], arrow: Any) -> None:
        self.declared = declared
        self.call = call
        self.arguments: list[dict[str, Any]] = head["arguments"]
        self.result: dict[str, Any] = head["result"]
        self.arrow = arrow


class Server:
    """The state of a worker."""

    def __init__(self, channel: Any, start: dict[str, Any]) -> None:
        self.channel = channel
        self.lock = threading.Lock()
        self.opened: dict[int, Opened] = {}
        self.parameters: dict[str, str] = start["parameters"]
        self.progress = Progress()
        self.calls = threading.Event()
        self.is_telling = False

    def send(self, head: dict[str, Any], body: Any = b"") -> None:
        """Writes a frame."""
        text = json.dumps(head).encode()
        with self.lock:
            self.channel.sendall(len(text).to_bytes(4, "little") + len(body).to_bytes(8, "little") + text)
            if len(body):
                self.channel.sendall(body)

    def tell(self) -> None:
        """The thread that says how far a call is."""
        while True:
            self.calls.wait()
            threading.Event().wait(TELL_SECONDS)
            results = self.progress.results
            if self.calls.is_set() and results is not None:
                self.send({"done": len(results)})

    def answer(self, head: dict[str, Any], body: bytearray) -> None:
        """Carries out a request."""
        operation = head["op"]
        if operation == "describe":
            try:
                self.send({"ok": functions.describe(head["name"])})
            except NotFound as error:
                self.send({"error": str(error), "hint": error.hint})
        elif operation == "open":
            self.open(head, body)
        elif operation == "call":
            self.call(head, body)

    def open(self, head: dict[str, Any], body: bytearray) -> None:
        """Opens a function."""
        import pyarrow as pa

        try:
            declared = functions.find(head["name"])
            call = functions.open_function(declared, self.parameters)
        except NotFound as error:
            self.send({"error": str(error), "hint": error.hint})
            return
        except BaseException as error:  # open() is the user's code
            self.send({"error": f"open() of `{head['name']}` failed: {last_line(error)}"})
            return
        arrow = pa.ipc.open_stream(pa.py_buffer(body)).schema.field(0)
        self.opened[head["id"]] = Opened(declared, call, head, arrow)
        self.send({"ok": True})

    def call(self, head: dict[str, Any], body: bytearray) -> None:
        """Calls a function on every row of a batch."""
        import pyarrow as pa

        function = self.opened[head["id"]]
        if not self.is_telling:
            self.is_telling = True
            threading.Thread(target=self.tell, daemon=True).start()
        batch = pa.ipc.open_stream(pa.py_buffer(body)).read_next_batch()
        refused: list[tuple[int, str]] = []
        goes_on = head["all"]

        def refuse(row: int, error: BaseException) -> bool:
            refused.append((row, last_line(error)))
            return goes_on and len(refused) < ROWS_REFUSED_MAX

        self.calls.set()
        try:
            if function.declared.func_type == "pandas":
                column = _call_columns(function, batch, head, refuse)
            else:
                column = self.call_rows(function, batch, head["rows"], refuse)
        except BaseException as error:  # no room for the columns themselves
            self.send({"error": last_line(error)})
            return
        finally:
            self.calls.clear()
            self.progress.results = None
            functions.report_unraisable()
        sink = pa.BufferOutputStream()
        schema = pa.schema([function.arrow])
        with pa.ipc.new_stream(sink, schema) as stream:
            stream.write_batch(pa.record_batch([column], schema=schema))
        self.send({"refused": sorted(refused)}, sink.getvalue())

    def call_rows(self, function: Opened, batch: Any, rows: int, refuse: Any) -> Any:
        """The results of a function that is called per row, as a column."""
        from wiesel_worker import columns

        arguments = [columns.read(batch.column(i), sql) for i, sql in enumerate(function.arguments)]
        call, kind = function.call, function.declared.kind
        if kind == "table":
            call = _table_call(function)
        elif kind == "aggregate":
            call = _aggregate_call(function)
        result = functions.call_rows(call, arguments, rows, self.progress, refuse)
        return columns.write(result, function.result, function.arrow.type, refuse)

    def close(self) -> None:
        """The other side has gone: functions are closed once."""
        for function in self.opened.values():
            if isinstance(function.declared.func, UserDefinedFunction):
                try:
                    function.declared.func.close()
                except Exception as error:  # nobody is there to hear of it but the reader of stderr
                    print(f"close() failed: {last_line(error)}", file=sys.stderr)


def _is_row(value: Any) -> bool:
    return isinstance(value, tuple) or hasattr(value, "get_row_kind")


def _table_call(function: Opened) -> Callable[..., Any]:
    """A table function gives None, one row or any iterable of rows; a row of one column may be the bare value."""

    def eval_row(*values: Any) -> list[Any]:
        given = function.call(*values)
        if given is None:
            return []
        if _is_row(given) or isinstance(given, (str, bytes, dict)) or not hasattr(given, "__iter__"):
            given = [given]
        return [item if _is_row(item) or isinstance(item, (list, dict)) else (item,) for item in given]

    return eval_row


def _aggregate_call(function: Opened) -> Callable[..., Any]:
    """An aggregate function over the collected rows of its group."""
    aggregate = function.declared.func

    def value_of(rows: Optional[list[Any]]) -> Any:
        accumulator = aggregate.create_accumulator()
        for row in rows or ():
            aggregate.accumulate(accumulator, *row)
        return aggregate.get_value(accumulator)

    return value_of


def _call_columns(function: Opened, batch: Any, head: dict[str, Any], refuse: Callable[[int, BaseException], bool]) -> Any:
    """The results of a pandas function, which takes whole columns. One that raises is asked again for halves, down to the bad row."""
    import pyarrow as pa

    from wiesel_worker import columns

    is_aggregate = function.declared.kind == "aggregate"
    pieces: list[Any] = []

    def one_group(start: int) -> Any:
        rows = batch.column(0).slice(start, 1)
        fields = function.arguments[0]["e"]["fields"]
        group = rows.flatten()
        series = [columns.series(group.field(i), field["t"]) for i, field in enumerate(fields)]
        return columns.write([columns.bare(function.call(*series))], function.result, function.arrow.type, refuse)

    def part(start: int, count: int) -> bool:
        try:
            if is_aggregate:
                pieces.append(one_group(start))
                return True
            series = [columns.series(batch.column(i).slice(start, count), t) for i, t in enumerate(function.arguments)]
            pieces.append(columns.column_of(function.call(*series), count, function.result, function.arrow.type))
            return True
        except Exception as error:
            if count > 1:
                return part(start, count // 2) and part(start + count // 2, count - count // 2)
            pieces.append(pa.nulls(1, function.arrow.type))
            return refuse(start, error)

    size = 1 if is_aggregate else head["columns"]
    for start in range(0, head["rows"], size):
        if not part(start, min(size, head["rows"] - start)):
            break
    column = pa.concat_arrays(pieces)
    missing = head["rows"] - len(column)
    return column if not missing else pa.concat_arrays([column, pa.nulls(missing, function.arrow.type)])


def _limit_memory(limit: int) -> None:
    if limit:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def serve(channel: Any, exactly: Callable[[int], bytearray], start: dict[str, Any]) -> None:
    """Answers requests until the other side closes the channel."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    # The one thing a user can forget: said before anything of theirs runs.
    missing: Optional[str] = None
    try:
        import pyarrow  # noqa: F401

        from wiesel_worker import columns

        columns.set_zone(start["zone"])
    except ImportError as error:
        missing = f"{sys.executable} has no pyarrow, which Python functions need ({error})"
    server = Server(channel, start)
    if missing is not None:
        server.send({"error": missing, "hint": f"{sys.executable} -m pip install pyarrow"})
        return
    sys.path[0:0] = start["path"]
    sys.path.extend(start["path_behind"])
    _limit_memory(start["memory"])
    server.send({"ok": sys.version.split()[0]})
    try:
        while True:
            lengths = exactly(12)
            head = json.loads(bytes(exactly(int.from_bytes(lengths[:4], "little"))))
            server.answer(head, exactly(int.from_bytes(lengths[4:], "little")))
    except SystemExit:
        server.close()
        raise
