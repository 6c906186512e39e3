"""Training speed, and what fsft itself costs, against peers on the same rows and weights."""
