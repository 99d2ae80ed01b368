"""What a network may cost: one or several limits, and the predicted latency of a gated network."""
