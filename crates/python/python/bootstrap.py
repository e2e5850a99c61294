"""What `python -c` runs: it reads the first frame and imports the worker from it.

The frame holds the text of all modules of wiesel's own (`wiesel_worker`, `pyflink`) and the settings. They are imported from memory, by a
finder that stands in front of all others: nothing is written to disk, and an installed apache-flink never answers. Parts of `pyflink`
that are not among them import as modules of placeholders.
"""

import importlib.abc
import importlib.machinery
import json
import os
import signal
import socket
import sys

# Control-C stops the job, which then closes the channel.
signal.signal(signal.SIGINT, signal.SIG_IGN)
CHANNEL = socket.socket(fileno=os.dup(0))
# What a function prints must not reach the channel, and belongs beside the program's own messages.
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(2, 1)


def _exactly(count):
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = CHANNEL.recv_into(view)
        if not got:
            sys.exit(0)
        view = view[got:]
    return data


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules out of the first frame."""

    def __init__(self, sources):
        self.sources = sources

    def find_spec(self, fullname, path=None, target=None):
        top = fullname.partition(".")[0]
        if top not in ("pyflink", "wiesel_worker"):
            return None
        package = fullname.replace(".", "/") + "/__init__.py"
        is_package = package in self.sources or fullname.replace(".", "/") + ".py" not in self.sources
        return importlib.machinery.ModuleSpec(fullname, self, is_package=is_package)

    def exec_module(self, module):
        stem = module.__name__.replace(".", "/")
        for name in (stem + "/__init__.py", stem + ".py"):
            if name in self.sources:
                module.__file__ = "<wiesel>/" + name
                exec(compile(self.sources[name], module.__file__, "exec"), module.__dict__)
                return
        from pyflink._absent import placeholder

        def absent(name):
            if name.startswith("__"):
                raise AttributeError(name)
            return placeholder(module.__name__ + "." + name)

        module.__getattr__ = absent
        module.__all__ = []


_start = json.loads(bytes(_exactly(int.from_bytes(_exactly(12)[:4], "little"))))
sys.meta_path.insert(0, Finder(_start["sources"]))

from wiesel_worker.worker import serve  # noqa: E402

serve(CHANNEL, _exactly, _start)
