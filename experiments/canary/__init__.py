"""Whether a release that takes traffic step by step harms: e-processes, pure."""
