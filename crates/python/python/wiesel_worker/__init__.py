"""The worker's side of Python functions: frames in, calls, frames out."""
