"""The stand-in for PyFlink outside of worker processes, for tests and editors of modules with functions.

Importing this puts the folder with `pyflink` at the end of the search path: an installed apache-flink goes before it. Inside a worker
process of wiesel it is there without this.
"""

import os
import sys

_FOLDER = os.path.dirname(os.path.abspath(__file__))
if _FOLDER not in sys.path:
    sys.path.append(_FOLDER)
