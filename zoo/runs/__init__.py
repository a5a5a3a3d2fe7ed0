"""The run folder on disk, the recorder that writes it, and `Run`, which one holds in Python."""
