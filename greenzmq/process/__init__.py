"""Matters of the whole process: the standard library without monkey patches, and what happens after a fork."""
