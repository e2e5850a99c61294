//! Civil time: days, clock fields, Java time patterns and session zones, shared by casts, functions and formats' tests.
