"""Waiting for many sockets and descriptors at once."""
