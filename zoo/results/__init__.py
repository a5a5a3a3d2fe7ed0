"""The last room: logits and labels in; figures, the run folder, plots and the report out."""
