"""HAT on a network of two hidden layers, in NumPy with gradients derived by hand.

Heads belong to one task each; only the present one is trained.
"""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class HatMLP:
    """Weights by the names of the tested model; gates on both hidden layers; plain gradient descent."""

    def __init__(self, weights, gamma, smax, rate):
        self.w = {name: value.copy() for name, value in weights.items()}
        self.gamma, self.smax, self.rate = gamma, smax, rate
        self.used = [np.zeros(len(self.w["fc1.bias"])), np.zeros(len(self.w["fc2.bias"]))]

    def learn(self, task, x, y, embedding, epochs, batches):
        """Learn a task from a first embedding (a list of two vectors); returns the last one."""
        e = [values.copy() for values in embedding]
        for _ in range(epochs):
            for b, part in enumerate(batches):
                s = 1 / self.smax + (self.smax - 1 / self.smax) * b / (len(batches) - 1)
                self.step(task, x[part], y[part], e, s)
        self.used = [np.maximum(used, values > 0) for used, values in zip(self.used, e, strict=True)]
        return e

    def step(self, task, x, y, e, s):
        w, head = self.w, f"heads.{task}"
        a1, a2 = sigmoid(s * e[0]), sigmoid(s * e[1])
        z1 = x @ w["fc1.weight"].T + w["fc1.bias"]
        h1 = np.maximum(z1, 0)
        z2 = (h1 * a1) @ w["fc2.weight"].T + w["fc2.bias"]
        h2 = np.maximum(z2, 0)
        out = (h2 * a2) @ w[f"{head}.weight"].T + w[f"{head}.bias"]
        p = np.exp(out - out.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(len(y)), y] -= 1
        d_out = p / len(y)
        d_gated2 = d_out @ w[f"{head}.weight"]
        d_z2 = d_gated2 * a2 * (z2 > 0)
        d_gated1 = d_z2 @ w["fc2.weight"]
        d_z1 = d_gated1 * a1 * (z1 > 0)
        u1, u2 = self.used
        both = np.minimum(u2[:, None], u1[None, :])
        gradients = {
            f"{head}.weight": d_out.T @ (h2 * a2),
            f"{head}.bias": d_out.sum(0),
            "fc2.weight": (d_z2.T @ (h1 * a1)) * (1 - both),
            "fc2.bias": d_z2.sum(0) * (1 - u2),
            "fc1.weight": (d_z1.T @ x) * (1 - u1)[:, None],
            "fc1.bias": d_z1.sum(0) * (1 - u1),
        }
        capacity = (1 - u1).sum() + (1 - u2).sum()
        steps = []
        for values, gate, used, d_gate in (
            (e[0], a1, u1, (d_gated1 * h1).sum(0)),
            (e[1], a2, u2, (d_gated2 * h2).sum(0)),
        ):
            slope = gate * (1 - gate) * s
            gradient = d_gate * slope + self.gamma * slope * (1 - used) / max(capacity, 1)
            made_up = self.smax / s * (np.cosh(np.clip(s * values, -50, 50)) + 1) / (np.cosh(values) + 1)
            steps.append(gradient * made_up)
        for name, gradient in gradients.items():
            w[name] -= self.rate * gradient
        for values, gradient in zip(e, steps, strict=True):
            np.clip(values - self.rate * gradient, -6, 6, out=values)
