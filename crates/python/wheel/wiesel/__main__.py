"""`python -m wiesel` becomes the program."""

import os
import sys

from wiesel import program

os.execv(program(), ["wiesel", *sys.argv[1:]])
