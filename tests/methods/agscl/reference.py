"""AGS-CL on a multi-layer perceptron, written plainly from the paper: the oracle of the general implementation.

Follows Algorithm 1 with equations (2), (7), (8) and (I.1); (I.2) is left out (rho = 0), so nothing is random.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


class Reference:
    def __init__(self, layers: list[tuple[Tensor, Tensor]], heads: list[tuple[Tensor, Tensor]]) -> None:
        self.layers = [tuple(t.detach().clone().requires_grad_() for t in layer) for layer in layers]
        self.heads = [tuple(t.detach().clone().requires_grad_() for t in head) for head in heads]
        self.omega = [torch.zeros(len(bias)) for _, bias in layers]  # float32, like the library's
        self.old = [tuple(t.detach().clone() for t in layer) for layer in self.layers]
        self.zeros = [torch.zeros_like(weight, dtype=torch.bool) for weight, _ in self.layers]

    def activations(self, x: Tensor) -> list[Tensor]:
        result = []
        for weight, bias in self.layers:
            x = F.relu(x @ weight.T + bias)
            result.append(x)
        return result

    def learn(self, task: int, x: Tensor, y: Tensor, *, mu: float, lam: float, eta: float, lr: float, epochs: int,
              batch: int) -> None:  # fmt: skip
        parameters = [t for layer in self.layers for t in layer] + list(self.heads[task])
        optimizer = torch.optim.Adam(parameters, lr=lr)
        for _ in range(epochs):
            for start in range(0, len(x), batch):
                weight, bias = self.heads[task]
                logits = self.activations(x[start : start + batch])[-1] @ weight.T + bias
                optimizer.zero_grad()
                F.cross_entropy(logits, y[start : start + batch]).backward()
                optimizer.step()
                with torch.no_grad():
                    for (matrix, _), zero in zip(self.layers, self.zeros, strict=True):
                        matrix[zero] = 0
            with torch.no_grad():
                self.proximal_step(mu, lam, lr)
        with torch.no_grad():
            self.consolidate(task, x, eta)

    def proximal_step(self, mu: float, lam: float, lr: float) -> None:
        for (weight, bias), (old_weight, old_bias), omega in zip(self.layers, self.old, self.omega, strict=True):
            for node in range(len(bias)):
                theta = torch.cat([weight[node], bias[node : node + 1]])
                anchor = torch.cat([old_weight[node], old_bias[node : node + 1]])
                if omega[node] == 0:
                    norm = float(theta.norm())
                    theta = theta * max(0.0, 1 - lr * mu / norm) if norm > 0 else theta
                else:
                    distance = float((theta - anchor).norm())
                    gamma = max(0.0, 1 - lr * lam * float(omega[node]) / distance) if distance > 0 else 0.0
                    theta = gamma * theta + (1 - gamma) * anchor
                weight[node], bias[node] = theta[:-1], theta[-1]

    def consolidate(self, task: int, x: Tensor, eta: float) -> None:
        means = [activation.double().mean(0).float() for activation in self.activations(x)]
        self.omega = [eta * omega + mean for omega, mean in zip(self.omega, means, strict=True)]
        for level, omega in enumerate(self.omega):
            free = omega == 0
            following = self.layers[level + 1] if level + 1 < len(self.layers) else self.heads[task]
            following[0][:, free] = 0
            if level + 1 < len(self.layers):
                self.zeros[level + 1] |= free[None] & (self.omega[level + 1] > 0)[:, None]
        self.old = [tuple(t.detach().clone() for t in layer) for layer in self.layers]
