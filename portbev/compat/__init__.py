"""Other packages' names served by portbev's operators, for code that is not to be changed."""
