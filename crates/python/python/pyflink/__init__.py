"""The part of PyFlink that a Python function needs, and nothing else.

wiesel puts this package in front of everything else inside its worker processes, so that a module written for PyFlink imports without
Apache Flink, a JVM or Beam, and so that an installed apache-flink does not answer there. `pyflink.table` and `pyflink.common` hold the
decorators, base classes and types of functions. All other names of PyFlink import as placeholders, because a module often holds a job
beside its functions; a placeholder raises an error with its name as soon as somebody uses it.
"""

__version__ = "1.20.5"
