"""The composition root: settings, wiring, HTTP routes and the assay command."""
