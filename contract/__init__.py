"""What the other packages may know of the probe: metric names, the experiment, the timeline."""
