"""Logs of training, of this project and of mmdet's and mmengine's: read as tables, drawn and timed."""
