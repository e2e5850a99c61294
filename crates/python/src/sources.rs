//! The Python text that a worker runs, out of the binary: nothing is written to disk.

/// What `python -c` is given.
pub(crate) const BOOTSTRAP: &str = include_str!("../python/bootstrap.py");

/// The modules that the bootstrap imports from memory, by path.
pub(crate) const MODULES: &[(&str, &str)] = &[
    ("pyflink/__init__.py", include_str!("../python/pyflink/__init__.py")),
    ("pyflink/_absent.py", include_str!("../python/pyflink/_absent.py")),
    ("pyflink/common/__init__.py", include_str!("../python/pyflink/common/__init__.py")),
    ("pyflink/common/types.py", include_str!("../python/pyflink/common/types.py")),
    ("pyflink/table/__init__.py", include_str!("../python/pyflink/table/__init__.py")),
    ("pyflink/table/types.py", include_str!("../python/pyflink/table/types.py")),
    ("pyflink/table/udf.py", include_str!("../python/pyflink/table/udf.py")),
    ("wiesel_worker/__init__.py", include_str!("../python/wiesel_worker/__init__.py")),
    ("wiesel_worker/buffers.py", include_str!("../python/wiesel_worker/buffers.py")),
    ("wiesel_worker/columns.py", include_str!("../python/wiesel_worker/columns.py")),
    ("wiesel_worker/functions.py", include_str!("../python/wiesel_worker/functions.py")),
    ("wiesel_worker/worker.py", include_str!("../python/wiesel_worker/worker.py")),
];
