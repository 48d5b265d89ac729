"""What the commands do: from an experiment to a run, and from a run to its results."""
