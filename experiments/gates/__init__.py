"""Gates: from the scores of two runs and a policy to pass, fail or inconclusive, with the evidence for it."""
