"""Street navigation on real data: the graph of Manhattan, Map2Seq and Touchdown."""
