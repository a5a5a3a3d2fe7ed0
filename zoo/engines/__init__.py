"""A run's predictions within programs that spread rows over many machines: Ray Data and Spark."""
