"""portbev.train"""
