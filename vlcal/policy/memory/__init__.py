"""The memory of a step, estimated before a weight is loaded."""
