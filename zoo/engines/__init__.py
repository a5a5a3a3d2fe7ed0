"""Programs that spread work over machines: a run's predictions within Ray Data and Spark, trials within Ray Tune."""
