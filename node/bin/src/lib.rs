//! The node: configuration, wiring and run.
