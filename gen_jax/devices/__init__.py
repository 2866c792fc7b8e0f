"""What a process knows of devices: start-up, processes, signals, placement, replicas."""
