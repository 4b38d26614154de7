"""portbev.ops"""
