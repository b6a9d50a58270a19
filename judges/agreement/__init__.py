"""Agreement of a judge with people, as numbers with their errors, and what may be concluded from them."""
