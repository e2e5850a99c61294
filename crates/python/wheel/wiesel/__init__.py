"""The program `wiesel` as a Python package: where it is, for those who start it from Python.

The program itself is a native one; `pip install` puts it beside `python`. `python -m wiesel` starts it, too. `import wiesel.standin` makes
the part of PyFlink importable that functions need, where apache-flink is not installed.
"""

import os
import shutil
import sysconfig
from importlib.metadata import version

__version__ = version("wiesel")


def program() -> str:
    """The path of the program."""
    beside = os.path.join(sysconfig.get_path("scripts"), "wiesel")
    found = beside if os.access(beside, os.X_OK) else shutil.which("wiesel")
    if found is None:
        raise FileNotFoundError("the program `wiesel` is neither beside this Python nor in the search path")
    return found
