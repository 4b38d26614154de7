"""What camera pictures go through in training, whatever data set they are of."""
