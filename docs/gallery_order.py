"""In which order the gallery shows the examples: what most people need first."""

ORDER = (
    *("digits", "regression", "rejection", "unknown_inputs", "grid_search", "streaming"),
    *("convolution", "spoken_digits", "position_over_time", "chip", "three_principles", "cluster"),
)


class ReadingOrder:
    """Sort key of sphinx-gallery; an example that `ORDER` lacks is an error."""

    def __init__(self, src_dir):
        self.src_dir = src_dir

    def __call__(self, filename):
        """Place of an example."""
        return ORDER.index(filename.removeprefix("plot_").removesuffix(".py"))

    def __repr__(self):
        return "<ReadingOrder>"
