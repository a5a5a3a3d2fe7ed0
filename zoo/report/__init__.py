"""Run folder -> pages, pictures, the model card, runs side by side."""
