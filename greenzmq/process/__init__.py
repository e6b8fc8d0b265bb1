"""What is true of the whole process: the standard library without monkey patches, and what a forked child inherits."""
