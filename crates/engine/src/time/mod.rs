//! Watermarks: generators per split, idle splits, and the minimum over inputs.
