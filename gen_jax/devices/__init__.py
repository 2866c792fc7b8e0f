"""Devices of a process: start-up, processes, signals, placement and replicas."""
