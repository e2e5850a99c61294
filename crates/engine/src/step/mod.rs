//! The step loop: sources, workers, exchange, sinks, and what happens between steps.
