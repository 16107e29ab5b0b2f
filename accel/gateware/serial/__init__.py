"""A small accelerator: one datapath, driven by microcode, does everything in turn."""
