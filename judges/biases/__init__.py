"""How a judge leans: towards the answer it reads first, the longer one, its own family's, and how often it changes."""
