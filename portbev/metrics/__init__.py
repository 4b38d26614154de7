"""portbev.metrics"""
