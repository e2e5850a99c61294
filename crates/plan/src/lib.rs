//! StreamPlan: the tree of streaming nodes between SQL text and operators
