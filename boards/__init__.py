"""Open FPGA boards that the accelerator is built for."""
