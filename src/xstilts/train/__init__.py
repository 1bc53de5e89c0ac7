"""Training: streams of steps, one loop, checkpoints, phases."""
