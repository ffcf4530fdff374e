"""GPM on a network of two hidden layers, in NumPy: singular vectors of the representation matrix, as in the paper."""

import numpy as np

from .packnet_mlp import PackNetMLP


class GpmMLP:
    """Weights by the names of the tested model; plain gradient descent; biases learn in the first task alone."""

    def __init__(self, weights, epsilon, increase, rate):
        self.net = PackNetMLP(weights, 0.0, 0, rate)
        self.w, self.rate = self.net.w, rate
        self.epsilon, self.increase = epsilon, increase
        self.memory = {}

    def learn(self, task, x, y, epochs, batches):
        for _ in range(epochs):
            for part in batches:
                for name, gradient in self.net.gradients(task, x[part], y[part]).items():
                    m = self.memory.get(name, np.zeros((gradient.shape[-1], 0)))
                    if gradient.ndim == 2 or name.startswith("heads") or task == 0:
                        self.w[name] -= self.rate * (gradient - gradient @ m @ m.T)
        h = np.maximum(x @ self.w["fc1.weight"].T + self.w["fc1.bias"], 0)
        for name, inputs in {"fc1.weight": x, "fc2.weight": h}.items():
            self.memory[name] = self.bases(name, inputs.T, self.epsilon + task * self.increase)

    def bases(self, name, r, epsilon):
        old = self.memory.get(name, np.zeros((len(r), 0)))
        rest = r - old @ old.T @ r
        u, s, _ = np.linalg.svd(rest, full_matrices=False)
        total, kept = (r**2).sum(), (r**2).sum() - (rest**2).sum()
        k = 0
        while kept < epsilon * total:
            kept += s[k] ** 2
            k += 1
        return np.concatenate([old, u[:, :k]], axis=1)[:, : len(r)]
