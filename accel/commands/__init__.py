"""The commands of the command line, one per file: `add_parser` and `execute`."""
