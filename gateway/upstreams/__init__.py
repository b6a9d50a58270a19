"""Where models are asked: one file per wire, and what keeps a call alive when an upstream does not answer."""
