"""What a loop of one's own calls."""

batches = [([0.0] * 4, [0] * 4)] * 3


def train():
    return sum(range(1000))


def train_on(x, y):
    return sum(x) + sum(y)


def validate():
    return 0.9
