"""What tools/parity.py compares, and with what; each module is a process of its own."""
