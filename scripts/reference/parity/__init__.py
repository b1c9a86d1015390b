"""Everything that makes the parity fixtures: clips, training, reference runs, layer outputs."""
