"""The faults that can be planted, a file each, and the table of them."""
