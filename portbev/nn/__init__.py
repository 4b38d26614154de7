"""portbev.nn"""
