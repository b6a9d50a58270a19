"""The HTTP routes under /api/v1, one module per subject; `table.py` lists them."""
