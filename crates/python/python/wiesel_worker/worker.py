"""The loop of a worker: one request, one answer.

    frame = length of the head (4 bytes), length of the body (8 bytes), head as JSON, body: an Arrow IPC stream or buffers (`parts`)

| request | answer |
|---|---|
| describe name | what the function is |
| open id, name, types, plain; body: an empty batch of the result's column | |
| call id; body: the argument columns | the result column, and the rows that failed |
| together calls; body: the input columns | the result columns, and the calls and rows that failed |

Columns of plain types come and go as bare buffers (`buffers.py`), and then pyarrow is never imported; all others as Arrow IPC.

An aggregate function is called with one argument, the array of the rows of its group.

While a call runs, a thread tells every so often how many rows are done, so that the other side knows which row hangs.
"""

from __future__ import annotations

import functools as tools
import importlib.util
import json
import os
import sys
import threading
from typing import Any, Callable, Optional

from pyflink.table.udf import UserDefinedFunction
from wiesel_worker import buffers, columns, functions
from wiesel_worker.functions import NotFound, Progress, last_line

TELL_SECONDS = 0.25
SHOWN_MAX = 200
CHUNK_ROWS = 4096


class Opened:
    """A function that was opened, with the types of its call."""

    def __init__(self, declared: Any, call: Callable[..., Any], head: dict[str, Any], body: bytearray) -> None:
        self.declared = declared
        self.call = call
        self.arguments: list[dict[str, Any]] = head["arguments"]
        self.result: dict[str, Any] = head["result"]
        self.gives_plain: bool = head["plain"]
        self.body = body

    @tools.cached_property
    def arrow(self) -> Any:
        """The result's field in Arrow."""
        import pyarrow as pa

        return pa.ipc.open_stream(pa.py_buffer(self.body)).schema.field(0)


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
                self.send({"done": self.progress.before + len(results)})

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
            self.answered(self.call, head, body)
        elif operation == "together":
            self.answered(self.together, head, body)

    def open(self, head: dict[str, Any], body: bytearray) -> None:
        """Opens a function."""
        try:
            if head["arrow"]:
                _import_pyarrow()
            declared = functions.find(head["name"])
            call = functions.open_function(declared, self.parameters)
        except NotFound as error:
            self.send({"error": str(error), "hint": error.hint})
            return
        except BaseException as error:  # open() is the user's code
            self.send({"error": f"open() of `{head['name']}` failed: {last_line(error)}"})
            return
        self.opened[head["id"]] = Opened(declared, call, head, body)
        self.send({"ok": True})

    def answered(self, work: Callable[..., tuple[dict[str, Any], Any]], head: dict[str, Any], body: bytearray) -> None:
        """Carries out calls, with the thread that tells how far they are."""
        if not self.is_telling:
            self.is_telling = True
            threading.Thread(target=self.tell, daemon=True).start()
        self.calls.set()
        try:
            answer, columns_body = work(head, body)
        except BaseException as error:  # no room for the columns themselves
            self.send({"error": last_line(error)})
            return
        finally:
            self.calls.clear()
            self.progress.results, self.progress.before = None, 0
            functions.report_unraisable()
        self.send(answer, columns_body)

    def call(self, head: dict[str, Any], body: bytearray) -> tuple[dict[str, Any], Any]:
        """Calls a function on every row of a batch."""
        refused: list[tuple[int, str]] = []  # as many as the bundle has rows, at most

        def refuse(row: int, error: BaseException) -> bool:
            refused.append((row, last_line(error)))
            return head["all"]

        parts, column = self.column(self.opened[head["id"]], head, body, refuse)
        return {"refused": sorted(refused), "parts": parts}, column

    def together(self, head: dict[str, Any], body: bytearray) -> tuple[dict[str, Any], Any]:
        """Calls several functions on every row of a batch, some over the results of others."""
        inputs = [columns.read(c, sql) for c, sql in zip(buffers.split(body, head["parts"], head["rows"]), head["types"])]
        results: list[list[Any]] = []
        given, pieces = [], []
        refused: list[tuple[int, int, str, Optional[str]]] = []
        for number, places in head["calls"]:
            function = self.opened[number]
            arguments = [(inputs if kind == "input" else results)[index] for kind, index in places]
            is_nested = any(kind == "call" for kind, _ in places)
            bad: dict[int, str] = {}

            def refuse(row: int, error: BaseException) -> bool:
                bad[row] = last_line(error)
                return head["all"]

            values = functions.call_rows(function.call, arguments, head["rows"], self.progress, refuse)
            parts = buffers.write(values, function.result, refuse)
            for row in sorted(bad):
                shown = _shown([argument[row] for argument in arguments]) if is_nested else None
                refused.append((len(results), row, bad[row], shown))
            results.append(buffers.back(values, parts, function.result))
            lengths, piece = buffers.padded(parts)
            given.append(lengths)
            pieces.append(piece)
            if refused and not head["all"]:
                break
        return {"refused": refused, "columns": given}, b"".join(pieces)

    def column(self, function: Opened, head: dict[str, Any], body: bytearray, refuse: Any) -> tuple[Optional[list[int]], Any]:
        """The results of a batch, as the parts and the body of the answer."""
        if function.declared.func_type == "pandas":
            return None, _stream(_call_columns(function, _batch(body), head, refuse), function.arrow)
        rows = head["rows"]
        if head["parts"] is None:
            given, size = _batch(body).columns, rows
        else:
            given, size = buffers.split(body, head["parts"], rows), CHUNK_ROWS
        call, kind = function.call, function.declared.kind
        if kind == "table":
            call = _table_call(function)
        elif kind == "aggregate":
            call = _aggregate_call(function)
        if function.gives_plain:
            return buffers.padded(self.in_chunks(function, call, given, rows, size, refuse))
        arguments = [columns.read(column, sql) for column, sql in zip(given, function.arguments)]
        result = functions.call_rows(call, arguments, rows, self.progress, refuse)
        return None, _stream(columns.write(result, function.result, function.arrow.type, refuse), function.arrow)

    def in_chunks(self, function: Opened, call: Any, given: list[Any], rows: int, size: int, refuse: Any) -> list[Any]:
        """The parts of the result. A chunk's values stay in the processor's cache, and their memory is used again for the next one."""
        pieces, counts, start, goes_on = [], [], 0, True

        def refuse_in_chunk(row: int, error: BaseException) -> bool:
            nonlocal goes_on
            goes_on = refuse(start + row, error)
            return goes_on

        while start < rows or not pieces:
            count = min(size, rows - start) if goes_on else rows - start
            self.progress.before = start
            if goes_on:
                arguments = [columns.read(c.slice(start, count), sql) for c, sql in zip(given, function.arguments)]
                result = functions.call_rows(call, arguments, count, self.progress, refuse_in_chunk)
            else:
                result = [None] * count
            pieces.append(buffers.write(result, function.result, refuse_in_chunk))
            counts.append(count)
            start += count
        return buffers.joined(pieces, counts)

    def close(self) -> None:
        """The other side has gone: functions are closed once."""
        for function in self.opened.values():
            if isinstance(function.declared.func, UserDefinedFunction):
                try:
                    function.declared.func.close()
                except Exception as error:  # nobody is there to hear of it but the reader of stderr
                    print(f"close() failed: {last_line(error)}", file=sys.stderr)


def _import_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        hint = f"{sys.executable} -m pip install --force-reinstall pyarrow"
        raise NotFound(f"{sys.executable} cannot import pyarrow: {error}", hint) from None


def _batch(body: bytearray) -> Any:
    import pyarrow as pa

    return pa.ipc.open_stream(pa.py_buffer(body)).read_next_batch()


def _stream(column: Any, field: Any) -> Any:
    """A column as an Arrow IPC stream."""
    import pyarrow as pa

    sink, schema = pa.BufferOutputStream(), pa.schema([field])
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_batch(pa.record_batch([column], schema=schema))
    return sink.getvalue()


def _shown(values: list[Any]) -> str:
    """Arguments for people, as wiesel shows them."""
    text = ", ".join("NULL" if value is None else str(value) for value in values)
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "..."


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
    if importlib.util.find_spec("pyarrow") is None:
        missing = f"{sys.executable} has no pyarrow, which Python functions need"
    columns.set_zone(start["zone"])
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
