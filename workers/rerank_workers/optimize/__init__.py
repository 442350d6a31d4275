"""Makes a faster variant of a model for CPUs, and proves it before it is installed."""
