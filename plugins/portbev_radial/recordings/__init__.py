"""Raw RADIal recordings, read only.

``raw`` is a data root, ``recording`` one sequence of it. ``log`` reads a sequence's event log, ``sync`` groups its
events into frames, ``sensors`` decodes them. ``labels``, ``calibration`` and ``description`` read the tables of a data
root; ``layout`` has the names of files and sensors.
"""
