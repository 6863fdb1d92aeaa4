"""What photos show: cut-outs, colours, patterns, and what is concluded from the models that look."""
