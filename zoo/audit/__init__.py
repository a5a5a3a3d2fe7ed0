"""What there is to doubt in a run's data: likely label errors, near duplicates, words that tell the label."""
