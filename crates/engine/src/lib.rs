//! StreamPlan to running job: steps, operators, time, state, checkpoints
