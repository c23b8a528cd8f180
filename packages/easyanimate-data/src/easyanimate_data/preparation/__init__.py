"""From long raw videos to a training set: `ea data prepare` and a command for each of its stages."""
