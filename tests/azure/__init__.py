"""An Azure Machine Learning that the unpatched clients cannot tell from Azure; see README.md beside this file."""
