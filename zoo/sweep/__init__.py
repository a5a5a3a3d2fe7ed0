"""A search over the keys of a recipe: many trials, each a run of its own, by Optuna.

In comes a file that names a recipe and what is searched; out come a run folder a trial, the best recipe, how far its
figures spread over seeds, and a report. The test split is not looked at before the best recipe is known.
"""
