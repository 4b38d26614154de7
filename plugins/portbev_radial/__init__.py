"""RADIal: raw recordings, their conversion, and samples for training."""
