"""What fails that nobody looked for: sessions embedded, clustered, named, followed from week to week, and counted."""
