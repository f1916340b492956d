"""Published checkpoints read into our parameter trees."""
