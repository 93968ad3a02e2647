"""The one place the version stands; action.yml, the image and the package read or repeat it under test."""

__version__ = "0.1.0"
