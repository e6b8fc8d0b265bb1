"""Greenlets, and what they wait for besides sockets: events, tasks, time, descriptors, coroutines."""
