"""Human activity recognition from video and wearable sensors together."""
