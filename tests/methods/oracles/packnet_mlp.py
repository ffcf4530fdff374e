"""PackNet on a network of two hidden layers, in NumPy with gradients derived by hand; it knows whose each weight is."""

import numpy as np


class PackNetMLP:
    """Weights by the names of the tested model; plain gradient descent; biases learn in the first task alone."""

    def __init__(self, weights, prune, train_epochs, rate):
        self.w = {name: value.copy() for name, value in weights.items()}
        self.prune, self.train_epochs, self.rate = prune, train_epochs, rate
        self.owner = {name: np.full(self.w[name].shape, -1) for name in ("fc1.weight", "fc2.weight")}

    def learn(self, task, x, y, epochs, batches):
        pruned = {name: np.zeros(owner.shape, bool) for name, owner in self.owner.items()}
        for epoch in range(1, epochs + 1):
            for part in batches:
                self.step(task, x[part], y[part], pruned)
            if epoch == self.train_epochs:
                for name, owner in self.owner.items():
                    free = np.flatnonzero(owner.ravel() < 0)
                    order = free[np.argsort(np.abs(self.w[name].ravel()[free]))]
                    smallest = order[: len(free) - max(1, round((1 - self.prune) * len(free)))] if len(free) else order
                    pruned[name].ravel()[smallest] = True
                    self.w[name][pruned[name]] = 0
        for name, owner in self.owner.items():
            owner[(owner < 0) & ~pruned[name]] = task

    def gradients(self, task, x, y):
        w, head = self.w, f"heads.{task}"
        z1 = x @ w["fc1.weight"].T + w["fc1.bias"]
        h1 = np.maximum(z1, 0)
        z2 = h1 @ w["fc2.weight"].T + w["fc2.bias"]
        h2 = np.maximum(z2, 0)
        out = h2 @ w[f"{head}.weight"].T + w[f"{head}.bias"]
        p = np.exp(out - out.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(len(y)), y] -= 1
        d_out = p / len(y)
        d_z2 = d_out @ w[f"{head}.weight"] * (z2 > 0)
        d_z1 = d_z2 @ w["fc2.weight"] * (z1 > 0)
        return {
            "fc1.weight": d_z1.T @ x, "fc1.bias": d_z1.sum(0), "fc2.weight": d_z2.T @ h1, "fc2.bias": d_z2.sum(0),
            f"{head}.weight": d_out.T @ h2, f"{head}.bias": d_out.sum(0),
        }  # fmt: skip

    def step(self, task, x, y, pruned):
        for name, gradient in self.gradients(task, x, y).items():
            if name in self.owner:
                self.w[name] -= self.rate * gradient * ((self.owner[name] < 0) & ~pruned[name])
            elif task == 0 or name.startswith("heads"):
                self.w[name] -= self.rate * gradient

    def logits(self, task, x):
        w = {name: np.where((owner >= 0) & (owner <= task), self.w[name], 0) for name, owner in self.owner.items()}
        h = np.maximum(x @ w["fc1.weight"].T + self.w["fc1.bias"], 0)
        h = np.maximum(h @ w["fc2.weight"].T + self.w["fc2.bias"], 0)
        return h @ self.w[f"heads.{task}.weight"].T + self.w[f"heads.{task}.bias"]
