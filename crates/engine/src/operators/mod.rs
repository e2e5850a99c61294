//! One file per operator, and the one function that builds the operator of a plan node.
