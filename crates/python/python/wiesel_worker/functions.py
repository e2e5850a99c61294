"""Finds functions, says what they are, and calls them.

`describe` imports the module and reads what the decorator said. A call goes over the rows in one C loop (`list.extend` over a `map`); when a
row raises, the results so far are in the list already, so the loop goes on behind that row and no row is computed twice. What only some calls
need is imported there: a worker's start is part of every job's.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, Callable, Iterator, Optional

from pyflink.table.udf import Declared, FunctionContext, UserDefinedFunction


class NotFound(Exception):
    """A function that cannot be used, with what to say of it."""

    def __init__(self, message: str, hint: Optional[str] = None) -> None:
        super().__init__(message)
        self.hint = hint


def last_line(error: BaseException) -> str:
    """The last line of a traceback, with the innermost place in the user's own text."""
    import traceback

    line = traceback.format_exception_only(type(error), error)[-1].strip()
    places = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<wiesel>")]
    if isinstance(error, SyntaxError) or not places:
        return line
    return f"{line} ({os.path.basename(places[-1].filename)}, line {places[-1].lineno})"


def find(name: str) -> Declared:
    """The function `module.name`."""
    module_name, _, attribute = name.rpartition(".")
    if not module_name:
        raise NotFound(f"`{name}` names no module", "a Python function is named 'module.name'")
    try:
        module = importlib.import_module(module_name)
    except BaseException as error:  # a module may end the process or raise anything while it is imported
        if isinstance(error, ModuleNotFoundError) and (module_name + ".").startswith(f"{error.name}."):
            raise NotFound(
                f"no Python module `{module_name}`", "name the folder or the file that holds it: SET 'python.files' = '...'"
            ) from None
        raise NotFound(f"the Python module `{module_name}` does not import: {last_line(error)}") from None
    if not hasattr(module, attribute):
        import difflib

        own = [n for n, v in vars(module).items() if isinstance(v, Declared)] or [n for n in vars(module) if n[:1] != "_"]
        near = difflib.get_close_matches(attribute, own, 1)
        hint = f"did you mean `{module_name}.{near[0]}`?" if near else f"it has {', '.join(own[:10]) or 'no function'}"
        raise NotFound(f"the Python module `{module_name}` has no `{attribute}`", hint)
    found = getattr(module, attribute)
    if not isinstance(found, Declared):
        raise NotFound(
            f"`{name}` is a {type(found).__name__} and no function of PyFlink's decorators",
            f"declare it with @udf, @udtf or @udaf, or write {attribute} = udf({attribute}, result_type=...)",
        )
    return found


def _callable(function: Declared) -> Callable[..., Any]:
    if isinstance(function.func, UserDefinedFunction):
        return function.func.eval if function.kind in ("scalar", "table") else function.func.accumulate
    return function.func


def _arity(function: Declared) -> tuple[int, Optional[int]]:
    import inspect

    try:
        parameters = list(inspect.signature(_callable(function)).parameters.values())
    except (TypeError, ValueError):
        return 0, None
    if function.kind in ("aggregate", "table-aggregate") and isinstance(function.func, UserDefinedFunction):
        parameters = parameters[1:]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(p.default is p.empty for p in positional)
    return needed, None if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(positional)


def describe(name: str) -> dict[str, Any]:
    """What a function is."""
    function = find(name)
    result, accumulator = function.result_types, function.accumulator_type
    retracts = merges = False
    if function.kind == "aggregate":
        if isinstance(function.func, UserDefinedFunction):
            result = result or _declared_type(function.func, "get_result_type")
            retracts = type(function.func).retract is not _base(function.func, "retract")
            merges = type(function.func).merge is not _base(function.func, "merge")
        elif function.func_type != "pandas":
            raise NotFound(f"`{name}` is declared with udaf and is no AggregateFunction", "a plain function needs func_type='pandas'")
    if result is None:
        raise NotFound(f"`{name}` declares no result type", "give its decorator a result_type")
    least, most = _arity(function)
    return {
        "kind": function.kind,
        "pandas": function.func_type == "pandas",
        "input": function.input_types,
        "result": result,
        "accumulator": accumulator,
        "deterministic": function.deterministic,
        "least": least,
        "most": most,
        "retracts": retracts,
        "merges": merges,
    }


def _base(function: UserDefinedFunction, method: str) -> Any:
    from pyflink.table.udf import ImperativeAggregateFunction

    return getattr(ImperativeAggregateFunction, method)


def _declared_type(function: Any, method: str) -> Optional[list[str]]:
    try:
        return [str(getattr(function, method)())]
    except RuntimeError:
        return None


def open_function(function: Declared, parameters: dict[str, str]) -> Callable[..., Any]:
    """Opens a function and gives what is called per row."""
    if isinstance(function.func, UserDefinedFunction):
        function.func.open(FunctionContext(parameters))
    return _callable(function)


class Progress:
    """How far the loop has come, for the thread that tells it."""

    def __init__(self) -> None:
        self.results: Optional[list[Any]] = None
        self.before = 0


def call_rows(
    function: Callable[..., Any],
    columns: list[list[Any]],
    rows: int,
    progress: Progress,
    refuse: Callable[[int, BaseException], bool],
) -> list[Any]:
    """The results of all rows; a row that raises is None, and `refuse` says whether to go on."""
    results: list[Any] = []
    progress.results = results
    iterators = [iter(column) for column in columns]
    without: Optional[Iterator[int]] = None if columns else iter(range(rows))
    while len(results) < rows:
        try:
            if without is None:
                results.extend(map(function, *iterators))
            else:
                results.extend(function() for _ in without)
            if len(results) < rows:
                raise RuntimeError("the function raised StopIteration")
        except BaseException as error:  # sys.exit() in a function is an error of its row too
            at = len(results)
            results.append(None)
            if not refuse(at, error):
                results.extend([None] * (rows - len(results)))
    progress.results = None
    return results


def report_unraisable() -> None:
    """The user's prints come out in order with the program's own lines."""
    sys.stdout.flush()
