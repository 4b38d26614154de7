"""Files of other projects made into this project's own: configurations and weights. Nothing in them is executed."""
