//! Checkpoints: what a manifest holds, how it becomes durable, and how a job resumes from it.
