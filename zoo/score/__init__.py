"""Arrays -> figures, with NumPy, SciPy and scikit-learn alone.

scipy.stats and sklearn.metrics take a second to import, and are imported where a figure is worked out: most commands
work out none.
"""
