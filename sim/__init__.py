"""The golden machine and the simulated devices."""
