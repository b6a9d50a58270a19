"""The live-traffic doors: sessions go to releases, model calls to models, through one chain of policies."""
