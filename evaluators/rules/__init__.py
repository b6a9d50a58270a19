"""The built-in evaluators: rules that read a trajectory, without a model."""
