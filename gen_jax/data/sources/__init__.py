"""Where rows come from: TFDS sets, a user's files, sets made of other sets."""
