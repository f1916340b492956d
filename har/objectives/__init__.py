"""What stages are trained for: losses, scores, and the figures that choose and judge a model."""
