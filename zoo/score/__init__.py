"""Arrays -> figures, with NumPy, SciPy and scikit-learn alone."""
