"""portbev.testing"""
