"""How well judges are held to account, in figures."""
