"""The data room: where texts, labels and checkpoints come from, and how texts become batches."""
