"""Personal information is replaced before a model sees it and put back in its answer, whole or streamed."""
