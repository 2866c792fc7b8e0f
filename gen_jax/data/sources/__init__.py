"""Sources of rows: data sets of TFDS, files of a user, and data sets that are made of other data sets."""
