"""The contract of `greenzmq.hubs.base` as checks, one for each rule. `greenzmq.testing` collects them."""
