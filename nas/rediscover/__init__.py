"""Does a search find what MobileNetV3's authors found?  `python -m nas.rediscover`."""
