"""Files of tar and zip archives, read in place: an index is made once, then every file is read without unpacking.

``tars`` and ``zips`` walk through an archive, ``gzips`` through a compressed one; ``index`` is what they leave behind;
``deflate`` reads from the middle of a compressed stream; ``store`` makes a tree of files of it all.
"""
