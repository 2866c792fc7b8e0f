"""What a run is on the disk: its directory, checkpoints and metrics."""
