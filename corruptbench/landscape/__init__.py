"""The reward and loss surfaces around the networks of finished runs."""
