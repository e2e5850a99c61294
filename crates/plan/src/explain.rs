//! EXPLAIN: the plan as an indented tree with its traits, one line per node.
