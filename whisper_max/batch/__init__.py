"""A job over many recordings: what is done with each, by any number of workers, so that none is lost or done twice."""
