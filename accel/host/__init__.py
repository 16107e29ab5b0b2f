"""What runs on the host: the device interface and the driver."""
