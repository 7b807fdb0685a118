"""Small models, each broken on purpose in one way, which `BROKEN` states; written before any rule was tuned on them.

Lines at fault end with the comment `# here`.
"""

import math

import torch
from torch import nn
from torch.nn import functional


class Autoencoder(nn.Module):
    """A variational autoencoder whose variance has no bound."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(12, 8)
        self.mean = nn.Linear(8, 3)
        self.log_variance = nn.Linear(8, 3)
        self.decode = nn.Linear(3, 12)

    def forward(self, x):
        hidden = torch.tanh(self.encode(x))
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        deviation = torch.exp(0.5 * log_variance)
        return self.decode(mean + deviation * torch.randn_like(mean)), mean, log_variance


def elbo(output, x):
    reconstruction, mean, log_variance = output
    divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1)
    return ((reconstruction - x) ** 2).sum(1).mean() + divergence.mean()


def autoencoder_with_a_large_step():
    """SGD with a step far too large: which operation overflows first depends on the training, the cure does not."""
    x = torch.randn(64, 12)
    return Autoencoder(), (x, x), elbo, lambda weights: torch.optim.SGD(weights, lr=0.8)


class Ranker(nn.Module):
    """Scores pairs by the cosine of two embeddings, dividing by norms by hand; a ReLU makes some embeddings 0."""

    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(6, 4), nn.ReLU())

    def forward(self, pairs):
        left, right = self.tower(pairs[:, 0]), self.tower(pairs[:, 1])
        length = (left**2).sum(1).sqrt() * (right**2).sum(1).sqrt()
        return (left * right).sum(1) / length  # here


def ranker_with_empty_embeddings():
    model = Ranker()
    nn.init.constant_(model.tower[0].bias, -0.5)
    return model, (torch.randn(64, 2, 6), torch.rand(64)), nn.MSELoss()


class Pooler(nn.Module):
    """Averages the tokens that a mask keeps."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, tokens):
        mask = (tokens > 0).float()
        vectors = self.embed(tokens) * mask[..., None]
        pooled = vectors.sum(1) / mask.sum(1, keepdim=True)  # here
        return self.head(pooled)


def pooler_with_an_empty_sentence():
    tokens = torch.randint(1, 20, (16, 5))
    tokens[11] = 0
    return Pooler(), (tokens, torch.randint(0, 2, (16,))), nn.CrossEntropyLoss()


class Attention(nn.Module):
    """One head of self-attention, with a padding mask."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))
        self.head = nn.Linear(8, 3)

    def forward(self, x, padding):
        scores = self.q(x) @ self.k(x).transpose(1, 2) / math.sqrt(8)
        scores = scores.masked_fill(padding[:, None], float("-inf"))
        weights = scores.softmax(-1)  # here
        return self.head((weights @ self.v(x)).mean(1))


def attention_over_nothing():
    padding = torch.zeros(8, 5, dtype=torch.bool)
    padding[:, 3:] = True
    padding[6] = True
    return Attention(), (torch.randn(8, 5, 8), padding, torch.randint(0, 3, (8,))), nn.CrossEntropyLoss()


class Classifier(nn.Module):
    """Ends in a softmax; the loss takes its logarithm."""

    def __init__(self, width=32, classes=4):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, classes))

    def forward(self, x):
        return self.layers(x).softmax(1)


def negative_log_likelihood(probabilities, target):
    return -torch.log(probabilities.gather(1, target[:, None])).mean()  # here


def pixels_into_a_logarithm():
    """Inputs from 0 to 255, not scaled, and a logarithm of the softmax."""
    return Classifier(), (torch.rand(32, 10) * 255 * 5, torch.randint(0, 4, (32,))), negative_log_likelihood


def regression(lr=0.05, gain=1.0, scale=1.0, reduction="mean"):
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(gain)
    x = torch.randn(64, 8)
    y = torch.sin(x[:, :1]) + 0.1 * torch.randn(64, 1)
    return model, (x * scale, y), nn.MSELoss(reduction=reduction), lambda weights: torch.optim.SGD(weights, lr=lr)


def step_too_large():
    return regression(lr=8.0)


def weights_too_large():
    return regression(gain=12.0)


def inputs_not_scaled():
    return regression(scale=255.0)


def summed_loss():
    return regression(lr=0.1, reduction="sum")


def half_precision_overflows():
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 1)).half()
    with torch.no_grad():
        model[0].weight.fill_(20.0)
        model[2].weight.fill_(20.0)
    x = torch.rand(16, 16).half() * 4
    return model, (x, torch.rand(16, 1).half()), nn.MSELoss(), lambda weights: torch.optim.SGD(weights, lr=1e-6)


def nan_sample():
    model, (x, y), loss, optimizer = regression()
    x[17, 3] = math.nan
    return model, (x, y), loss, optimizer


def nan_target():
    model, (x, y), loss, optimizer = regression()
    y[5] = math.nan
    return model, (x, y), loss, optimizer


def autoencoder_of_large_numbers():
    x = torch.randn(64, 12) * 3000 + 20000
    return nn.Sequential(nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 12)), (x, x), nn.MSELoss()


def labels_all_ignored():
    model = nn.Linear(10, 4)
    return model, (torch.randn(8, 10), torch.full((8,), -100)), nn.CrossEntropyLoss()


class Distance(nn.Module):
    """Siamese: the distance of two equal inputs is 0, where the square root has no gradient."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(5, 3)

    def forward(self, left, right):
        difference = self.embed(left) - self.embed(right)
        return difference.pow(2).sum(1).sqrt()  # here


def twins():
    left = torch.randn(16, 5)
    right = left.clone()
    right[2:] += torch.randn(14, 5)
    return Distance(), (left, right, torch.rand(16)), nn.MSELoss()


class Entropy(nn.Module):
    """Tries to hide the logarithm of 0 by torch.where, whose gradient is nan all the same."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x):
        p = self.layer(x).abs() * (x > 0)
        return torch.where(p > 0, -p * torch.log(p), torch.zeros_like(p)).sum(1)  # here


def entropy_behind_where():
    return Entropy(), (torch.randn(16, 6), torch.rand(16)), nn.MSELoss()


class Focal(nn.Module):
    """A focal loss in half precision, where its eps of 1e-8 is rounded to 0."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x):
        return torch.sigmoid(self.layer(x))


def focal(p, y):
    eps = 1e-8
    return -(y * torch.log(p + eps) + (1 - y) * torch.log(1 - p + eps)).mean()  # here


def eps_in_half_precision():
    model = Focal().half()
    with torch.no_grad():
        model.layer.weight.fill_(4.0)
    return (
        model,
        (torch.rand(16, 4).half() * 4, torch.zeros(16, 1).half()),
        focal,
        lambda w: torch.optim.SGD(w, lr=0.01),
    )


def double_softmax():
    model = nn.Sequential(nn.Linear(10, 4), nn.Softmax(1))
    return model, (torch.randn(32, 10), torch.randint(0, 4, (32,))), nn.CrossEntropyLoss()


def targets_not_scaled():
    x = torch.randn(64, 6)
    return regression_of(x, 20_000 * (3 * x[:, :1] + 1))


def regression_of(x, y):
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))
    return model, (x, y), nn.MSELoss(), lambda weights: torch.optim.SGD(weights, lr=0.05)


def softmax_under_a_small_step():
    """A softmax before cross-entropy with so small a rate that no intervention of a trial cures it; structural rules
    find it.
    """
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 10), nn.Softmax(1))
    x, y = torch.randn(64, 8), torch.randint(0, 10, (64,))
    return model, (x, y), nn.CrossEntropyLoss(), lambda weights: torch.optim.SGD(weights, lr=0.01)


def dice(p, y):
    """The Dice loss of predictions above a threshold; for an empty mask it is 0/0."""
    p = p * (p > 0.5)
    return 1 - (2 * (p * y).sum((1, 2, 3)) / (p.sum((1, 2, 3)) + y.sum((1, 2, 3)))).mean()  # here


def dice_of_an_empty_mask():
    model, y = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Sigmoid()), (torch.rand(8, 1, 12, 12) > 0.8).float()
    y[2] = 0
    nn.init.constant_(model[0].bias, -2.0)
    return model, (torch.randn(8, 1, 12, 12), y), dice, lambda weights: torch.optim.Adam(weights, lr=1e-3)


def softmax_of_one_unit():
    model = nn.Sequential(nn.Linear(10, 1), nn.Softmax(1))
    return model, (torch.randn(32, 10), torch.randint(0, 2, (32, 1)).float()), nn.BCELoss()


def layer_left_out_of_the_optimizer():
    model, batch, loss, _ = regression()
    return model, batch, loss, torch.optim.SGD(model[0].parameters(), lr=0.05)


def healthy_autoencoder():
    x = torch.randn(64, 12)
    return Autoencoder(), (x, x), elbo


def healthy_regression():
    return regression()


def healthy_attention():
    padding = torch.zeros(8, 5, dtype=torch.bool)
    padding[:, 3:] = True
    return Attention(), (torch.randn(8, 5, 8), padding, torch.randint(0, 3, (8,))), nn.CrossEntropyLoss()


def healthy_classifier_with_batch_norm():
    model = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 4))
    return model, (torch.randn(64, 10), torch.randint(0, 4, (64,))), functional.cross_entropy


def healthy_bfloat16():
    model = nn.Sequential(nn.Linear(10, 32), nn.GELU(), nn.Linear(32, 4)).bfloat16()
    return model, (torch.randn(64, 10).bfloat16(), torch.randint(0, 4, (64,))), nn.CrossEntropyLoss()


class Tagger(nn.Module):
    """A model that classifies each token, with the classes in the last dimension."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Embedding(30, 16), nn.Tanh(), nn.Linear(16, 30))

    def forward(self, tokens):
        return self.layers(tokens)


def healthy_tagger():
    tokens = torch.randint(0, 30, (16, 6))

    def loss(output, target):
        return functional.cross_entropy(output.flatten(0, 1), target.flatten())

    return Tagger(), (tokens, tokens), loss, lambda w: torch.optim.Adam(w, lr=1e-2)


def healthy_recurrent():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(4, 16, batch_first=True)
            self.head = nn.Linear(16, 1)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    return Last(), (torch.randn(32, 12, 4), torch.randn(32, 1)), nn.MSELoss(), lambda w: torch.optim.Adam(w, lr=1e-2)


BROKEN = {
    "autoencoder_with_a_large_step": "step_too_large",
    "ranker_with_empty_embeddings": "zero_over_zero",
    "pooler_with_an_empty_sentence": "zero_over_zero",
    "attention_over_nothing": "empty_attention_row",
    "pixels_into_a_logarithm": "log_of_zero",
    "step_too_large": "step_too_large",
    "weights_too_large": "weights_too_large",
    "inputs_not_scaled": "inputs_not_scaled",
    "summed_loss": "summed_loss",
    "half_precision_overflows": "forward_overflow",
    "nan_sample": "nonfinite_data",
    "nan_target": "bad_labels",
    "autoencoder_of_large_numbers": "inputs_not_scaled",
    "labels_all_ignored": "bad_labels",
    "twins": "gradient_at_zero",
    "entropy_behind_where": "where_backward",
    "eps_in_half_precision": "eps_lost",
    "double_softmax": "wrong_output",
    "targets_not_scaled": "inputs_not_scaled",
    "softmax_under_a_small_step": "wrong_output",
    "dice_of_an_empty_mask": "zero_over_zero",
    "softmax_of_one_unit": "wrong_output",
    "layer_left_out_of_the_optimizer": "no_update",
}
HEALTHY = [name for name in dict(globals()) if name.startswith("healthy_")]
