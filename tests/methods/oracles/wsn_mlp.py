"""WSN on a network of two hidden layers, in NumPy with gradients derived by hand; small tensors are each task's own."""

import numpy as np


def top(scores, share):
    """Mask of the largest scores, as many as the share says."""
    count = max(1, round(share * scores.size))
    return (scores >= np.sort(scores, axis=None)[-count]).astype(scores.dtype)


class WsnMLP:
    """Weights and scores by the names of the tested model; plain gradient descent on both."""

    def __init__(self, weights, scores, share, rate):
        self.w = {name: value.copy() for name, value in weights.items()}
        self.s = {name: value.copy() for name, value in scores.items()}
        self.share, self.rate = share, rate
        self.taken = {name: np.zeros_like(value) for name, value in scores.items()}

    def learn(self, task, x, y, epochs, batches):
        for _ in range(epochs):
            for part in batches:
                self.step(task, x[part], y[part])
        for name, scores in self.s.items():
            self.taken[name] = np.maximum(self.taken[name], top(scores, self.share))

    def step(self, task, x, y):
        w, head = self.w, f"heads.{task}"
        m = {name: top(scores, self.share) for name, scores in self.s.items()}
        w1, w2 = w["fc1.weight"] * m["fc1.weight"], w["fc2.weight"] * m["fc2.weight"]
        z1 = x @ w1.T + w["fc1.bias"]
        h1 = np.maximum(z1, 0)
        z2 = h1 @ w2.T + w["fc2.bias"]
        h2 = np.maximum(z2, 0)
        out = h2 @ w[f"{head}.weight"].T + w[f"{head}.bias"]
        p = np.exp(out - out.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(len(y)), y] -= 1
        d_out = p / len(y)
        d_z2 = d_out @ w[f"{head}.weight"] * (z2 > 0)
        d_z1 = d_z2 @ w2 * (z1 > 0)
        masked = {"fc1.weight": d_z1.T @ x, "fc2.weight": d_z2.T @ h1}
        plain = {
            f"{head}.weight": d_out.T @ h2, f"{head}.bias": d_out.sum(0),
            "fc1.bias": d_z1.sum(0), "fc2.bias": d_z2.sum(0),
        }  # fmt: skip
        old = {name: w[name].copy() for name in masked}
        for name, gradient in masked.items():
            w[name] -= self.rate * gradient * m[name] * (1 - self.taken[name])
            self.s[name] -= self.rate * gradient * old[name]
        for name, gradient in plain.items():
            w[name] -= self.rate * gradient
