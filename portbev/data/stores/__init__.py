"""Where the files of a data root may be besides a folder: in archives and behind URLs, several of them as one."""
