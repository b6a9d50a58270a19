"""What personal information and secrets look like, in one text: precise rules on the standard library alone."""
