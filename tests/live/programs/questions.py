"""What the user says in every agent program here."""

FIRST = "What does a seat on AS12 cost?"
SECOND = "And with a window?"
REFUSED = "Please refuse this request."
