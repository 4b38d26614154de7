"""The tables of a nuScenes version.

``jsonrows`` and ``rows`` decode the JSON tables, ``splits`` knows which scenes a split has; ``build`` and
``annotations`` turn the rows into the arrays of an ``index``, ``cache`` keeps it on disk, ``chain`` checks its order.
"""
