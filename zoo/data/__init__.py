"""The data room: where texts, labels and presets come from, and how texts become batches."""
