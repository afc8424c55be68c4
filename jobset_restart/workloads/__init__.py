"""What is restarted: one module for each kind of workload. Pure."""
