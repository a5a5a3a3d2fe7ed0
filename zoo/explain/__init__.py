"""A run and a text -> attention, scores of words, and whether they are faithful."""
