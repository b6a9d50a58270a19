"""Programs that send traces to Assay: they import none of it."""
