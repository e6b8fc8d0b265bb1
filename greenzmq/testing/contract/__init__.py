"""The contract of `greenzmq.hubs.base` as code, rule by rule; `greenzmq.testing` has it whole."""
