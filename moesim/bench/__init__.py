"""How fast moesim is: measured against a textbook model, against itself at other sizes, and against limits."""
