"""Creates the parity fixtures: clips, training, reference runs, outputs of single modules."""
