"""Gates: the decision, its bundle, and that it fails closed."""
