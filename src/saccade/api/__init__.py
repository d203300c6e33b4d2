"""A function for each command: it parses its words, calls one function of this room and prints."""
